"""Bounded columns: the real line from a half-line or an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from densekit.errors import SupportError
from densekit.transforms.base import Transform

if TYPE_CHECKING:
    from densekit.testing.cases import TransformCase

# Nearest that a value may come to its bound, as a share of the interval. Both sides alike.
_MARGIN = {torch.float32: 1e-6, torch.float64: 1e-9}


class Bounded(Transform):
    """Logit or log of each bounded column; columns without bounds stay as they are.

    With u the distance from the lower bound and v the distance from the upper one:
    ``z = log(u) - log(v)`` for an interval, ``log(u)`` above a bound, ``-log(v)`` below one.
    A value within a small margin of its bound is taken to lie at the margin. A row with a value
    outside its bounds has a log-determinant of minus infinity, and so a density of zero.

    Parameters
    ----------
    event_shape : sequence of int
    low, high : float or sequence of float, default=-inf and inf
        Bounds of each column, or of all.

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
        width = bounds[1] - bounds[0]
        # What the margin is a share of: the interval, or on a half-line the data's own scale.
        self.register_buffer("unit", torch.where(width.isfinite(), width, 1.0))

    @classmethod
    def logit(
        cls, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None
    ) -> Bounded:
        """The logit of columns in (0, 1)."""
        return cls(event_shape, low=0.0, high=1.0)

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        has_one = self.low.isfinite() ^ self.high.isfinite()
        distance = torch.where(self.low.isfinite(), x - self.low, self.high - x).median(0).values
        self.unit.copy_(torch.where(has_one & (distance > 0), distance, self.unit))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        low, high, _ = self._bounds(x.dtype)
        is_outside = ((x < low) | (x > high)).flatten(1).any(1)
        above, below = self._log_distances(x)
        z = torch.where(low.isfinite() | high.isfinite(), above - below, x)
        log_slope = self._log_width(x.dtype) - above - below
        return z, log_slope.flatten(1).sum(1).masked_fill(is_outside, -torch.inf)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        low, high, margin = self._bounds(z.dtype)
        has_low, has_high = low.isfinite(), high.isfinite()
        # Each branch gets harmless numbers where it is not taken: no gradient may be NaN.
        start, stop = torch.where(has_low, low, 0.0), torch.where(has_high, high, 0.0)
        interval = start + (stop - start) * torch.sigmoid(z)
        above = start + torch.where(has_low & ~has_high, z, 0.0).exp()
        below = stop - torch.where(has_high & ~has_low, -z, 0.0).exp()
        x = torch.where(has_low, torch.where(has_high, interval, above), z)
        x = torch.where(has_high & ~has_low, below, x)
        x = torch.clamp(x, low + margin, high - margin)
        log_above, log_below = self._log_distances(x)
        return x, (log_above + log_below - self._log_width(z.dtype)).flatten(1).sum(1)

    def _bounds(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        return self.low.to(dtype), self.high.to(dtype), (self.unit * _MARGIN[dtype]).to(dtype)

    def _log_distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logs of the distances from both bounds, zero where there is no bound."""
        low, high, margin = self._bounds(x.dtype)
        above = torch.where(low.isfinite(), torch.maximum(x - low, margin), 1.0)
        below = torch.where(high.isfinite(), torch.maximum(high - x, margin), 1.0)
        return above.log(), below.log()

    def _log_width(self, dtype: torch.dtype) -> Tensor:
        is_interval = self.low.isfinite() & self.high.isfinite()
        return torch.where(is_interval, self.unit, 1.0).log().to(dtype)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        from densekit.testing.cases import TransformCase

        inf = float("inf")
        return [
            TransformCase("logit", lambda: cls.logit((2,)), domain=(0.02, 0.98)),
            TransformCase(
                "Bounded(mixed)",
                lambda: cls((4,), low=(-inf, 0.0, -inf, -1.0), high=(inf, inf, 2.0, 4.0)),
                domain=(0.1, 1.9),
            ),
            TransformCase(
                "Bounded(image)", lambda: cls((2, 2, 2), low=-1.0, high=3.0), domain=(-0.5, 2.5)
            ),
        ]
