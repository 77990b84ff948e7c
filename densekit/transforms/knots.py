"""Splines that bring a column near a standard normal: few rows give quantiles, many a histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from densekit.elementwise.spline import Bin, rational_quadratic
from densekit.transforms.histogram import Histogram, fit_histogram

Array = NDArray[np.float64]

# Rise of a bin and slope at a knot, so that values that repeat make no spike without end; between
# flat knots a slope may be twice the rise.
_STEEPEST = 50.0
_FLATTEST, _FLATTEST_TAIL = 1e-4, 0.3

_N_BINS = (4, 8, 16, 32)  # candidates between quantiles
_MIN_ROWS_PER_BIN = 8
_N_FOLDS = 5
# Nats of a column that few rows must gain: of closely related columns each with small bumps of its
# own a flow learns less well than of smooth ones.
_LEAST_GAIN, _LEAST_GAIN_OF_MANY = 0.25, 0.01
_OUTERMOST, _OUTERMOST_OF_MANY = 3.0, 4.0  # standard deviations, to which splines reach

_LONGEST_RISE = 0.5  # of a bin of a histogram's spline, which then follows the normal's quantiles
_N_LEVELS = 1 + math.ceil(2 * _OUTERMOST_OF_MANY / _LONGEST_RISE)
MIN_BINS = _N_LEVELS + 1
# What quantiles ask for, and a histogram of 256 bins, of which each may jump.
MAX_BINS, MAX_BINS_OF_MANY = max(_N_BINS), 2 * 256 + _N_LEVELS
_JUMP = 2.0  # ratio of densities, from which on the slope changes at once
_NARROWEST = 1e-6  # width of a bin beside where it is
_ROWS_BEYOND = 4  # at least, of each tail
# A column of so few values is all atoms: each gets bins as steep as may be. Of others an atom is a
# value with so large a share of the rows, or with so many that are so many times those of each
# value beside it.
_FEW_VALUES = 128
_SHARE_OF_ATOM, _ROWS_OF_ATOM, _TIMES_AS_MANY = 1 / 16, 32, 8


class Knots(NamedTuple):
    """Of a spline with linear tails. Where two are at one place, the slope jumps.

    Attributes
    ----------
    places, heights, slopes : arrays of shape (n_bins + 1,)
    """

    places: Array
    heights: Array
    slopes: Array

    def padded(self, n_knots: int) -> Array:
        """As an array of shape (3, n_knots), with those that are too many on the last tail."""
        n_more = n_knots - len(self.places)
        steps = np.arange(1.0, n_more + 1)
        places = np.concatenate([self.places, self.places[-1] + steps])
        heights = np.concatenate([self.heights, self.heights[-1] + self.slopes[-1] * steps])
        return np.stack([places, heights, np.pad(self.slopes, (0, n_more), mode="edge")])


def knots_at_quantiles(y: Array, max_bins: int) -> Knots | None:
    """As many as held-out rows like best, or none if these gain little; for a sorted column."""
    fold = np.random.default_rng(0).permutation(len(y)) % _N_FOLDS
    parts = [y[fold != i] for i in range(_N_FOLDS)]
    most = min(max_bins, len(y) // _MIN_ROWS_PER_BIN)
    best, best_score = 0, -0.5 * float(np.mean(np.square(y))) + _LEAST_GAIN
    for n_bins in (candidate for candidate in _N_BINS if candidate <= most):
        score = _likelihood([_at_quantiles(rows, n_bins) for rows in parts], y, fold)
        if score > best_score:
            best, best_score = n_bins, score
    return _at_quantiles(y, best) if best else None


def _at_quantiles(y: Array, n_bins: int) -> Knots:
    """Knots at quantiles of a sorted column, equally spaced on the normal side."""
    reach = min(_OUTERMOST, -ndtri(4 / len(y)))
    heights = np.linspace(-reach, reach, n_bins + 1)
    found = np.interp(ndtr(heights), (np.arange(len(y)) + 0.5) / len(y), y)
    # Quantiles that coincide, or nearly, move apart to both sides alike, so that values that repeat
    # lie where the spline is steepest.
    least = (heights - heights[0]) / _STEEPEST
    apart = found - least
    upper, lower = np.maximum.accumulate(apart), np.minimum.accumulate(apart[::-1])[::-1]
    places = (upper + lower) / 2 + least
    slopes = _smooth_slopes(places, heights).clip(_FLATTEST, _STEEPEST)
    slopes[[0, -1]] = slopes[[0, -1]].clip(_FLATTEST_TAIL)
    return Knots(places, heights, slopes)


def _smooth_slopes(places: Array, heights: Array) -> Array:
    """Slopes at the knots of a smooth monotone spline, as of `scipy.interpolate.pchip`.

    These are harmonic means of the rises on both sides (Fritsch 1984), and at both ends those of a
    parabola through three knots. SciPy takes far longer to check what it is given.
    """
    widths, rises = np.diff(places), np.diff(heights) / np.diff(places)
    if len(rises) == 1:
        return np.repeat(rises, 2)
    before, after = widths[1:] + 2 * widths[:-1], 2 * widths[1:] + widths[:-1]
    inner = (before + after) / (after / rises[:-1] + before / rises[1:])
    return np.concatenate(
        [[_end_slope(widths, rises)], inner, [_end_slope(widths[::-1], rises[::-1])]]
    )


def _end_slope(widths: Array, rises: Array) -> float:
    parabola = rises[0] + (rises[0] - rises[1]) * widths[0] / (widths[0] + widths[1])
    return float(min(max(parabola, 0.0), 3 * rises[0]))


def _likelihood(knots: Sequence[Knots], y: Array, fold: NDArray[np.int64]) -> float:
    """Mean nats, but for a constant, of rows that the spline of their fold makes normal."""
    index = np.empty(len(y), dtype=np.int64)
    for i, (places, _, _) in enumerate(knots):
        index[fold == i] = np.searchsorted(places[1:-1], y[fold == i])
    tables = np.stack(knots)
    starts, ends = (torch.from_numpy(tables[fold, :, index + i]).T for i in (0, 1))
    (left, bottom, slope_left), (right, top, slope_right) = starts, ends
    bin_ = Bin(left, right - left, bottom, top - bottom, slope_left, slope_right)
    z, log_slope = map_by_bins(torch.from_numpy(y), bin_)
    return float((log_slope - 0.5 * z.square()).mean())


def map_by_bins(y: Tensor, bin_: Bin) -> tuple[Tensor, Tensor]:
    """Map numbers by the bins they fall into, and those beyond their bin in a straight line."""
    position = (y - bin_.left) / bin_.width
    inside = position.clamp(0, 1)
    share, log_slope = rational_quadratic(inside, bin_)
    beyond = (position - inside) * bin_.width * log_slope.exp()
    return bin_.bottom + bin_.height * share + beyond, log_slope


def knots_of_histogram(y: Array, max_bins: int) -> Knots | None:
    """Those of the bins that rows are worth, or none if these gain little; for a sorted column.

    The outermost rows are left to the tails, so that outliers stretch no bin.
    """
    n_beyond = max(_ROWS_BEYOND, round(len(y) * ndtr(-_OUTERMOST_OF_MANY)))
    inner = slice(n_beyond, -n_beyond)
    # A jump takes a bin of its own, of no width.
    histogram = fit_histogram(_spread(y)[inner], (max_bins - _N_LEVELS) // 2)
    of_normal = -0.5 * float(np.mean(np.square(y[inner]))) - 0.5 * math.log(2 * math.pi)
    if histogram.likelihood() < of_normal + _LEAST_GAIN_OF_MANY:
        return None
    return _with_slopes(*_places_and_heights(histogram, n_beyond / len(y)))


def _spread(y: Array) -> Array:
    """Rows of a sorted column, of which those of one value are spread.

    They stand for all between the neighbouring values, as rounded numbers do, unless they are an
    atom; and the boxes that they fill rise 50-fold at most.
    """
    values, counts = np.unique(y, return_counts=True)
    n, stop = len(y), counts.cumsum()
    middle = (values[1:] + values[:-1]) / 2
    lows = np.concatenate([2 * values[:1] - middle[:1], middle])
    highs = np.concatenate([middle, 2 * values[-1:] - middle[-1:]])
    half = (ndtri((stop - 0.5) / n) - ndtri((stop - counts + 0.5) / n)) / _STEEPEST / 2
    kinds = [counts == 1, _are_atoms(counts)]
    lows = np.select(kinds, [values, values - half], np.minimum(lows, values - half))
    highs = np.select(kinds, [values, values + half], np.maximum(highs, values + half))
    share = (np.arange(n) - np.repeat(stop - counts, counts) + 0.5) / np.repeat(counts, counts)
    return np.sort(np.repeat(lows, counts) + np.repeat(highs - lows, counts) * share)


def _are_atoms(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each value is one that the column takes again and again."""
    if len(counts) <= _FEW_VALUES:
        return np.ones(len(counts), dtype=bool)
    beside = np.pad(counts, 1)
    beside = np.maximum(beside[:-2], beside[2:])
    stands_out = (counts >= _ROWS_OF_ATOM) & (counts > _TIMES_AS_MANY * beside)
    found: NDArray[np.bool_] = stands_out | (counts >= _SHARE_OF_ATOM * counts.sum())
    return found


