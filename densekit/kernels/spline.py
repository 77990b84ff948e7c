"""The monotone rational-quadratic spline (Durkan 2019, eqs. 4 to 8).

All is computed in the unit box, for a block of elements at a time whose tables stay in the
nearest cache: first the knots of each element, then the bin that it falls into, then the map in
that bin. Each loop is over elements, which compilers turn into vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array, MapKernel
from densekit.kernels.numbers import exp, log, sigmoid, softplus

BLOCK = 256
# Where the numbers of a block's elements start in its one array; with offsets that are known when
# compiling, loops over several of them become vector instructions.
_START_X, _SIZE_X, _START_Z, _SIZE_Z = range(0, 4 * BLOCK, BLOCK)  # corner and size of the bin
_OF_START_X, _OF_SIZE_X, _OF_START_Z, _OF_SIZE_Z = range(4 * BLOCK, 8 * BLOCK, BLOCK)
_RAW_LEFT, _RAW_RIGHT = range(8 * BLOCK, 10 * BLOCK, BLOCK)  # slopes at the bin's knots
# The place along x or z; then two results, or their gradients.
_PLACE, _FIRST, _SECOND, _END = range(10 * BLOCK, 14 * BLOCK, BLOCK)


def spline(bound: float, min_bin: float, min_slope: float, unit_slope: float) -> MapKernel:
    """The kernel of splines with 3 K - 1 parameters: raw widths, heights and inner slopes.

    ``softplus(unit_slope) + min_slope`` is one.
    """
    options = bound, min_bin, min_slope, unit_slope, 1.0
    return MapKernel(map_spline, differentiate_spline, invert_spline, options, is_spline=True)


@compiled
def map_spline(x: Array, raw: Array, options: Array, z: Array, log_slope: Array) -> None:
    bound, _, min_slope, unit_slope, one = options
    tables = _tables(raw)
    block = tables[2]
    for first in range(0, len(x), BLOCK):
        n = min(BLOCK, len(x) - first)
        _find_bins(x[first : first + n], raw, options, 0, first, tables)
        for i in range(n):
            left = _slope(block[_RAW_LEFT + i], min_slope, unit_slope, one)
            right = _slope(block[_RAW_RIGHT + i], min_slope, unit_slope, one)
            width, height = block[_SIZE_X + i], block[_SIZE_Z + i]
            place = _clip((block[_PLACE + i] - block[_START_X + i]) / width, one)
            share, slope = rational_quadratic(place, height / width, left, right, one)
            block[_FIRST + i] = block[_START_Z + i] + height * share
            block[_SECOND + i] = log(slope)
        for i in range(n):
            is_inside = abs(x[first + i]) < bound
            value = (block[_FIRST + i] + block[_FIRST + i] - one) * bound
            z[first + i] = value if is_inside else x[first + i]
            log_slope[first + i] = block[_SECOND + i] if is_inside else one - one


@compiled
def invert_spline(z: Array, raw: Array, options: Array, x: Array, log_slope: Array) -> None:
    bound, _, min_slope, unit_slope, one = options
    tables = _tables(raw)
    block = tables[2]
    for first in range(0, len(z), BLOCK):
        n = min(BLOCK, len(z) - first)
        _find_bins(z[first : first + n], raw, options, 1, first, tables)
        for i in range(n):
            left = _slope(block[_RAW_LEFT + i], min_slope, unit_slope, one)
            right = _slope(block[_RAW_RIGHT + i], min_slope, unit_slope, one)
            width, height = block[_SIZE_X + i], block[_SIZE_Z + i]
            share = _clip((block[_PLACE + i] - block[_START_Z + i]) / height, one)
            place = _solve(share, height / width, left, right, one)
            _, slope = rational_quadratic(place, height / width, left, right, one)
            block[_FIRST + i] = block[_START_X + i] + width * place
            block[_SECOND + i] = -log(slope)
        for i in range(n):
            is_inside = abs(z[first + i]) < bound
            value = (block[_FIRST + i] + block[_FIRST + i] - one) * bound
            x[first + i] = value if is_inside else z[first + i]
            log_slope[first + i] = block[_SECOND + i] if is_inside else one - one


@compiled
def differentiate_spline(
    x: Array,
    raw: Array,
    options: Array,
    of_z: Array,
    of_log_slope: Array,
    of_x: Array,
    of_raw: Array,
) -> None:
    bound = options[0]
    tables = _tables(raw)
    block = tables[2]
    for first in range(0, len(x), BLOCK):
        n = min(BLOCK, len(x) - first)
        _find_bins(x[first : first + n], raw, options, 0, first, tables)
        for i in range(n):
            is_inside = abs(x[first + i]) < bound
            zero = bound - bound
            # Outside the box nothing but x itself has a gradient.
            block[_FIRST + i] = of_z[first + i] * (bound + bound) if is_inside else zero
            block[_SECOND + i] = of_log_slope[first + i] if is_inside else zero
        _differentiate_bins(n, options, tables)
        for i in range(n):
            is_inside = abs(x[first + i]) < bound
            of_x[first + i] = block[_FIRST + i] if is_inside else of_z[first + i]
        _differentiate_boxes(0, first, n, options, tables, of_raw)
        _differentiate_boxes(1, first, n, options, tables, of_raw)
        _differentiate_slopes(first, n, options, tables, of_raw)


@compiled
def _tables(raw: Array) -> Any:
    """Room for a block's bins: sizes, knots, numbers of each element, and which bin it is in."""
    n_bins = (len(raw) + 1) // 3
    sizes = np.empty((2, n_bins, BLOCK), raw.dtype)
    knots = np.empty((2, n_bins + 1, BLOCK), raw.dtype)
    return sizes, knots, np.empty(_END, raw.dtype), np.empty(BLOCK, np.int32)


