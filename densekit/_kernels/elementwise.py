"""Compiled twins of monotone maps."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from densekit._kernels.library import address, load

MOST_OPTIONS = 16
DTYPES = (torch.float32, torch.float64)


class MapKernel(NamedTuple):
    """Addresses of compiled functions of a monotone map, over elements that lie side by side.

    x, z, log-slopes and their gradients are arrays of n numbers; parameter k of element i is
    ``raw[k * stride + i]``. All arguments are 64-bit whole numbers and pointers, all numbers of
    the dtype that the function is for. `densekit.elementwise.compile_kernel` makes such functions
    of Python.
    """

    forward: Mapping[torch.dtype, int]
    """``(n, x, raw, stride, n_params, options, z, log_slope)``, which fills the last two."""
    inverse: Mapping[torch.dtype, int]
    """``(n, z, raw, stride, n_params, options, x, log_slope)``, the log-slope of this direction."""
    gradient: Mapping[torch.dtype, int]
    """``(n, x, raw, stride, n_params, options, grad_z, grad_log_slope, grad_x, grad_raw,
    grad_stride)``, which fills the gradients of x and of the parameters."""
    n_params: int
    options: tuple[float, ...]
    """The map's own numbers."""

    def numbers(self, dtype: torch.dtype) -> Tensor:
        """The options as a tensor, which stays where it is."""
        return _numbers(self.options, dtype)


def native(name: str, n_params: int, options: tuple[float, ...]) -> MapKernel | None:
    """The kernel of one of densekit's own maps, where there is the library."""
    return None if load() is None else _native(name, n_params, options)


@functools.cache
def _native(name: str, n_params: int, options: tuple[float, ...]) -> MapKernel:
    forward, inverse, gradient = (
        {dtype: address(f"{step}_{name}", dtype) for dtype in DTYPES}
        for step in ("map", "invert", "grad")
    )
    return MapKernel(forward, inverse, gradient, n_params, options)


@functools.cache
def _numbers(options: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    padded = (*options, *[0.0] * (MOST_OPTIONS - len(options)))
    return torch.tensor(padded, dtype=dtype, device="cpu")
