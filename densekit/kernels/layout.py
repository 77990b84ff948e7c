"""Features and parameters first: the layout in which kernels run."""

from __future__ import annotations

from torch import Tensor


def flipped(x: Tensor) -> Tensor:
    """The tensor with its dimensions in reverse order, contiguous in memory.

    What networks here give is contiguous that way already, and so is not copied.
    """
    return unflipped(x).contiguous()


def unflipped(x: Tensor) -> Tensor:
    """A view with the dimensions in reverse order."""
    return x.permute(*reversed(range(x.ndim)))
