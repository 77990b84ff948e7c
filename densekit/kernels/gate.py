"""The gate of PixelCNN's layers, tanh(a) * sigmoid(b), inside autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array
from densekit.kernels.numbers import narrowed, sigmoid, widened

_ONE = np.float32(1.0)
# Beyond, nothing changes by more than 1e-17. Gates that are shut tighter would make numbers below
# the normal range, which take some processors far longer.
_SHUT = np.float32(40.0)


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the last axis times sigmoid of the other, in one pass over memory.

    ``x`` is of float32 or bfloat16, and is computed with in float32. In both, a tanh of torch's
    costs far more than a sigmoid.
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
    x = x.detach().view(-1, x.shape[-1])
    rows: Array = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
    return rows


@compiled
def _gate_rows(x: Array, z: Array) -> None:
    width = z.shape[1]
    for row in range(len(x)):
        for i in range(width):
            value, share = _tanh(widened(x[row, i])), _share(widened(x[row, width + i]))
            z[row, i] = narrowed(value * share, z)


@compiled
def _differentiate_rows(x: Array, of_z: Array, of_x: Array) -> None:
    width = of_z.shape[1]
    for row in range(len(x)):
        for i in range(width):
            value, share = _tanh(widened(x[row, i])), _share(widened(x[row, width + i]))
            of_value = widened(of_z[row, i]) * share
            of_x[row, i] = narrowed(of_value * (_ONE - value * value), of_x)
            of_x[row, width + i] = narrowed(of_value * value * (_ONE - share), of_x)


@compiled
def _share(x: Any) -> Any:
    # Comparisons this way round let a NaN pass.
    return sigmoid(-_SHUT if x < -_SHUT else (_SHUT if x > _SHUT else x), _ONE)


@compiled
def _tanh(x: Any) -> Any:
    share = _share(x + x)
    return share + share - _ONE
