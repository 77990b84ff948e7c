"""The affine map with a bounded log-scale, z = x * exp(s) + shift.

Its log-slope is s = raw / (1 + |raw| / max_log_scale).
"""

from __future__ import annotations

from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array, MapKernel
from densekit.kernels.numbers import exp


def affine(max_log_scale: float) -> MapKernel:
    """The kernel for one bound of the log-scale."""
    return MapKernel(
        map_affine, differentiate_affine, invert_affine, (max_log_scale, 1.0), is_spline=False
    )


@compiled
def map_affine(x: Array, raw: Array, options: Array, z: Array, log_slope: Array) -> None:
    max_log_scale, one = options
    shift, raw_scale = raw[0], raw[1]
    for i in range(len(x)):
        log_slope[i] = raw_scale[i] / (one + abs(raw_scale[i]) / max_log_scale)
        z[i] = x[i] * exp(log_slope[i]) + shift[i]


@compiled
def invert_affine(z: Array, raw: Array, options: Array, x: Array, log_slope: Array) -> None:
    max_log_scale, one = options
    shift, raw_scale = raw[0], raw[1]
    for i in range(len(z)):
        log_slope[i] = -raw_scale[i] / (one + abs(raw_scale[i]) / max_log_scale)
        x[i] = (z[i] - shift[i]) * exp(log_slope[i])


@compiled
def differentiate_affine(
    x: Array,
    raw: Array,
    options: Array,
    of_z: Array,
    of_log_slope: Array,
    of_x: Array,
    of_raw: Array,
) -> None:
    max_log_scale, one = options
    raw_scale, of_raw_scale = raw[1], of_raw[1]
    of_raw[0] = of_z
    for i in range(len(x)):
        damping = one / (one + abs(raw_scale[i]) / max_log_scale)
        of_x[i] = of_z[i] * exp(raw_scale[i] * damping)
        of_raw_scale[i] = (of_log_slope[i] + of_x[i] * x[i]) * damping * damping
