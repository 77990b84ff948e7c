"""Features and parameters first: the layout in which kernels run."""

from __future__ import annotations

import torch
from torch import Tensor


def flipped(x: Tensor) -> Tensor:
    """The tensor with its dimensions in reverse order, contiguous in memory.

    What networks here give is contiguous that way already, and so is not copied.
    """
    return x.permute(*reversed(range(x.ndim))).contiguous()


def unflipped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo `flipped` on a flattened result: a view of the given shape."""
    x = x.view(tuple(reversed(shape)))
    return x.permute(*reversed(range(x.ndim)))


def stack_last(parts: list[Tensor]) -> Tensor:
    """Stack parameters along a new last dimension that is, in memory, the first."""
    return torch.stack([part.permute(*reversed(range(part.ndim))) for part in parts]).permute(
        *reversed(range(parts[0].ndim + 1))
    )
