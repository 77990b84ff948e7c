"""Shifts and scales of whole columns: from statistics of the data, or learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densekit import _kernels as kernels
from densekit.cases import TransformCase
from densekit.exceptions import ParameterError
from densekit.transforms.base import Transform, check_vector

TAIL = 0.05  # share of a column, on each side, that does not count towards its scale
_SPREAD_OF_NORMAL = 3.2897072539029444  # distance of a standard normal's 5 % and 95 % quantiles
CONSTANT_FLOOR = 1e-3  # scale of a constant column, times max(1, |its value|)
MAX_ROWS_FOR_QUANTILES = 100_000
ABSURD = 1e3  # times the value, or the distance, that is usual


class Standardize(Transform):
    """z = (x - loc) / scale with a robust location and scale for each column.

    `fit_statistics` takes the distance of the 5 % and 95 % quantiles for the scale, so that a few
    outliers cannot crush the rest, and the mean between those quantiles for the location. Where
    the quantiles coincide, `location_and_scale` goes by the values that differ. A constant column
    gets the floor ``1e-3 * max(1, |value|)`` as its scale.

    Parameters
    ----------
    event_shape : sequence of int
    limit : float, optional
        Beyond so many scales z becomes ``limit * (1 + log(|z| / limit))``, so that whatever finite
        number comes, squares of z are finite, and one absurd number among the training rows cannot
        outweigh all others.
    """

    in_data_units = True
    loc: Tensor
    scale: Tensor
    is_constant: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        limit: float | None = None,
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape)
        n_features = check_vector("Standardize", event_shape)
        if limit is not None and not limit > 0:
            raise ParameterError(f"Standardize got limit={limit!r}, expected a number above 0.")
        self.limit = limit
        self.register_buffer("loc", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("is_constant", torch.zeros(n_features, dtype=torch.bool))

    def fit_statistics(self, x: Tensor) -> None:
        loc, scale, is_constant = location_and_scale(x)
        usual = torch.zeros_like(loc)
        usual[is_constant] = x[:, is_constant].median(0).values
        floor = CONSTANT_FLOOR * usual.abs().clamp_min(1)
        self.is_constant.copy_(is_constant)
        self.loc.copy_(torch.where(is_constant, usual, loc))
        self.scale.copy_(torch.where(is_constant, floor, scale))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = (x - self.loc) / self.scale
        log_det = -self.scale.log().sum().expand(x.shape[0])
        if self.limit is None:
            return z, log_det
        is_far = ~(z.abs() <= self.limit)
        if not bool(is_far.any()):
            return z, log_det
        # The distance itself may be no number.
        half = torch.where(is_far, 0.5 * x - 0.5 * self.loc, 1.0)
        log_size = half.abs().log() - self.scale.log() - math.log(0.5 * self.limit)
        far = half.sign() * self.limit * (1 + log_size)
        log_slope = torch.where(is_far, -log_size, 0.0).sum(1)
        return torch.where(is_far, far, z), log_det + log_slope

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = self.scale.log().sum().expand(z.shape[0])
        if self.limit is None:
            return z * self.scale + self.loc, log_det
        is_far = z.abs() > self.limit
        if not bool(is_far.any()):
            return z * self.scale + self.loc, log_det
        log_size = torch.where(is_far, z.abs() / self.limit - 1, 0.0)
        most = math.log(torch.finfo(z.dtype).max / 4)
        log_distance = (log_size + math.log(self.limit) + self.scale.log()).clamp_max(most)
        distance = torch.where(is_far, z.sign() * log_distance.exp(), z * self.scale)
        return distance + self.loc, log_det + log_size.sum(1)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [
            TransformCase("Standardize", lambda: cls((3,))),
            TransformCase("Standardize(limit)", lambda: cls((3,), limit=2.0)),
        ]


class Scale(Transform):
    """z = exp(log_scale) * x with a learned scale for each column: NICE's last layer (Dinh 2014,
    section 3.3)."""

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__(event_shape)
        self.log_scale = nn.Parameter(torch.zeros(check_vector("Scale", event_shape)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[0])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * torch.exp(-self.log_scale), -self.log_scale.sum().expand(z.shape[0])


class ActNorm(Transform):
    """z = (x + shift) * exp(log_scale), learned, and standardising at the start (Kingma 2018, 3.1).

    Unlike batch normalisation it does not depend on the batch: a row's density stays its own. The
    pixels of images (channels, height, width) share one shift and one scale for each channel.
    """

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__(event_shape)
        n_features, *positions = self.event_shape
        self._n_positions = math.prod(positions)
        shape = (n_features, *[1] * len(positions))
        self.shift = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        loc, scale, _ = location_and_scale(x.transpose(0, 1).flatten(1).T)
        self.shift.copy_(-loc.view_as(self.shift))
        scale = scale.clamp_min(CONSTANT_FLOOR)  # finite for a constant column
        self.log_scale.copy_(-scale.log().view_as(self.log_scale))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x + self.shift) * self.log_scale.exp(), self._log_det(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * torch.exp(-self.log_scale) - self.shift, -self._log_det(len(z))

    def _log_det(self, n_rows: int) -> Tensor:
        return (self._n_positions * self.log_scale.sum()).expand(n_rows)

    def compiled_steps(
        self, workspace: kernels.Workspace, *, learns: bool
    ) -> list[kernels.CompiledStep]:
        parameters = self.shift, self.log_scale
        if learns and not kernels.is_learned(*parameters):
            return super().compiled_steps(workspace, learns=learns)
        return [kernels.ColumnStep(*parameters, learns=learns)]

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [
            TransformCase("ActNorm", lambda: cls((3,))),
            TransformCase("ActNorm(image)", lambda: cls((3, 2, 2))),
        ]


def location_and_scale(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Robust location and scale of each column, and whether it is constant.

    No single value of many moves them by much: not those between two quantiles, nor, where more
    than nine of ten values are one, the root mean square of the distances from it, of which none
    counts for more than a thousand times their median. A column of n values of which one alone
    differs, by more than a thousand times n what the others are, is as good as constant.
    """
    rows = x[:: max(1, len(x) // MAX_ROWS_FOR_QUANTILES)]
    ordered = rows.sort(0).values
    lower, upper = _quantile(ordered, TAIL), _quantile(ordered, 1 - TAIL)
    scale = upper / _SPREAD_OF_NORMAL - lower / _SPREAD_OF_NORMAL  # whose difference is finite
    loc = torch.minimum(torch.maximum(rows, lower), upper)
    greatest = _greatest(x)
    unit = torch.where(greatest > 0, greatest, 1.0)
    loc = (loc / unit).mean(0) * unit  # a sum may be no number
    rounding = 16 * torch.finfo(x.dtype).eps
    is_constant = x.amax(0) - x.amin(0) <= rounding * greatest
    is_flat = upper - lower <= rounding * torch.maximum(lower.abs(), upper.abs())
    for i in (is_flat & ~is_constant).nonzero()[:, 0].tolist():
        loc[i], scale[i], is_constant[i] = _statistics_of_rare_values(rows[:, i], rounding)
    scale = torch.where(is_constant, 0.0, scale)
    return loc, scale, is_constant


def _statistics_of_rare_values(x: Tensor, rounding: float) -> tuple[Tensor, Tensor, bool]:
    """Location and scale of a column in which one value is nearly all there is, and whether it is
    as good as constant."""
    value = x.median()
    distance = (x - value).abs()
    others = distance[distance > rounding * value.abs()].sort().values
    if len(others) == 0:  # they differ by rounding on both sides
        return value, torch.zeros_like(value), True
    # Standardised columns have their only other value n times as far as all that are alike.
    if len(others) == 1 and value != 0 and others[0] > ABSURD * len(x) * value.abs():
        return value, torch.zeros_like(value), True
    # The standard deviation, but for what is absurd beside the others.
    most = ABSURD * others[(len(others) - 1) // 2]
    unit = torch.minimum(others[-1], most)
    scale = unit * ((others.clamp_max(most) / unit).square().sum() / len(x)).sqrt()
    return value, scale, False


def _greatest(x: Tensor) -> Tensor:
    """The greatest absolute value of each column, without a copy of the table."""
    return torch.maximum(x.amax(0), -x.amin(0))


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Linearly interpolated quantile of sorted columns (torch.quantile refuses large tensors)."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], position - below)
