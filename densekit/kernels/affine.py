"""The affine map with a bounded log-scale, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.layout import stack_last


class AffineKernel(torch.autograd.Function):
    """z = x * exp(s) + shift with s = raw / (1 + |raw| / max_log_scale); also gives s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, params: Tensor, max_log_scale: float) -> tuple[Tensor, Tensor]:
        raw = params[..., 1]
        damping = raw.abs().div_(max_log_scale).add_(1.0)
        log_scale = raw / damping
        scale = log_scale.exp()
        ctx.save_for_backward(x, scale, damping)
        return torch.addcmul(params[..., 0], x, scale), log_scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_scale: Tensor) -> tuple[Any, ...]:
        x, scale, damping = ctx.saved_tensors
        of_x = of_z * scale
        of_raw = torch.addcmul(of_log_scale, of_x, x).div_(damping).div_(damping)
        return of_x, stack_last([of_z, of_raw]), None
