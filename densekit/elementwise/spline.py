"""The monotone rational-quadratic spline of neural spline flows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit import _kernels as kernels
from densekit.cases import ElementwiseCase
from densekit.elementwise.base import Elementwise
from densekit.exceptions import ParameterError

MIN_BIN = 1e-3  # least width and height of a bin, as a share of the box
MIN_SLOPE = 1e-3
# softplus(raw + _UNIT_SLOPE) + MIN_SLOPE is one at raw = 0: the spline starts as the identity.
_UNIT_SLOPE = math.log(math.expm1(1 - MIN_SLOPE))


class Bin(NamedTuple):
    """The bin that each element falls into; every tensor has the elements' shape."""

    left: Tensor
    width: Tensor
    bottom: Tensor
    height: Tensor
    slope_left: Tensor
    slope_right: Tensor


class Spline(Elementwise):
    """Monotone rational-quadratic spline in a box, the identity outside (Durkan 2019, eqs. 4 to 8).

    The slope is one at both edges of the box, so the map and its slope are continuous.

    Parameters
    ----------
    n_bins : int, default=8
        Bins in the box, the paper's choice for tables.
    bound : float, default=5.0
        The box is [-bound, bound]; standardised data lies well inside it.
    """

    def __init__(self, n_bins: int = 8, bound: float = 5.0):
        if n_bins < 2 or n_bins * MIN_BIN >= 1:
            raise ParameterError(
                f"Spline got n_bins={n_bins!r}, expected a number from 2 to {1 / MIN_BIN - 1:.0f}."
            )
        if not bound > 0:
            raise ParameterError(f"Spline got bound={bound!r}, expected a number above 0.")
        self.n_bins = n_bins
        self.bound = bound
        self.n_params = 3 * n_bins - 1

    @property
    def kernel(self) -> kernels.MapKernel | None:
        options = self.bound, MIN_BIN, MIN_SLOPE, _UNIT_SLOPE
        return kernels.native("spline", self.n_params, options)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.clamp(-self.bound, self.bound)
        bin_ = self._bin(inside, params, axis=0)
        # Clipped before the algebra, so that no branch computes a NaN that a gradient could carry.
        position = _clipped((inside - bin_.left) / bin_.width)
        share, log_slope = rational_quadratic(position, bin_)
        is_outside = x.abs() >= self.bound
        z = torch.where(is_outside, x, bin_.bottom + bin_.height * share)
        return z, log_slope.masked_fill(is_outside, 0.0)

    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside = z.clamp(-self.bound, self.bound)
        bin_ = self._bin(inside, params, axis=1)
        share = _clipped((inside - bin_.bottom) / bin_.height)
        position = solve_rational_quadratic(share, bin_)
        _, log_slope = rational_quadratic(position, bin_)
        is_outside = z.abs() >= self.bound
        x = torch.where(is_outside, z, bin_.left + bin_.width * position)
        return x, -log_slope.masked_fill(is_outside, 0.0)

    def _bin(self, value: Tensor, params: Tensor, axis: int) -> Bin:
        """Pick each element's bin by its place among the knots of x (axis 0) or of z (axis 1)."""
        raw = params.movedim(-1, 0)  # bins first, which is the fast layout
        widths, heights = (
            self._sizes(part) for part in (raw[: self.n_bins], raw[self.n_bins : 2 * self.n_bins])
        )
        lefts, bottoms = (sizes.cumsum(0) - sizes - self.bound for sizes in (widths, heights))
        searched = (lefts, bottoms)[axis][1:]
        index = (value >= searched).sum(0, keepdim=True)
        slopes = F.softplus(raw[2 * self.n_bins :] + _UNIT_SLOPE) + MIN_SLOPE
        slopes = F.pad(slopes, (0, 0) * (slopes.ndim - 1) + (1, 1), value=1.0)
        tables = (lefts, widths, bottoms, heights, slopes[:-1], slopes[1:])
        return Bin(*(table.gather(0, index)[0] for table in tables))

    def _sizes(self, raw: Tensor) -> Tensor:
        """Widths or heights of the bins, which fill the box."""
        share = MIN_BIN + (1 - MIN_BIN * self.n_bins) * raw.softmax(0)
        return 2 * self.bound * share

    @classmethod
    def example_cases(cls) -> list[ElementwiseCase]:
        return [
            ElementwiseCase("Spline", cls, edges=(-5.0, 5.0)),
            ElementwiseCase(
                "Spline(n_bins=3, bound=2)",
                lambda: cls(n_bins=3, bound=2.0),
                edges=(-2.0, 2.0),
            ),
        ]


def _clipped(share: Tensor) -> Tensor:
    """A share of a bin within [0, 1], which only rounding takes it from: its gradient stays."""
    return share + (share.clamp(0, 1) - share).detach()


def rational_quadratic(position: Tensor, bin_: Bin) -> tuple[Tensor, Tensor]:
    """Share of the bin's height reached at a position in [0, 1], and the log-slope (eqs. 4, 5)."""
    slope = bin_.height / bin_.width
    across = position * (1 - position)
    denominator = slope + (bin_.slope_left + bin_.slope_right - 2 * slope) * across
    share = (slope * position.square() + bin_.slope_left * across) / denominator
    numerator = (
        bin_.slope_right * position.square()
        + 2 * slope * across
        + bin_.slope_left * (1 - position).square()
    )
    return share, 2 * (slope / denominator).log() + numerator.log()


def solve_rational_quadratic(share: Tensor, bin_: Bin) -> Tensor:
    """Position at which the share of the height is reached (eqs. 6 to 8)."""
    slope = bin_.height / bin_.width
    bend = bin_.slope_left + bin_.slope_right - 2 * slope
    a = slope - bin_.slope_left + share * bend
    b = bin_.slope_left - share * bend
    c = -slope * share
    # Rounding can push the discriminant below zero at a knot; the true value is not.
    root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
    # Of the two forms of the root take the one without cancellation, by the sign of b.
    is_positive = b >= 0
    stable = torch.where(is_positive, -b - root, -b + root)
    top = torch.where(is_positive, 2 * c, stable)
    bottom = torch.where(is_positive, stable, 2 * a)
    return (top / torch.where(bottom == 0, torch.ones_like(bottom), bottom)).clamp(0, 1)