@compiled
def _find_bins(
    value: Array, raw: Array, options: Array, axis: int, first: int, tables: Any
) -> None:
    """Find elements' bins by their places along x (axis 0) or z (axis 1), and note their sizes."""
    bound, one = options[0], options[4]
    sizes, knots, block, index = tables
    n_bins = sizes.shape[1]
    _tabulate(raw, 0, first, len(value), options, sizes[0], knots[0])
    _tabulate(raw, n_bins, first, len(value), options, sizes[1], knots[1])
    for i in range(len(value)):
        inside = -bound if value[i] < -bound else (bound if value[i] > bound else value[i])
        block[_PLACE + i] = (inside + bound) / (bound + bound)
    _search(block, knots[axis], index, len(value))
    for i in range(len(value)):
        k = index[i]
        # At the edges of the box the slope is one, which raw = 0 means.
        block[_RAW_LEFT + i] = raw[2 * n_bins + k - 1, first + i] if k > 0 else one - one
        block[_RAW_RIGHT + i] = raw[2 * n_bins + k, first + i] if k < n_bins - 1 else one - one
        block[_START_X + i] = knots[0, k, i] / knots[0, n_bins, i]
        block[_SIZE_X + i] = sizes[0, k, i] / knots[0, n_bins, i]
        block[_START_Z + i] = knots[1, k, i] / knots[1, n_bins, i]
        block[_SIZE_Z + i] = sizes[1, k, i] / knots[1, n_bins, i]


@compiled
def _tabulate(
    raw: Array, row: int, first: int, n: int, options: Array, sizes: Array, knots: Array
) -> None:
    """Widths or heights of all bins, from the rows of `raw`, and their running sums.

    They are exponentials with a floor; dividing them by the last knot makes them fill the box.
    """
    min_bin, one = options[1], options[4]
    n_bins = len(sizes)
    greatest, total = knots[0], knots[n_bins]
    for k in range(n_bins):
        values = raw[row + k, first : first + n]
        for i in range(n):
            greatest[i] = values[i] if k == 0 or values[i] > greatest[i] else greatest[i]
    excess = min_bin / (one - knots.dtype.type(n_bins) * min_bin)
    for i in range(n):
        total[i] = one - one
    for k in range(n_bins):
        values, size = raw[row + k, first : first + n], sizes[k]
        for i in range(n):
            size[i] = exp(values[i] - greatest[i])
        for i in range(n):
            total[i] += size[i]
    for i in range(n):
        knots[0, i] = one - one
        total[i] *= excess
    for k in range(n_bins):
        size = sizes[k]
        for i in range(n):
            size[i] += total[i]
    for k in range(n_bins):
        size, knot, next_knot = sizes[k], knots[k], knots[k + 1]
        for i in range(n):
            next_knot[i] = knot[i] + size[i]


@compiled
def _search(block: Array, knots: Array, index: Array, n: int) -> None:
    n_bins = len(knots) - 1
    last = knots[n_bins]
    index[:n] = 0
    for k in range(1, n_bins):
        knot = knots[k]
        for i in range(n):
            index[i] += np.int32(block[_PLACE + i] * last[i] >= knot[i])


@compiled
def _slope(raw: Any, min_slope: Any, unit_slope: Any, one: Any) -> Any:
    return softplus(raw + unit_slope, one) + min_slope


@compiled
def _clip(share: Any, one: Any) -> Any:
    """To [0, 1]; a NaN stays."""
    return one - one if share < one - one else (one if share > one else share)


@compiled
def rational_quadratic(place: Any, steep: Any, left: Any, right: Any, one: Any) -> Any:
    """Share of the height that is reached at a place in the bin, and the slope (eqs. 4 and 5)."""
    rest = one - place
    across = place * rest
    denominator = steep + (left + right - steep - steep) * across
    share = (steep * place * place + left * across) / denominator
    numerator = right * place * place + (steep + steep) * across + left * rest * rest
    ratio = steep / denominator
    return share, ratio * ratio * numerator


@compiled
def _solve(share: Any, steep: Any, left: Any, right: Any, one: Any) -> Any:
    """Place at which a share of the height is reached (eqs. 6 to 8)."""
    zero, two = one - one, one + one
    bend = (left + right - two * steep) * share
    a = bend + steep - left
    b = left - bend
    c = -steep * share
    # Rounding can push the discriminant below zero at a knot; the true value is not.
    discriminant = b * b - (two + two) * a * c
    root = np.sqrt(zero if discriminant < zero else discriminant)
    # Of the two forms of the root take the one without cancellation, by the sign of b.
    top = two * c if b >= zero else root - b
    bottom = -b - root if b >= zero else two * a
    return _clip(top / (one if bottom == zero else bottom), one)


