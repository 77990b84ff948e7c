"""The gate of PixelCNN's layers, tanh(a) * sigmoid(b), inside autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array
from densekit.kernels.numbers import sigmoid

# Beyond, nothing changes by more than 1e-17. Gates that are shut tighter would make numbers below
# the normal range, which take some processors far longer.
_SHUT = 40.0


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the last axis times sigmoid of the other, in one pass over memory.

    In float32, which ``x`` is, a tanh of torch's costs far more than a sigmoid.
    """
    result: Tensor = _Gate.apply(x)
    return result


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        z = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        _gate_rows(_rows(x), _rows(z))
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        of_x = torch.empty_like(x)
        _differentiate_rows(_rows(x), _rows(of_z.contiguous()), _rows(of_x))
        return of_x


def _rows(x: Tensor) -> Array:
    rows: Array = x.detach().view(-1, x.shape[-1]).numpy()
    return rows


@compiled
def _gate_rows(x: Array, z: Array) -> None:
    one, shut, width = x.dtype.type(1), x.dtype.type(_SHUT), z.shape[1]
    for row in range(len(x)):
        for i in range(width):
            share = sigmoid(_bounded(x[row, width + i], shut), one)
            z[row, i] = _tanh(x[row, i], one, shut) * share


@compiled
def _differentiate_rows(x: Array, of_z: Array, of_x: Array) -> None:
    one, shut, width = x.dtype.type(1), x.dtype.type(_SHUT), of_z.shape[1]
    for row in range(len(x)):
        for i in range(width):
            value = _tanh(x[row, i], one, shut)
            share = sigmoid(_bounded(x[row, width + i], shut), one)
            of_value = of_z[row, i] * share
            of_x[row, i] = of_value * (one - value * value)
            of_x[row, width + i] = of_value * value * (one - share)


@compiled
def _bounded(x: Any, limit: Any) -> Any:
    # Comparisons this way round let a NaN pass.
    return -limit if x < -limit else (limit if x > limit else x)


@compiled
def _tanh(x: Any, one: Any, shut: Any) -> Any:
    share = sigmoid(_bounded(x + x, shut), one)
    return share + share - one
