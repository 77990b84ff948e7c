"""The step from float64 preprocessing to float32 layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from densekit.transforms.base import Transform


class Cast(Transform):
    """Change of floating-point type; a bijection up to rounding, with a log-det of zero.

    Rows far beyond any number that layers can square are brought back to that limit.

    Preprocessing runs in float64, because data may sit far from zero; layers may run in float32.

    Parameters
    ----------
    event_shape : sequence of int
    outer, inner : torch.dtype
        The type of x and the type of z. ``.to(dtype)`` on a module that holds this step changes
        both, as it changes the layers around it.
    """

    outer: Tensor
    inner: Tensor

    def __init__(self, event_shape: Sequence[int], *, outer: torch.dtype, inner: torch.dtype):
        super().__init__(event_shape)
        # Empty buffers follow the module's own casts, which attributes would not.
        self.register_buffer("outer", torch.empty(0, dtype=outer), persistent=False)
        self.register_buffer("inner", torch.empty(0, dtype=inner), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        limit = torch.finfo(self.inner.dtype).max ** 0.3  # beyond it squares in layers overflow
        return x.to(self.inner.dtype).clamp(-limit, limit), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.to(self.outer.dtype), z.new_zeros(z.shape[0])
