"""Compiled kernels of maps that are written in Python, by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from densekit._kernels import MapKernel
from densekit._kernels.elementwise import MOST_OPTIONS
from densekit.exceptions import MissingExtraError, ParameterError


def compile_kernel(
    forward: Callable[..., Any],
    inverse: Callable[..., Any],
    gradient: Callable[..., Any],
    *,
    n_params: int,
    options: tuple[float, ...] = (),
) -> MapKernel:
    """Compile a map of one number, so that layers of it take the fast path.

    The functions are plain Python of scalars, which Numba compiles: arithmetic and `math`, and
    functions of their own that are under ``numba.njit``; they themselves are not. Compile
    once, at the top of a module or behind `functools.cache`: it takes a few seconds.

    Parameters
    ----------
    forward : callable (x, params, options) -> (z, log_slope)
        ``params[k]`` is parameter k of the element.
    inverse : callable (z, params, options) -> (x, log_slope)
        The log-slope is that of the inverse map at z.
    gradient : callable (x, params, options, grad_z, grad_log_slope, grad_params) -> grad_x
        Carries gradients of z and of the log-slope to x, and writes those of the parameters into
        the array `grad_params`.
    n_params : int
    options : tuple of float, default=()
        Numbers of the map that are the same for all elements, 16 at most.

    Returns
    -------
    MapKernel
        For the property `kernel` of an `Elementwise`.

    Raises
    ------
    MissingExtraError
        Numba is not installed.
    ParameterError
        A ValueError and TypeError: there are more than 16 options.
    """
    try:
        import numba
        from numba import types
    except ImportError:
        raise MissingExtraError(
            "compile_kernel needs Numba: pip install 'densekit[kernels]', or numba itself."
        ) from None
    if len(options) > MOST_OPTIONS:
        raise ParameterError(
            f"compile_kernel got {len(options)} options, expected {MOST_OPTIONS} at most."
        )
    # Dividing by zero gives infinity, as in torch, and no exception that nobody would see.
    step_forward, step_back, carry = (
        numba.njit(error_model="numpy")(f) for f in (forward, inverse, gradient)
    )
    found: list[dict[torch.dtype, int]] = [{}, {}, {}]
    for dtype, real in ((torch.float32, types.float32), (torch.float64, types.float64)):
        loops = (
            _loop_of_map(step_forward, dtype, numba.carray),
            _loop_of_map(step_back, dtype, numba.carray),
            _loop_of_gradient(carry, dtype, numba.carray),
        )
        pointer, whole = types.CPointer(real), types.int64
        start = (whole, pointer, pointer, whole, whole, pointer)
        ends = ((pointer, pointer), (pointer, pointer), (*[pointer] * 4, whole))
        for place, loop, end in zip(found, loops, ends, strict=True):
            signature = types.void(*start, *end)
            compiled = numba.cfunc(signature, error_model="numpy")(loop)
            _compiled.append(compiled)
            place[dtype] = compiled.address
    return MapKernel(found[0], found[1], found[2], n_params, options)


_compiled: list[Any] = []  # machine code lives as long as its object
_KINDS = {torch.float32: np.float32, torch.float64: np.float64}


def _loop_of_map(step: Any, dtype: torch.dtype, as_array: Any) -> Any:
    kind = _KINDS[dtype]

    def run(
        n: Any, x: Any, raw: Any, stride: Any, n_params: Any, options: Any, z: Any, slope: Any
    ) -> None:
        numbers, params = as_array(options, MOST_OPTIONS), np.empty(n_params, kind)
        for i in range(n):
            for k in range(n_params):
                params[k] = raw[k * stride + i]
            z[i], slope[i] = step(x[i], params, numbers)

    return run


def _loop_of_gradient(step: Any, dtype: torch.dtype, as_array: Any) -> Any:
    kind = _KINDS[dtype]

    def run(
        n: Any,
        x: Any,
        raw: Any,
        stride: Any,
        n_params: Any,
        options: Any,
        grad_z: Any,
        grad_slope: Any,
        grad_x: Any,
        grad_raw: Any,
        grad_stride: Any,
    ) -> None:
        numbers, params = as_array(options, MOST_OPTIONS), np.empty(n_params, kind)
        gradients = np.empty(n_params, kind)
        for i in range(n):
            for k in range(n_params):
                params[k] = raw[k * stride + i]
            grad_x[i] = step(x[i], params, numbers, grad_z[i], grad_slope[i], gradients)
            for k in range(n_params):
                grad_raw[k * grad_stride + i] = gradients[k]

    return run
