"""Compiled maps of one number inside autograd."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.layout import flipped, unflipped

Array = NDArray[Any]


class MapKernel(NamedTuple):
    """Compiled functions of a monotone map, over elements that lie side by side.

    x, z, their log-slopes and their gradients are (n,), ``raw`` is (n_params, n), and
    ``options`` holds the map's own numbers. The functions fill their last two arguments.
    """

    forward: Any
    """``(x, raw, options, z, log_slope)``"""
    backward: Any
    """``(x, raw, options, of_z, of_log_slope, of_x, of_raw)``: gradients to gradients."""
    inverse: Any
    """``(z, raw, options, x, log_slope)``"""
    options: tuple[float, ...]
    is_spline: bool
    """Which of the two that compiled functions over whole layers know it is."""

    def map(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Give z and the log-slope at x, with gradients where autograd asks for them.

        Parameters
        ----------
        x : Tensor of shape (...,)
        params : Tensor of shape (..., n_params)
            Of a shape that goes with that of x.
        """
        x, params = _broadcast(x, params)
        if torch.is_grad_enabled():
            result: tuple[Tensor, Tensor] = _Map.apply(x, params, self)
            return result
        return self._run(self.forward, x, params)

    def unmap(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Give x and the log-slope of the inverse map at z, without gradients."""
        return self._run(self.inverse, *_broadcast(z, params))

    def _run(self, function: Any, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        rows, raw = flipped(x.detach()), flipped(params.detach())
        result, log_slope = torch.empty_like(rows), torch.empty_like(rows)
        self.fill(function, rows, raw, result, log_slope)
        return unflipped(result), unflipped(log_slope)

    def fill(
        self, function: Any, x: Tensor, raw: Tensor, result: Tensor, log_slope: Tensor
    ) -> None:
        """Run `forward` or `inverse` on contiguous tensors, parameters first in memory."""
        if x.numel():
            inputs = _elements(x), _parameters(raw, x), self.numbers(x.dtype)
            function(*inputs, _elements(result), _elements(log_slope))

    def fill_gradients(
        self,
        x: Tensor,
        raw: Tensor,
        of_z: Tensor,
        of_log_slope: Tensor,
        of_x: Tensor,
        of_raw: Tensor,
    ) -> None:
        """Run `backward` on contiguous tensors, parameters first in memory."""
        if x.numel():
            self.backward(
                *(_elements(x), _parameters(raw, x), self.numbers(x.dtype)),
                *(_elements(of_z), _elements(of_log_slope)),
                *(_elements(of_x), _parameters(of_raw, x)),
            )

    def numbers(self, dtype: torch.dtype) -> Array:
        """The options as an array of the elements' dtype, so that arithmetic keeps to it."""
        return _numbers(self.options, dtype)


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, params: Tensor, kernel: MapKernel) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, params)
        ctx.kernel = kernel
        return kernel._run(kernel.forward, x, params)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_slope: Tensor) -> tuple[Any, ...]:
        x, raw = (flipped(t.detach()) for t in ctx.saved_tensors)
        of_x, of_raw = torch.empty_like(x), torch.empty_like(raw)
        gradients = flipped(of_z), flipped(of_log_slope)
        ctx.kernel.fill_gradients(x, raw, *gradients, of_x, of_raw)
        return unflipped(of_x), unflipped(of_raw), None


def _broadcast(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    shape = params.shape[:-1]
    if x.shape == shape:
        return x, params
    shape = torch.broadcast_shapes(x.shape, shape)
    return x.expand(shape), params.expand(*shape, -1)


def _elements(rows: Tensor) -> Array:
    return rows.view(-1).numpy()


def _parameters(raw: Tensor, x: Tensor) -> Array:
    return raw.view(-1, x.numel()).numpy()


@functools.cache
def _numbers(options: tuple[float, ...], dtype: torch.dtype) -> Array:
    return np.array(options, dtype=np.float32 if dtype == torch.float32 else np.float64)
