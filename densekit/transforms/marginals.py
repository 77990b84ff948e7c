"""Which map brings a single column near a standard normal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri
from torch import Tensor

from densekit.elementwise.spline import Bin, rational_quadratic
from densekit.transforms.scaling import location_and_scale

Array = NDArray[np.float64]

# Candidates for the bend of a standardised column. The narrowest width is what an atom could gain
# by without end.
_CENTRES = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
_WIDTHS = np.array([0.3, 0.5, 0.8, 1.2, 2.0, 3.5, 6.0, 10.0])
MAX_WIDTH = float(_WIDTHS.max())
_N_BINS = (4, 8, 16, 32)  # candidates for the spline on top
MAX_BINS = max(_N_BINS)
_MIN_ROWS_PER_BIN = 8
_N_FOLDS = 5
# Nats of a column that a spline must gain over none: of closely related columns each with small
# bumps of its own a flow learns less well than of smooth ones.
_LEAST_GAIN = 0.25
# From so many rows on flows learn what is fine by themselves, and better; a spline is then for
# values that repeat, which alone gain as much.
_MANY_ROWS, _LEAST_GAIN_OF_MANY = 10_000, 2.0
# Rise of a bin and slope at a knot, so that values that repeat make no spike without end; between
# flat knots a slope may be twice the rise.
_STEEPEST = 50.0
_FLATTEST, _FLATTEST_TAIL = 1e-4, 0.3
_OUTERMOST = 3.0  # standard deviations, to which splines reach
_LEAST_SPREAD = 1e-6


class Marginal(NamedTuple):
    """The map of a column: z = spline((asinh((x - centre) / width) - loc) / scale).

    Attributes
    ----------
    is_bent : bool
        Whether the inverse hyperbolic sine is in it.
    bend : tuple of float
        centre, width, loc, scale
    n_bins : int
    knots : array of shape (3, MAX_BINS + 1)
        Places, heights and slopes; those that are too many lie on the last tail.
    """

    is_bent: bool
    bend: tuple[float, float, float, float]
    n_bins: int
    knots: Array


class _Knots(NamedTuple):
    places: Array
    heights: Array
    slopes: Array


_NO_BEND = False, (0.0, 1.0, 0.0, 1.0)
_NO_SPLINE = _Knots(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2))


def fit_marginal(x: Array, n_rows: int) -> Marginal:
    """Choose the map of a column, which is standardised; a constant one stays as it is.

    Parameters
    ----------
    x : array of shape (n,)
    n_rows : int
        Of the table, of which `x` may be a part.
    """
    if np.ptp(x) == 0:
        return Marginal(*_NO_BEND, 0, _laid_out(_NO_SPLINE))
    is_bent, bend = _fit_bend(x)
    centre, width, loc, scale = bend
    w = (x - centre) / width
    n_bins, knots = _fit_spline(
        np.sort(((np.arcsinh(w) if is_bent else w) - loc) / scale),
        _LEAST_GAIN if n_rows < _MANY_ROWS else _LEAST_GAIN_OF_MANY,
    )
    return Marginal(is_bent, bend, n_bins, _laid_out(knots))


def _fit_bend(x: Array) -> tuple[bool, tuple[float, float, float, float]]:
    """The likeliest bend, behind which the column is standardised again; or none."""
    w = (x - _CENTRES[:, None, None]) / _WIDTHS[:, None]
    y = np.arcsinh(w)
    spread = np.maximum(y.std(-1), _LEAST_SPREAD)
    likelihood = -np.log(spread * _WIDTHS) - np.log(np.hypot(w, 1)).mean(-1)
    place = np.unravel_index(likelihood.argmax(), likelihood.shape)
    greatest = np.abs(x).max()  # whose square may be no number
    gain = likelihood[place] + np.log(max(greatest * (x / greatest).std(), _LEAST_SPREAD))
    if gain <= np.log(len(x)) / len(x):  # the price of two numbers by BIC (Schwarz 1978)
        return _NO_BEND
    loc, scale, is_constant = location_and_scale(torch.from_numpy(y[place])[:, None])
    centre, width = float(_CENTRES[place[0]]), float(_WIDTHS[place[1]])
    return True, (centre, width, float(loc), 1.0 if bool(is_constant) else float(scale))


def _fit_spline(y: Array, least_gain: float) -> tuple[int, _Knots]:
    """Knots by the number of bins that held-out rows like best; for a sorted column."""
    fold = np.random.default_rng(0).permutation(len(y)) % _N_FOLDS
    parts = [(y[fold != i], y[fold == i]) for i in range(_N_FOLDS)]
    candidates = [n_bins for n_bins in _N_BINS if len(y) >= n_bins * _MIN_ROWS_PER_BIN]
    best, best_score = 0, -0.5 * float(np.mean(np.square(y))) + least_gain
    for n_bins in candidates:
        scores = [_likelihood(_at_quantiles(rows, n_bins), rest) for rows, rest in parts]
        if np.mean(scores) > best_score:
            best, best_score = n_bins, float(np.mean(scores))
    return best, _at_quantiles(y, best) if best else _NO_SPLINE


def _at_quantiles(y: Array, n_bins: int) -> _Knots:
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
    slopes = PchipInterpolator(places, heights).derivative()(places).clip(_FLATTEST, _STEEPEST)
    slopes[[0, -1]] = slopes[[0, -1]].clip(_FLATTEST_TAIL)
    return _Knots(places, heights, slopes)


def _laid_out(knots: _Knots) -> Array:
    """All knots that there may be."""
    n_more = MAX_BINS + 1 - len(knots.places)
    steps = np.arange(1.0, n_more + 1)
    places = np.concatenate([knots.places, knots.places[-1] + steps])
    heights = np.concatenate([knots.heights, knots.heights[-1] + knots.slopes[-1] * steps])
    return np.stack([places, heights, np.pad(knots.slopes, (0, n_more), mode="edge")])


def _likelihood(knots: _Knots, y: Array) -> float:
    """Mean nats, but for a constant, of rows that the spline makes standard normal."""
    index = np.searchsorted(knots.places[1:-1], y)
    corners = [torch.from_numpy(values[index + i]) for i in (0, 1) for values in knots]
    left, bottom, slope_left, right, top, slope_right = corners
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