@compiled
def _differentiate_bins(n: int, options: Array, tables: Any) -> None:
    """Differentiate z and the log-slope by the bin's corner, its size and the slopes of its knots.

    The block holds the gradients of both in `_FIRST` (of z in the unit box) and `_SECOND`; each
    number of the bin gives its place to its gradient, `_FIRST` to that of x. Each term of eqs. 4
    and 5 is differentiated by the place in the bin, then by the bin's own steepness, then by the
    slopes of its knots.
    """
    bound, _, min_slope, unit_slope, one = options
    block = tables[2]
    for i in range(n):
        left = _slope(block[_RAW_LEFT + i], min_slope, unit_slope, one)
        right = _slope(block[_RAW_RIGHT + i], min_slope, unit_slope, one)
        width, height = block[_SIZE_X + i], block[_SIZE_Z + i]
        place = _clip((block[_PLACE + i] - block[_START_X + i]) / width, one)
        of_top, of_log_slope = block[_FIRST + i], block[_SECOND + i]
        steep, rest, squared = height / width, one - place, place * place
        across = place * rest
        lean, bend = rest - place, left + right - steep - steep
        denominator = steep + bend * across
        share = (steep * squared + left * across) / denominator
        numerator = right * squared + (steep + steep) * across + left * rest * rest
        of_numerator = of_log_slope / numerator
        of_denominator = -(of_log_slope + of_log_slope) / denominator
        along = of_top * height / denominator
        turn = (right + left) * place - left + steep * lean
        of_place = along * steep * numerator / denominator
        of_place += (of_numerator + of_numerator) * turn + of_denominator * bend * lean
        widen = one - across - across
        of_steep = along * (squared - share * widen) + (of_log_slope + of_log_slope) / steep
        of_steep += of_denominator * widen + (of_numerator + of_numerator) * across
        of_both = (of_denominator - along * share) * across
        of_left = of_both + along * across + of_numerator * rest * rest
        of_right = of_both + of_numerator * squared
        of_start = -of_place / width
        block[_RAW_LEFT + i] = of_left * sigmoid(block[_RAW_LEFT + i] + unit_slope, one)
        block[_RAW_RIGHT + i] = of_right * sigmoid(block[_RAW_RIGHT + i] + unit_slope, one)
        block[_OF_SIZE_X + i] = of_start * place - of_steep * steep / width
        block[_OF_SIZE_Z + i] = of_top * share + of_steep / width
        block[_FIRST + i] = -of_start / (bound + bound)
        block[_OF_START_X + i] = of_start
        block[_OF_START_Z + i] = of_top


@compiled
def _differentiate_boxes(
    axis: int, first: int, n: int, options: Array, tables: Any, of_raw: Array
) -> None:
    """Carry gradients of the bins along one axis back to their raw widths or heights.

    A knot is the sum of the softmax shares before it: shares left of the bin move its start, and
    the bin's own moves its size.
    """
    min_bin, one = options[1], options[4]
    sizes, knots, block, index = tables
    n_bins = sizes.shape[1]
    start, size, of_start, of_size = _START_X, _SIZE_X, _OF_START_X, _OF_SIZE_X
    if axis == 1:
        start, size, of_start, of_size = _START_Z, _SIZE_Z, _OF_START_Z, _OF_SIZE_Z
    free = one - min_bin * knots.dtype.type(n_bins)  # what the floor leaves to the shares
    last = knots[axis, n_bins]
    for i in range(n):
        before = (block[start + i] - min_bin * knots.dtype.type(index[i])) / free
        own = (block[size + i] - min_bin) / free
        mean = block[of_start + i] * before + block[of_size + i] * own
        block[of_start + i] = (block[of_start + i] - mean) / last[i]
        block[of_size + i] = (block[of_size + i] - mean) / last[i]
        block[start + i] = -mean / last[i]  # for the shares right of the bin
        block[size + i] = min_bin * last[i]
    for k in range(n_bins):
        values, gradients = sizes[axis, k], of_raw[axis * n_bins + k, first : first + n]
        for i in range(n):
            right = block[start + i] if index[i] < k else block[of_size + i]
            gradient = block[of_start + i] if index[i] > k else right
            gradients[i] = gradient * (values[i] - block[size + i])


@compiled
def _differentiate_slopes(first: int, n: int, options: Array, tables: Any, of_raw: Array) -> None:
    """Give each inner knot's raw slope the gradient of the bin on either side that holds x."""
    one = options[4]
    sizes, _, block, index = tables
    n_bins = sizes.shape[1]
    for k in range(1, n_bins):
        gradients = of_raw[2 * n_bins + k - 1, first : first + n]
        for i in range(n):
            right = block[_RAW_RIGHT + i] if index[i] + 1 == k else one - one
            gradients[i] = block[_RAW_LEFT + i] if index[i] == k else right
