"""The pass of a layer that has none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from densekit.kernels import Pass

if TYPE_CHECKING:
    from densekit.transforms.base import Transform


class AutogradPass(Pass):
    """A transform's way through a batch and back, recorded by autograd for this layer alone."""

    def __init__(self, transform: Transform):
        self._transform = transform

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        self._x = rows.T.clone().requires_grad_()
        self._results = self._transform(self._x, context)
        z, own = self._results
        log_det += own.detach()
        return z.detach().T.clone(memory_format=torch.contiguous_format)

    def backward(self, of_rows: Tensor, of_log_det: Tensor, needs_rows: bool) -> Tensor:
        pairs = zip(self._results, (of_rows.T, of_log_det), strict=True)
        recorded = [(result, gradient) for result, gradient in pairs if result.requires_grad]
        torch.autograd.backward([r for r, _ in recorded], [g for _, g in recorded])
        of_x = self._x.grad
        return torch.zeros_like(of_rows) if of_x is None else of_x.T.contiguous()
