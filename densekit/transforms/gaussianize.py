"""Each column brought near a standard normal by a fixed map of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.cases import TransformCase
from densekit.elementwise.spline import Bin, rational_quadratic, solve_rational_quadratic
from densekit.exceptions import ParameterError
from densekit.transforms.base import Transform, check_vector
from densekit.transforms.knots import MAX_BINS, MIN_BINS, map_by_bins
from densekit.transforms.marginals import MAX_WIDTH, fit_marginal

MAX_ROWS = 1_000_000  # that choose the maps
# Training rows lie on a grid this fine, in standard deviations: a change of units then moves them
# by nothing at all, where rounding errors would grow from step to step.
GRID = 2.0**-20


class Gaussianize(Transform):
    """z = spline(asinh((x - centre) / width)) of each column alone, near a standard normal.

    `fit_statistics` chooses the bend of a column, or none, by the likelihood of a normal
    distribution of what it makes, which is Johnson's SU of the column (Johnson 1949, section 4).
    Where the column is then still far from normal, a rational-quadratic spline follows (marginal
    Gaussianisation, Chen 2000). Below 10,000 rows it goes through quantiles, as many as held-out
    rows bear, so it is smooth. From there on it makes a histogram normal, whose bins are as many as
    rows pay for by BIC, and its slope jumps where the density does. Beyond the outermost knots it
    is linear. It is the identity until then, and for columns that are normal.

    A flow behind it has only to learn how columns depend on each other.

    Parameters
    ----------
    event_shape : sequence of int
        (n_features,)
    context_shape : sequence of int, optional
        Of no effect.
    max_bins : int, default=32
        Bins of a spline, which is what quantiles ask for. A histogram takes two for each of its
        own, since it may jump, and 17 more: from 10,000 rows on estimators take 529, for 256. It
        sets the layer's memory.
    """

    is_bent: Tensor
    bend: Tensor
    n_bins: Tensor
    knots: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        context_shape: Sequence[int] | None = None,
        max_bins: int = MAX_BINS,
    ):
        super().__init__(event_shape)
        if not isinstance(max_bins, int) or max_bins < MIN_BINS:
            raise ParameterError(
                f"Gaussianize got max_bins={max_bins!r}, expected an integer from {MIN_BINS} on."
            )
        self.max_bins = max_bins
        n_features = check_vector("Gaussianize", event_shape)
        self.register_buffer("is_bent", torch.zeros(n_features, dtype=torch.bool))
        # Centre and width before the inverse hyperbolic sine, location and scale after it.
        bend = torch.tensor([0.0, 1.0, 0.0, 1.0])
        self.register_buffer("bend", bend[:, None].repeat(1, n_features))
        self.register_buffer("n_bins", torch.zeros(n_features, dtype=torch.long))
        # Places on x and on z, and slopes. Knots that are too many lie on the tail.
        places = [*map(float, range(max_bins + 1))]
        knots = torch.tensor([places, places, [1.0] * len(places)])
        self.register_buffer("knots", knots[:, None].repeat(1, n_features, 1))

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        rows = x[:: max(1, math.ceil(len(x) / MAX_ROWS))]
        for j in range(rows.shape[1]):
            column = (rows[:, j].double().cpu() / GRID).round() * GRID
            found = fit_marginal(column.numpy(), self.max_bins)
            self.is_bent[j], self.n_bins[j] = found.is_bent, found.n_bins
            self.bend[:, j] = torch.tensor(found.bend, dtype=self.bend.dtype)
            self.knots[:, j] = torch.from_numpy(found.knots)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not (x.requires_grad and torch.is_grad_enabled()) and kernels.is_usable(x, self.knots):
            return self._map_by_kernel(x)
        centre, width, loc, scale = self.bend
        bent, log_slope = _asinh((x - centre) / width, self.is_bent)
        y = (bent - loc) / scale
        z, log_slope_of_bin = map_by_bins(y, self._bin(y, axis=0))
        return z, (log_slope + log_slope_of_bin).sum(1) + self._shared_log_det()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        centre, width, loc, scale = self.bend
        bin_ = self._bin(z, axis=1)
        share = (z - bin_.bottom) / bin_.height
        inside = share.clamp(0, 1)
        position = solve_rational_quadratic(inside, bin_)
        log_slope = rational_quadratic(position, bin_)[1]
        beyond = (share - inside) * bin_.height * torch.exp(-log_slope)
        y = bin_.left + bin_.width * position + beyond
        w = _sinh(y * scale + loc, self.is_bent)
        log_slope = log_slope + _asinh(w, self.is_bent)[1]
        return w * width + centre, -log_slope.sum(1) - self._shared_log_det()

    def _shared_log_det(self) -> Tensor:
        """The part of the log-determinant that rows share."""
        return -(self.bend[1] * self.bend[3]).log().sum()

    def _map_by_kernel(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.empty(x.shape, dtype=x.dtype)
        log_det = self._shared_log_det().repeat(len(x))
        bend = self.bend.clone()
        bend[[1, 3]] = 1 / bend[[1, 3]]
        # A file may hold any number, and the loops look no further.
        n_bins = self.n_bins.clamp(0, self.max_bins)
        x, knots = x.detach().contiguous(), self.knots.contiguous()
        kernels.function("map_marginals", x.dtype)(
            *(*x.shape, knots.shape[2], x.data_ptr(), self.is_bent.data_ptr(), bend.data_ptr()),
            *(n_bins.data_ptr(), knots.data_ptr(), z.data_ptr(), log_det.data_ptr()),
        )
        return z, log_det

    def _bin(self, value: Tensor, axis: int) -> Bin:
        """The bin of each element; for what lies beyond all bins the first one or the last."""
        inner = self.knots[axis, :, 1:-1].contiguous()
        index = torch.searchsorted(inner, value.detach().T.contiguous())
        index = torch.minimum(index, (self.n_bins - 1).clamp_min(0)[:, None])
        (left, bottom, slope_left), (right, top, slope_right) = (
            [part.gather(1, index + i).T for part in self.knots] for i in (0, 1)
        )
        return Bin(left, right - left, bottom, top - bottom, slope_left, slope_right)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        def fitted(n_rows: int) -> Gaussianize:
            normal = torch.randn(n_rows, 3)
            columns = [normal[:, 0].exp(), normal[:, 1].round(), normal[:, 2].clamp_min(0)]
            layer = cls((4,), max_bins=60)
            layer.fit_statistics(torch.stack([*columns, normal[:, 0]], 1))
            return layer

        return [
            TransformCase("Gaussianize", lambda: cls((3,))),
            TransformCase("fitted to few rows", lambda: fitted(1000)),
            TransformCase("fitted to many rows", lambda: fitted(20_000)),
        ]


def _asinh(w: Tensor, is_bent: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse hyperbolic sine where columns are bent, and its log-slope."""
    root = torch.where(is_bent, w, 0.0).hypot(torch.ones_like(w))
    sign = torch.where(w < 0, -torch.ones_like(w), torch.ones_like(w))  # of slope one at zero, too
    return torch.where(is_bent, sign * (sign * w + root).log(), w), -root.log()


def _sinh(y: Tensor, is_bent: Tensor) -> Tensor:
    """Its inverse, which ends where numbers do, also when a width multiplies it."""
    end = math.log(torch.finfo(y.dtype).max / MAX_WIDTH) - 1
    return torch.where(is_bent, torch.where(is_bent, y, 0.0).clamp(-end, end).sinh(), y)
