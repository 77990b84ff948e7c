"""Bounded columns: the real line from a half-line or an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit.cases import TransformCase
from densekit.exceptions import SupportError
from densekit.transforms.base import Transform

# Where a value that lies on its bound is taken to lie, as a share of `unit`.
_MARGIN = {torch.float32: 1e-6, torch.float64: 1e-9}


class Bounded(Transform):
    """Logit or log of each bounded column; columns without bounds stay as they are.

    With u the distance from the lower bound and v the distance from the upper one:
    ``z = log(u) - log(v)`` for an interval, ``log(u)`` above a bound, ``-log(v)`` below one.
    A value on its bound, which has no logarithm, is taken to lie `margin` away. A row with a value
    outside its bounds has a log-determinant of minus infinity, and so a density of zero.

    Parameters
    ----------
    event_shape : sequence of int
    low, high : float or sequence of float, default=-inf and inf
        Bounds of each column, or of all.
    margin : two sequences of float, optional
        For each column how far from its lower and from its upper bound a value on it is taken to
        lie; `nearest_margins` gives those of training rows. None is 1e-9 of the interval, or of the
        median distance from the only bound.

    Raises
    ------
    SupportError
        A lower bound is not below its upper bound.
    """

    in_data_units = True
    low: Tensor
    high: Tensor
    unit: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        low: float | Sequence[float] = -torch.inf,
        high: float | Sequence[float] = torch.inf,
        margin: Sequence[Sequence[float]] | None = None,
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape)
        bounds = [
            torch.as_tensor(b, dtype=torch.float64).expand(self.event_shape).clone()
            for b in (low, high)
        ]
        if not bool((bounds[0] < bounds[1]).all()):
            raise SupportError(f"Bounded got low={low} and high={high}, expected low < high.")
        self.register_buffer("low", bounds[0])
        self.register_buffer("high", bounds[1])
        # What the margin is a share of: the interval, or on a half-line the data's own scale.
        width = bounds[1] - bounds[0]
        self._margin = None if margin is None else [list(each) for each in margin]
        self.register_buffer("unit", torch.where(width.isfinite(), width, 1.0))

    @staticmethod
    def nearest_margins(x: Tensor, low: Tensor, high: Tensor) -> list[list[float]]:
        """A hundredth of the distance of the training value nearest to each bound, but not on it.

        What lies on a bound is then nearer to it than all that lies inside, and not so near that
        the density there is out of all proportion.
        """
        margins = []
        for bound, gap in ((low, x - low), (high, high - x)):
            nearest = torch.where((gap > 0) & gap.isfinite(), gap, torch.inf).amin(0)
            nearest = torch.where(nearest.isfinite(), nearest, 1.0)
            resolution = torch.finfo(x.dtype).eps * torch.where(bound.isfinite(), bound, 1.0).abs()
            least = resolution.clamp_min(torch.finfo(x.dtype).tiny)
            margins.append(torch.maximum(nearest / 100, least).tolist())
        return margins

    @classmethod
    def logit(
        cls, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None
    ) -> Bounded:
        """The logit of columns in (0, 1)."""
        return cls(event_shape, low=0.0, high=1.0)

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        has_low, has_high = self.low.isfinite(), self.high.isfinite()
        distance = torch.where(has_low, x - self.low, self.high - x).median(0).values
        self.unit.copy_(torch.where((has_low ^ has_high) & (distance > 0), distance, self.unit))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        low, high = self._bounds(x.dtype)
        has_low, has_high = low.isfinite(), high.isfinite()
        is_outside = ((x < low) | (x > high)).flatten(1).any(1)
        above, below = self._log_distances(x)
        middle, half = self._middle_and_half(x.dtype)
        # In the middle of a wide interval the difference of logarithms would lose what x says.
        offset = ((x - middle) / half).clamp(-0.5, 0.5)
        is_in_the_middle = has_low & has_high & (offset.abs() < 0.5)
        z = torch.where(has_low | has_high, above - below, x)
        z = torch.where(is_in_the_middle, 2 * torch.atanh(offset), z)
        log_slope = self._log_width(x.dtype) - above - below
        return z, log_slope.flatten(1).sum(1).masked_fill(is_outside, -torch.inf)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        low, high = self._bounds(z.dtype)
        has_low, has_high = low.isfinite(), high.isfinite()
        has_both = has_low & has_high
        middle, half = self._middle_and_half(z.dtype)
        # Each branch gets harmless numbers where it is not taken: no gradient may be NaN.
        start, stop = torch.where(has_low, low, 0.0), torch.where(has_high, high, 0.0)
        near_low = start + half * (2 * torch.sigmoid(z))
        near_high = stop - half * (2 * torch.sigmoid(-z))
        interval = torch.where(z < 0, near_low, near_high)
        interval = torch.where(z.abs() < 1, middle + half * torch.tanh(0.5 * z), interval)
        above = start + torch.where(has_low & ~has_high, z, 0.0).exp()
        below = stop - torch.where(has_high & ~has_low, -z, 0.0).exp()
        x = torch.where(has_both, interval, torch.where(has_low, above, z))
        x = torch.where(has_high & ~has_low, below, x)
        # Open at the bounds, and finite.
        inf = torch.full_like(low, torch.inf)
        x = torch.clamp(x, torch.nextafter(low, inf), torch.nextafter(high, -inf))
        slope_of_interval = F.logsigmoid(z) + F.logsigmoid(-z) + self._log_width(z.dtype)
        log_slope = torch.where(has_low, z, torch.where(has_high, -z, 0.0))
        log_slope = torch.where(has_both, slope_of_interval, log_slope)
        return x, log_slope.flatten(1).sum(1)

    def _bounds(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return self.low.to(dtype), self.high.to(dtype)

    def _middle_and_half(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Of intervals; without both bounds zero and one."""
        is_interval = self.low.isfinite() & self.high.isfinite()
        half_low, half_high = 0.5 * self.low, 0.5 * self.high  # whose difference is finite
        middle = torch.where(is_interval, half_low + half_high, 0.0)
        return middle.to(dtype), torch.where(is_interval, half_high - half_low, 1.0).to(dtype)

    def _log_distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logs of the distances from both bounds, zero where there is no bound."""
        logs = []
        gaps = x - self.low.to(x.dtype), self.high.to(x.dtype) - x
        for side, (bound, gap) in enumerate(zip((self.low, self.high), gaps, strict=True)):
            on_bound = self.unit * _MARGIN[x.dtype]
            if self._margin is not None:
                on_bound = torch.tensor(self._margin[side], dtype=torch.float64, device=x.device)
            distance = torch.where(gap > 0, gap, on_bound.to(x.dtype))
            logs.append(torch.where(bound.isfinite(), distance, 1.0).log())
        return logs[0], logs[1]

    def _log_width(self, dtype: torch.dtype) -> Tensor:
        is_interval = self.low.isfinite() & self.high.isfinite()
        half = self._middle_and_half(torch.float64)[1]
        return torch.where(is_interval, half.log() + math.log(2), 0.0).to(dtype)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        inf = float("inf")
        return [
            TransformCase("logit", lambda: cls.logit((2,)), domain=(0.02, 0.98)),
            TransformCase(
                "Bounded(mixed)",
                lambda: cls((4,), low=(-inf, 0.0, -inf, -1.0), high=(inf, inf, 2.0, 4.0)),
                domain=(0.1, 1.9),
            ),
            TransformCase(
                "Bounded(wide)", lambda: cls((2,), low=-1e16, high=1e16, margin=[[1.0] * 2] * 2)
            ),
            TransformCase(
                "Bounded(image)", lambda: cls((2, 2, 2), low=-1.0, high=3.0), domain=(-0.5, 2.5)
            ),
        ]
