"""Densities of single columns that are constant between edges, which the column itself chooses."""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

Array = NDArray[np.float64]

_MIN_ROWS = 8  # of a bin, unless it is empty
_N_SEEDS = 32  # bins of equal counts at the start, so that a heap amid a wide column is seen
_SPARE = 4  # times as many bins may be split off as are kept
_NARROWEST = 1e-9  # width that counts for a bin's likelihood


class Histogram(NamedTuple):
    """Edges of bins, and the rows in each."""

    edges: Array
    counts: NDArray[np.int64]

    def densities(self) -> Array:
        """Of each bin; half a row stands in an empty one, so none is zero."""
        counts = np.maximum(self.counts, 0.5)
        densities: Array = counts / counts.sum() / np.diff(self.edges)
        return densities

    def likelihood(self) -> float:
        """Mean nats of the rows that chose it, less the price of its bins."""
        n_rows, n_bins = self.counts.sum(), len(self.counts)
        nats = (self.counts * np.log(self.densities())).sum()
        return float((nats - n_bins * _price(n_rows)) / n_rows)


def fit_histogram(y: Array, max_bins: int) -> Histogram:
    """Split where rows gain most by it, then merge what gained less than its price.

    The price of a bin is that of two numbers by BIC (Schwarz 1978), twice, for its edge is the
    best of many places. Edges lie next to rows: one behind a row and one before the next, where
    rows are far apart.

    Parameters
    ----------
    y : array of shape (n,)
        Sorted, no two equal.
    max_bins : int
    """
    places, ranks = _candidates(y)
    seeds = max(1, min(_N_SEEDS, len(y) // (4 * _MIN_ROWS)))
    start = np.unique(np.linspace(0, len(places) - 1, seeds + 1).astype(int)).tolist()
    chosen = set(start)
    price = _price(len(y))
    heap: list[tuple[float, int, int, int]] = []

    def consider(first: int, last: int) -> None:
        gain, place = _best_split(places, ranks, first, last)
        if gain > price:
            heapq.heappush(heap, (-gain, first, place, last))

    for first, last in pairwise(start):
        consider(first, last)
    while heap and len(chosen) <= _SPARE * max_bins:
        _, first, place, last = heapq.heappop(heap)
        chosen.add(place)
        consider(first, place)
        consider(place, last)
    kept = np.array(sorted(chosen))
    return _merge(places[kept], ranks[kept], max_bins, price)


def _price(n_rows: int) -> float:
    return 2 * float(np.log(n_rows))


def _candidates(y: Array) -> tuple[Array, NDArray[np.int64]]:
    """Places where an edge may be, in order, and the rows below each."""
    step = max(1, min(_MIN_ROWS, len(y) // 4))
    spacing = (y[step:] - y[:-step]) / step
    half = np.diff(y) / 2
    behind = np.minimum(half, np.concatenate([half[:step], spacing])[: len(half)])
    before = np.minimum(half, np.concatenate([spacing[1:], half[-step:]])[: len(half)])
    inner = np.stack([y[:-1] + behind, y[1:] - before], 1).ravel()
    ranks = np.repeat(np.arange(1, len(y)), 2)
    return np.concatenate([y[:1], inner, y[-1:]]), np.concatenate([[0], ranks, [len(y)]])


def _best_split(
    places: Array, ranks: NDArray[np.int64], first: int, last: int
) -> tuple[float, int]:
    """What the best edge inside a bin gains in nats of all rows, and where it is."""
    inner = slice(first + 1, last)
    below, above = ranks[inner] - ranks[first], ranks[last] - ranks[inner]
    shares = _nats(below, places[inner] - places[first]) + _nats(
        above, places[last] - places[inner]
    )
    is_allowed = ((below >= _MIN_ROWS) | (below == 0)) & ((above >= _MIN_ROWS) | (above == 0))
    if not is_allowed.any():
        return 0.0, first
    best = int(np.where(is_allowed, shares, -np.inf).argmax())
    whole = _nats(ranks[last] - ranks[first], places[last] - places[first])
    return float(shares[best] - whole), first + 1 + best


def _merge(edges: Array, ranks: NDArray[np.int64], max_bins: int, price: float) -> Histogram:
    while len(edges) > 2:
        counts, widths = np.diff(ranks), np.diff(edges)
        nats = _nats(counts, widths)
        merged = _nats(counts[:-1] + counts[1:], widths[:-1] + widths[1:])
        losses = nats[:-1] + nats[1:] - merged
        least = int(losses.argmin())
        if losses[least] > price and len(counts) <= max_bins:
            break
        edges, ranks = np.delete(edges, least + 1), np.delete(ranks, least + 1)
    return Histogram(edges, np.diff(ranks))


def _nats(counts: NDArray[np.int64], widths: Array) -> Array:
    """Of all rows of bins, but for what moving an edge leaves as it is."""
    nats: Array = xlogy(counts, counts / np.maximum(widths, _NARROWEST))
    return nats