def _places_and_heights(histogram: Histogram, share_below: float) -> tuple[Array, Array]:
    """Knots at edges, and where the normal's quantiles ask for more."""
    edges = histogram.edges
    inner = np.concatenate([[0.0], (histogram.densities() * np.diff(edges)).cumsum()]).clip(max=1)
    shares = share_below + (1 - 2 * share_below) * inner
    tops = ndtri(shares)
    is_atom = np.diff(tops) / np.diff(edges) > _STEEPEST / 2
    levels = np.linspace(tops[0], tops[-1], _N_LEVELS)[1:-1]
    is_far = np.abs(levels[:, None] - tops).min(1) > _LONGEST_RISE / 4
    levels = levels[is_far & ~is_atom[np.searchsorted(tops[1:-1], levels)]]
    heights = np.unique(np.concatenate([tops, levels]))
    places = np.interp(ndtr(heights), shares, edges)
    is_new = np.concatenate([[True], np.diff(places) > _NARROWEST * (1 + np.abs(places[1:]))])
    return places[is_new], heights[is_new]


def _with_slopes(places: Array, heights: Array) -> Knots:
    """Slopes at knots, which become two where the density jumps."""
    densities = np.diff(ndtr(heights)) / np.diff(places)
    rises = np.diff(heights) / np.diff(places)
    is_atom = rises > _STEEPEST / 2  # straight, so that it is nowhere steeper
    exact = math.sqrt(2 * math.pi) * np.exp(heights**2 / 2)  # slopes of the normal's quantiles
    starts = np.where(is_atom, rises, densities * exact[:-1])
    ends = np.where(is_atom, rises, densities * exact[1:])
    smooth = _smooth_slopes(places, heights)
    is_jump = np.zeros(len(places), dtype=bool)
    is_jump[1:-1] = np.abs(np.diff(np.log(densities))) > math.log(_JUMP)
    before = np.where(is_jump, np.concatenate([smooth[:1], ends]), smooth)
    after = np.where(is_jump, np.concatenate([starts, smooth[-1:]]), smooth)
    # Twice, and once where nothing jumps.
    is_kept = np.stack([is_jump, np.ones_like(is_jump)], 1).ravel()
    slopes = np.stack([before, after], 1).ravel()[is_kept].clip(_FLATTEST)
    slopes[[0, -1]] = slopes[[0, -1]].clip(_FLATTEST_TAIL, _STEEPEST)
    return Knots(np.repeat(places, 2)[is_kept], np.repeat(heights, 2)[is_kept], slopes)
