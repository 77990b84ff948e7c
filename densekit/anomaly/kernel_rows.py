"""Student-t kernel density of training rows with leave-one-out bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import gammaln, logsumexp

from densekit.transforms.scaling import location_and_scale

Array = NDArray[np.float64]

MAX_ROWS, MAX_VALUES = 20_000, 4_000_000  # that are remembered
MAX_ROWS_TO_CHOOSE = 300  # leave-one-out likelihood of so many rows chooses the bandwidth
DEGREES_OF_FREEDOM = 3.0  # tails that fall slowly, so that far rows still differ by the distance
WIDTHS = 2.0 ** np.arange(-8, 5)  # of the typical distance to the nearest row
MOST_SCALES = 5.0  # up to which a number counts towards the scale of its column
FARTHEST = 1e150  # standard deviations
BLOCK = 4_000_000  # distances at a time


@dataclass(frozen=True)
class KernelRows:
    """Density of equal Student-t kernels around training rows, in standardised columns.

    ``p(x) = mean_i t_3(|x - x_i| / bandwidth)``, with the bandwidth of the greatest leave-one-out
    likelihood (Duin 1976). Rows that repeat in the data make it narrow, as they should.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Training rows, or as many of them as are remembered, standardised.
    location, scale : ndarray of shape (n_features,)
    bandwidth : float
    """

    rows: Array
    location: Array
    scale: Array
    bandwidth: float

    @classmethod
    def fit(cls, X: Any, rng: np.random.RandomState) -> KernelRows:
        """Remember rows, and choose the bandwidth.

        Columns are scaled by their standard deviation without what lies beyond `MOST_SCALES`
        robust scales: one absurd number decides nothing. A column that is constant in n rows gets
        the scale that one more row would give it, had it shown another value:
        ``max(1, |value|) / sqrt(n)``.
        """
        x = np.asarray(X, dtype=np.float64)
        table = torch.from_numpy(np.ascontiguousarray(x))
        middle, spread, is_constant = (each.numpy() for each in location_and_scale(table))
        unit = np.where(spread > 0, spread, 1.0)  # squares of what is tiny or huge are no numbers
        shifted = np.clip(x / unit - middle / unit, -MOST_SCALES, MOST_SCALES)
        shifted = np.where(spread > 0, shifted, 0.0)
        location, scale = middle + unit * shifted.mean(0), unit * shifted.std(0)
        one_more = np.maximum(1.0, np.abs(location)) / np.sqrt(len(x))
        location = np.where(is_constant, middle, location)
        scale = np.where(is_constant, one_more, scale)
        n_rows = min(len(x), MAX_ROWS, max(1000, MAX_VALUES // x.shape[1]))
        if n_rows < len(x):
            x = x[rng.permutation(len(x))[:n_rows]]
        rows = _scaled(x, location, scale)
        chosen = rng.permutation(n_rows)[:MAX_ROWS_TO_CHOOSE]
        return cls(rows, location, scale, _choose_bandwidth(rows, chosen))

    def log_density(self, X: Any) -> Array:
        """Log-density of each row in nats and the units of X, (n,)."""
        x = _scaled(np.asarray(X, dtype=np.float64), self.location, self.scale)
        parts = [np.empty(0)]
        for start in range(0, len(x), self._block):
            squared = cdist(x[start : start + self._block], self.rows, "sqeuclidean")
            parts.append(_log_mean_kernel(squared, self.bandwidth, self.rows.shape[1]))
        return np.concatenate(parts) - np.log(self.scale).sum()

    @property
    def _block(self) -> int:
        return max(1, BLOCK // len(self.rows))


def _scaled(x: Array, location: Array, scale: Array) -> Array:
    """Standardised columns, up to a distance whose square is still a number."""
    with np.errstate(over="ignore"):
        z: Array = (x - location) / scale
    return np.clip(z, -FARTHEST, FARTHEST)


def _choose_bandwidth(rows: Array, chosen: NDArray[np.intp]) -> float:
    """The width of the greatest leave-one-out likelihood; one where there is no other row."""
    if len(rows) < 2:
        return 1.0
    squared = _distances_to_others(rows[chosen], chosen, rows)
    nearest = np.sqrt(squared.min(1))
    positive = nearest[nearest > 0]
    typical = float(np.median(positive)) if len(positive) else 1.0
    n_features = rows.shape[1]
    nats = [_log_mean_kernel(squared, w * typical, n_features).mean() for w in WIDTHS]
    return float(WIDTHS[int(np.argmax(nats))] * typical)


def _distances_to_others(part: Array, places: NDArray[np.intp], rows: Array) -> Array:
    """Squared distances of rows to all others; infinite to themselves."""
    squared: Array = cdist(part, rows, "sqeuclidean")
    if len(rows) > 1:
        squared[np.arange(len(part)), places] = np.inf
    return squared


def _log_mean_kernel(squared: Array, bandwidth: float, n_features: int) -> Array:
    """Logarithm of the mean of Student-t kernels at squared distances (n, n_rows)."""
    half = 0.5 * (DEGREES_OF_FREEDOM + n_features)
    ratio = np.log1p(squared / (DEGREES_OF_FREEDOM * bandwidth**2))
    log_norm = (
        gammaln(half)
        - gammaln(0.5 * DEGREES_OF_FREEDOM)
        - 0.5 * n_features * np.log(DEGREES_OF_FREEDOM * np.pi)
        - n_features * np.log(bandwidth)
        - np.log(squared.shape[1])
    )
    total: Array = logsumexp(-half * ratio, axis=1) + log_norm
    return total
