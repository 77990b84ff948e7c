"""Densities of single columns in bins that the column chooses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from densekit.transforms.histogram import fit_histogram


def boxes(n: int, lows: list[float], highs: list[float], shares: list[float]) -> np.ndarray:
    """Sorted rows of a density that is constant between lows and highs."""
    rng = np.random.default_rng(0)
    box = rng.choice(len(lows), n, p=shares)
    return np.sort(rng.uniform(np.array(lows)[box], np.array(highs)[box]))


@pytest.mark.parametrize("n", [300, 10_000])
def test_an_even_column_is_one_bin(n):
    assert len(fit_histogram(boxes(n, [0.0], [1.0], [1.0]), 100).counts) == 1


def test_edges_are_where_the_density_jumps():
    found = fit_histogram(boxes(20_000, [0, 1, 4], [1, 4, 5], [0.2, 0.3, 0.5]), 100)
    np.testing.assert_allclose(found.edges, [0, 1, 4, 5], atol=0.01)
    np.testing.assert_allclose(found.densities(), [0.2, 0.1, 0.5], atol=0.01)


def test_gaps_are_bins_of_their_own():
    lows = list(range(20))
    found = fit_histogram(boxes(20_000, lows, [low + 0.5 for low in lows], [0.05] * 20), 100)
    assert len(found.counts) == 39
    np.testing.assert_allclose(found.edges[1:-1:2] - lows[:-1], 0.5, atol=0.01)
    assert (found.counts[1::2] < 10).all()
    assert (found.densities() > 0).all()


def test_a_heap_amid_a_wide_column_is_found():
    found = fit_histogram(boxes(10_000, [-1, 0], [1, 0.001], [0.98, 0.02]), 100)
    assert found.edges[found.densities().argmax()] == pytest.approx(0, abs=1e-3)
    assert found.densities().max() > 10


def test_bins_are_no_more_than_asked_for_and_those_that_matter_most():
    y = boxes(20_000, [0, 1, 2, 3], [1, 2, 3, 4], [0.05, 0.15, 0.35, 0.45])
    assert len(fit_histogram(y, 4).counts) == 4
    few = fit_histogram(y, 2)
    np.testing.assert_allclose(few.edges, [0, 2, 4], atol=0.1)
    assert len(fit_histogram(y, 1).counts) == 1


def test_rows_that_were_held_out_are_as_likely_as_those_that_chose():
    x = np.random.default_rng(0).normal(size=40_000)
    found = fit_histogram(np.sort(x[:20_000]), 100)
    inside = x[20_000:].clip(found.edges[0] + 1e-9, found.edges[-1] - 1e-9)
    nats = np.log(found.densities()[np.searchsorted(found.edges, inside) - 1]).mean()
    assert found.likelihood() == pytest.approx(nats, abs=0.03)
    assert nats == pytest.approx(-0.5 * np.log(2 * np.pi * np.e), abs=0.03)


@given(st.sets(st.integers(-(10**9), 10**9), min_size=2, max_size=300), st.integers(1, 40))
def test_any_column_gives_a_density(values, max_bins):
    y = np.sort(list(values)) / 1000
    found = fit_histogram(y, max_bins)
    assert len(found.counts) <= max_bins
    assert found.counts.sum() == len(y)
    assert (np.diff(found.edges) > 0).all()
    assert (found.edges[0], found.edges[-1]) == (y[0], y[-1])
    assert (found.densities() * np.diff(found.edges)).sum() == pytest.approx(1)
