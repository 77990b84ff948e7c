"""The affine map with a bounded log-scale, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.layout import stack_last


def affine(x: Tensor, params: Tensor, max_log_scale: float) -> tuple[Tensor, Tensor]:
    """Give z and s, with gradients where autograd asks for them."""
    if torch.is_grad_enabled():
        result: tuple[Tensor, Tensor] = _Affine.apply(x, params, max_log_scale)
        return result
    z, log_scale, _, _ = _run(x, params, max_log_scale)
    return z, log_scale


def _run(x: Tensor, params: Tensor, max_log_scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give z, s, exp(s) and what divides the raw log-scale."""
    raw = params[..., 1]
    damping = raw.abs().div_(max_log_scale).add_(1.0)
    log_scale = raw / damping
    scale = log_scale.exp()
    return torch.addcmul(params[..., 0], x, scale), log_scale, scale, damping


class _Affine(torch.autograd.Function):
    """z = x * exp(s) + shift with s = raw / (1 + |raw| / max_log_scale); also gives s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, params: Tensor, max_log_scale: float) -> tuple[Tensor, Tensor]:
        z, log_scale, scale, damping = _run(x, params, max_log_scale)
        ctx.save_for_backward(x, scale, damping)
        return z, log_scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_scale: Tensor) -> tuple[Any, ...]:
        x, scale, damping = ctx.saved_tensors
        of_x = of_z * scale
        of_raw = torch.addcmul(of_log_scale, of_x, x).div_(damping).div_(damping)
        return of_x, stack_last([of_z, of_raw]), None
