"""Fixed maps of columns, each on its own: a bend, and a rational-quadratic spline on top."""

from __future__ import annotations

import math

import numpy as np

from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array
from densekit.kernels.spline import rational_quadratic


@compiled
def map_marginals(
    x: Array,
    is_bent: Array,
    bend: Array,
    n_bins: Array,
    knots: Array,
    z: Array,
    log_det: Array,
) -> None:
    """Fill z and the log-determinants of rows.

    Parameters
    ----------
    x, z : arrays of shape (n_rows, n_features)
    is_bent : array of bool of shape (n_features,)
        Whether a column goes through the inverse hyperbolic sine.
    bend : array of shape (4, n_features)
        Centre and one over the width before it, location and one over the scale after it.
    n_bins : array of int of shape (n_features,)
        Of the spline; a column without bins has none.
    knots : array of shape (3, n_features, most bins + 1)
        Places on x and on z, and slopes. Beyond the outermost ones the spline is linear.
    log_det : array of shape (n_rows,)
        Starts as what all rows share.
    """
    one = x.dtype.type(1)
    # Slopes are multiplied, and seldom is a logarithm taken: it costs as much as all the rest. A
    # product of two that are within bounds, and of a bin's slope, is a number.
    end = one / np.sqrt(np.finfo(x.dtype).tiny)
    most = np.sqrt(end)
    for i in range(len(x)):
        slope = one
        for j in range(x.shape[1]):
            value = (x[i, j] - bend[0, j]) * bend[1, j]
            if is_bent[j]:
                size = abs(value)
                root = math.sqrt(one + size * size) if size < end else size
                value = math.copysign(math.log(size + root), value)
                if root < most:
                    slope /= root
                else:
                    log_det[i] -= math.log(root)
            value = (value - bend[2, j]) * bend[3, j]
            if n_bins[j]:
                value, steepness = _map_by_spline(value, knots[:, j], n_bins[j])
                slope *= steepness
            z[i, j] = value
            if slope * most < one or slope > most:
                log_det[i] += math.log(slope)
                slope = one
        log_det[i] += math.log(slope)


@compiled
def _map_by_spline(value: float, knots: Array, last: int) -> tuple[float, float]:
    """The value of a spline with linear tails, and its slope."""
    one = knots.dtype.type(1)
    lefts, bottoms, slopes = knots[0], knots[1], knots[2]
    if value <= lefts[0]:
        return bottoms[0] + (value - lefts[0]) * slopes[0], slopes[0]
    if value >= lefts[last]:
        return bottoms[last] + (value - lefts[last]) * slopes[last], slopes[last]
    low, high = 0, last  # the value lies behind the one and not behind the other
    while high - low > 1:
        middle = (low + high) // 2
        if value > lefts[middle]:
            low = middle
        else:
            high = middle
    left, bottom, first, second = lefts[low], bottoms[low], slopes[low], slopes[low + 1]
    width, height = lefts[low + 1] - left, bottoms[low + 1] - bottom
    share, slope = rational_quadratic((value - left) / width, height / width, first, second, one)
    return bottom + height * share, slope
