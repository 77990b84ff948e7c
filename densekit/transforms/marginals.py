"""Which map brings a single column near a standard normal."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, stats

from densekit.transforms.knots import Knots, knots_at_quantiles, knots_of_histogram
from densekit.transforms.scaling import location_and_scale

Array = NDArray[np.float64]

# Candidates for the bend of a standardised column. The narrowest width is what an atom could gain
# by without end.
_CENTRES = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
_WIDTHS = np.array([0.3, 0.5, 0.8, 1.2, 2.0, 3.5, 6.0, 10.0])
MAX_WIDTH = float(_WIDTHS.max())
_MAX_ROWS_FOR_BENDS = 10_000
FEW_ROWS = 30  # below, the scale itself is too uncertain to choose a bend by
MANY_ROWS = 10_000  # from which on a histogram gives the spline
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
    knots : array of shape (3, max_bins + 1)
        Places, heights and slopes; those that are too many lie on the last tail. Where two are at
        one place, the slope jumps.
    """

    is_bent: bool
    bend: tuple[float, float, float, float]
    n_bins: int
    knots: Array


_NO_BEND = False, (0.0, 1.0, 0.0, 1.0)
_NO_SPLINE = Knots(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2))


def fit_marginal(x: Array, max_bins: int) -> Marginal:
    """Choose the map of a column, which is standardised; a constant one stays as it is.

    Parameters
    ----------
    x : array of shape (n,)
    max_bins : int
        Of the spline.
    """
    (is_bent, bend), knots = _NO_BEND, None
    if np.ptp(x) > 0:
        is_bent, bend = _fit_bend(_thinned(x)) if len(x) >= FEW_ROWS else _bend_of_few_rows(x)
        centre, width, loc, scale = bend
        w = (x - centre) / width
        y = np.sort(((np.arcsinh(w) if is_bent else w) - loc) / scale)
        choose = knots_at_quantiles if len(x) < MANY_ROWS else knots_of_histogram
        knots = choose(y, max_bins)
    n_bins = len(knots.places) - 1 if knots else 0
    return Marginal(is_bent, bend, n_bins, (knots or _NO_SPLINE).padded(max_bins + 1))


def _bend_of_few_rows(x: Array) -> tuple[bool, tuple[float, float, float, float]]:
    """The bend that makes the predictive distribution of a normal sample normal.

    The scale of few rows is so uncertain that the next row is Student's t with n - 1 degrees of
    freedom (Gelman 2013, section 3.2). The bend agrees with it at two quantiles.
    """
    n_rows = len(x)
    spread = x.std(ddof=1) * math.sqrt(1 + 1 / n_rows)
    inner, outer = stats.t.ppf([0.75, 0.975], n_rows - 1)
    z_inner, z_outer = stats.norm.ppf([0.75, 0.975])

    def excess(scale: float) -> float:
        return float(math.sinh(scale * z_outer) / math.sinh(scale * z_inner) - outer / inner)

    scale = optimize.brentq(excess, 1e-3, 5.0)
    width = spread * inner / math.sinh(scale * z_inner)
    return True, (float(x.mean()), width, 0.0, scale)


def _thinned(x: Array) -> Array:
    """Rows for a bend, of many evenly in order of size, so that both ends are among them."""
    if len(x) <= _MAX_ROWS_FOR_BENDS:
        return x
    places = np.linspace(0, len(x) - 1, _MAX_ROWS_FOR_BENDS).round().astype(int)
    rows: Array = np.sort(x)[places]
    return rows


def _fit_bend(x: Array) -> tuple[bool, tuple[float, float, float, float]]:
    """The likeliest bend, behind which the column is standardised again; or none.

    The least and the greatest value have no say: one absurd number would choose alone.
    """
    x = np.sort(x)[1:-1]
    if np.ptp(x) == 0:
        return _NO_BEND
    y = np.arcsinh((x - _CENTRES[:, None, None]) / _WIDTHS[:, None])
    spread = np.maximum(y.std(-1), _LEAST_SPREAD)
    size = np.abs(y)
    # Log of the root of w^2 + 1, which may be no number.
    log_root = size + np.log1p(np.exp(-2 * size)) - math.log(2)
    likelihood = -np.log(spread * _WIDTHS) - log_root.mean(-1)
    place = np.unravel_index(likelihood.argmax(), likelihood.shape)
    greatest = np.abs(x).max()  # whose square may be no number
    gain = likelihood[place] + np.log(max(greatest * (x / greatest).std(), _LEAST_SPREAD))
    if gain <= np.log(len(x)) / len(x):  # the price of two numbers by BIC (Schwarz 1978)
        return _NO_BEND
    loc, scale, is_constant = location_and_scale(torch.from_numpy(y[place])[:, None])
    centre, width = float(_CENTRES[place[0]]), float(_WIDTHS[place[1]])
    return True, (centre, width, float(loc), 1.0 if bool(is_constant) else float(scale))
