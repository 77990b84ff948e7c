"""Rows and their weights, over drawn ones."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from densekit.data.rows import Rows, index_by_weight, relative_weights, repeat_by_weight
from densekit.testing import tools

seeds = st.integers(0, 2**20)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=30))
def test_a_weight_means_that_many_equal_rows(rows):
    values = np.array([[float(value)] for value, _ in rows])
    weight = np.array([float(count) for _, count in rows])
    weight[0] = 1  # or weights might have a common divisor, which is of no effect
    repeated = values.repeat(weight.astype(int), axis=0)
    by_weight = repeat_by_weight(values, weight, None)
    by_repeats = repeat_by_weight(repeated, np.ones(len(repeated)), None)
    assert np.array_equal(by_weight[0], by_repeats[0])
    assert np.array_equal(by_weight[1], by_repeats[1])


@given(
    weight=st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=30),
    factor=st.floats(1e-250, 1e250),
)
def test_a_common_factor_of_weights_is_of_no_effect(weight, factor):
    weight = np.array(weight)
    np.testing.assert_array_equal(relative_weights(weight), relative_weights(factor * weight))
    ratios = relative_weights(weight) / relative_weights(weight)[0]
    np.testing.assert_allclose(ratios, weight / weight[0], rtol=1e-5)


@given(weight=st.lists(st.floats(0.01, 100.0), min_size=2, max_size=50), start=st.floats(0, 0.99))
def test_rows_are_drawn_as_often_as_they_weigh(weight, start):
    share = np.array(weight) / np.sum(weight) * len(weight)
    counts = np.bincount(index_by_weight(torch.tensor(weight), start), minlength=len(weight))
    assert counts.sum() == len(weight)
    assert (np.abs(counts - share) < 1 + 1e-4 * share).all()


@given(heavy=st.floats(1.0, 1e6), n_rows=st.integers(10, 200), seed=seeds)
def test_a_heavy_row_is_on_both_sides_of_a_split(heavy, n_rows, seed):
    weight = torch.ones(n_rows, dtype=torch.float64)
    weight[3] = heavy
    x = torch.arange(float(n_rows), dtype=torch.float64)[:, None]
    rows = Rows(x, weight, None, torch.zeros(n_rows))
    train, validation = rows.split(0.1, tools.generator(seed))
    shares = [
        float(part.weight[part.x[:, 0] == 3].sum() / part.weight.sum())
        for part in (train, validation)
    ]
    if 0.1 * heavy > weight.mean():
        assert min(shares) > 0
        assert abs(shares[0] - shares[1]) < 0.1
    assert len(train) + len(validation) >= n_rows
