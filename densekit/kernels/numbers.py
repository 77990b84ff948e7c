"""Exponential and logarithm that compilers can vectorise, accurate to the last digit or two.

In float32 they are the polynomials of the Cephes library (Moshier 1989); in float64 they call the
C library. NaN stays NaN. Numbers of bfloat16, which NumPy lacks, are the upper halves of float32's,
and come as int16.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from densekit.kernels.compiled import compiled

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_LOWEST, _HIGHEST = np.float32(-87.3), np.float32(88.3)  # where results stay normal numbers
_LOG2_E = np.float32(math.log2(math.e))
# log(2) in two parts, the first of few digits, so that its multiples are exact.
_LOG_2, _LOG_2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXP = tuple(
    np.float32(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1)
)
_LOG = tuple(
    np.float32(c)
    for c in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
_BIAS, _MANTISSA_BITS = np.int32(127), np.int32(23)
_HALF_BITS, _UNIT, _BELOW_MIDDLE = np.int32(16), np.int32(1), np.int32(0x7FFF)
_ROOT_OF_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2) in float32


def exp(x: Any) -> Any:
    """e to the power of x, for compiled functions."""
    raise NotImplementedError


def log(x: Any) -> Any:
    """Natural logarithm of a positive normal number, for compiled functions."""
    raise NotImplementedError


def widened(x: Any) -> Any:
    """A number of bfloat16 in float32, and any other as it is, for compiled functions."""
    raise NotImplementedError


def narrowed(x: Any, like: Any) -> Any:
    """A number for an array: in bfloat16 where that holds its bits, for compiled functions."""
    raise NotImplementedError


@overload(exp, strict=False)
def _choose_exp(x: Any) -> Any:
    # Numba wants a Python function with this argument, hence the lambdas.
    return (lambda x: _exp32(x)) if x == types.float32 else (lambda x: math.exp(x))  # noqa: PLW0108


@overload(log, strict=False)
def _choose_log(x: Any) -> Any:
    return (lambda x: _log32(x)) if x == types.float32 else (lambda x: math.log(x))  # noqa: PLW0108


@overload(widened, strict=False)
def _choose_widened(x: Any) -> Any:
    return (lambda x: _widened16(x)) if x == types.int16 else (lambda x: x)  # noqa: PLW0108


@overload(narrowed, strict=False)
def _choose_narrowed(x: Any, like: Any) -> Any:
    is_half = like.dtype == types.int16
    return (lambda x, like: _narrowed16(x)) if is_half else (lambda x, like: x)


@compiled
def softplus(x: Any, one: Any) -> Any:
    """log(1 + e^x) without overflow; ``one`` is the number 1 in the dtype of x."""
    zero = one - one
    return (zero if x < zero else x) + log(one + exp(-abs(x)))


@compiled
def sigmoid(x: Any, one: Any) -> Any:
    """1 / (1 + e^-x), the slope of `softplus`."""
    return one / (one + exp(-x))


@intrinsic
def _float_of_bits(_: Any, bits: Any) -> Any:
    return types.float32(types.int32), _bitcast


@intrinsic
def _bits_of_float(_: Any, x: Any) -> Any:
    return types.int32(types.float32), _bitcast


def _bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


@compiled
def _exp32(x: Any) -> Any:
    # Comparisons this way round let a NaN pass.
    x = _LOWEST if x < _LOWEST else (_HIGHEST if x > _HIGHEST else x)
    power = np.int32(math.floor(x * _LOG2_E + _HALF))
    rest = x - np.float32(power) * _LOG_2 - np.float32(power) * _LOG_2_REST
    series = _ZERO
    for coefficient in _EXP:
        series = series * rest + coefficient
    series = series * rest + _HALF
    return (series * rest * rest + rest + _ONE) * _float_of_bits((power + _BIAS) << _MANTISSA_BITS)


@compiled
def _log32(x: Any) -> Any:
    bits = _bits_of_float(x)
    power = (bits - _ROOT_OF_HALF) >> _MANTISSA_BITS
    rest = _float_of_bits(np.int32(bits - (power << _MANTISSA_BITS))) - _ONE
    series = _ZERO
    for coefficient in _LOG:
        series = series * rest + coefficient
    tail = series * rest * rest * rest + np.float32(power) * _LOG_2_REST - _HALF * rest * rest
    # Infinity and NaN have bits too; their difference with themselves is NaN.
    return rest + tail + np.float32(power) * _LOG_2 + (x - x)


@compiled
def _widened16(bits: Any) -> Any:
    return _float_of_bits(np.int32(bits) << _HALF_BITS)


@compiled
def _narrowed16(x: Any) -> Any:
    # Rounds to the nearest, and in the middle to the even one. The bits of a NaN that arithmetic
    # makes are in the upper half; of others rounding may make anything.
    bits = _bits_of_float(x)
    return np.int16((bits + _BELOW_MIDDLE + ((bits >> _HALF_BITS) & _UNIT)) >> _HALF_BITS)
