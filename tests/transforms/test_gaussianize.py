"""Maps that bring columns near a standard normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from densekit import MAFEstimator
from densekit import _kernels as kernels
from densekit.testing import tools
from densekit.transforms import Gaussianize, Standardize

COLUMNS = {
    "lognormal": lambda normal: normal.exp(),
    "cauchy": lambda normal: (normal * 0.99).erf().mul(torch.pi / 2).tan(),
    "two heaps": lambda normal: torch.where(normal > 0, normal / 4 + 2, normal / 4 - 2),
    "half of it zero": lambda normal: normal.clamp_min(0),
    "counts": lambda normal: normal.round(),
    "outliers": lambda normal: torch.where(normal > 2, normal * 1e3, normal),
}


SIZES = pytest.mark.parametrize("n_rows", [3000, 20_000])  # quantiles, and a histogram


def fitted(column: torch.Tensor) -> Gaussianize:
    layer = Gaussianize((1,), max_bins=200).double()
    layer.fit_statistics(column[:, None])
    return layer


def normal_rows(n: int = 3000) -> torch.Tensor:
    return torch.randn(n, generator=tools.generator(), dtype=torch.float64)


@SIZES
@pytest.mark.parametrize("name", COLUMNS)
def test_held_out_rows_are_likelier_than_under_a_normal_distribution(name, n_rows):
    x = COLUMNS[name](normal_rows(2 * n_rows))
    x = (x - x.median()) / (x.quantile(0.95) - x.quantile(0.05)) * 3.3
    train, test = x[::2], x[1::2]
    z, log_det = fitted(train)(test[:, None])
    ours = (log_det - 0.5 * z[:, 0].square()).mean()
    theirs = -0.5 * ((test - train.mean()) / train.std()).square().mean() - train.std().log()
    assert ours > theirs + 0.1


def test_the_density_of_many_rows_jumps_where_they_do():
    rng = np.random.default_rng(0)
    lows, shares = np.array([0.0, 0.2, 1.0, 1.7]), [0.5, 0.1, 0.2, 0.2]
    highs = np.array([0.2, 1.0, 1.5, 2.0])
    box = rng.choice(4, 40_000, p=shares)
    x = torch.from_numpy(rng.uniform(lows[box], highs[box]))
    z, log_det = fitted(x[:20_000])(x[20_000:, None])
    nats = log_det - 0.5 * z[:, 0].square() - 0.5 * np.log(2 * np.pi)
    expected = np.log(shares / (highs - lows))[box[20_000:]]
    assert nats.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert kstest(z[:, 0].numpy(), "norm").statistic < 0.02


@pytest.mark.parametrize("seed", range(40))
def test_splines_of_many_rows_reach_as_far_on_both_sides(seed):
    rng = np.random.default_rng(seed)
    layer = fitted(torch.from_numpy(rng.uniform(size=10_000) + 2 * rng.integers(0, 8, 10_000)) / 5)
    heights = layer.knots[1, 0, : int(layer.n_bins) + 1]
    assert heights[-1] == pytest.approx(-float(heights[0]))
    assert 3 < heights[-1] < 4


@pytest.mark.parametrize("outlier", [50.0, 1e6])
@pytest.mark.parametrize("place", [0, 1])
def test_an_outlier_among_many_rows_stretches_nothing(place, outlier):
    x = normal_rows(10_002)
    x[place] = outlier
    back, _ = fitted(x).inverse(normal_rows(100_000)[:, None])
    assert (back.abs() > 6).float().mean() < 1e-3


@pytest.mark.parametrize("share", [0.008, 0.015, 0.017, 0.5])
def test_values_that_repeat_make_no_spike_without_end(share):
    x = normal_rows(50_000)
    x[: int(share * len(x))] = 0.3
    layer = fitted(x)
    _, log_det = layer(torch.linspace(-4, 4, 80_001, dtype=torch.float64)[:, None])
    assert 20 < log_det.exp().max() < 200


def test_a_heap_far_from_all_others_stays_there():
    x = normal_rows(20_000)
    x[:200] = -999.0
    layer = fitted(x)
    back, _ = layer.inverse(normal_rows(100_000)[:, None])
    far = back[back < -10]
    assert len(far) / len(back) == pytest.approx(0.01, abs=0.002)
    assert ((far + 999).abs() < 50).float().mean() > 0.95


def test_thinned_rows_that_are_constant_are_not_bent():
    x = torch.zeros(10_001, dtype=torch.float64)
    x[1] = 1
    z, log_det = fitted(x)(x[:, None])
    assert bool(z.isfinite().all() & log_det.isfinite().all())


def test_rounded_numbers_of_many_rows_count_as_what_was_rounded():
    x = normal_rows(40_000)
    rounded = (x * 100).round() / 100
    z, log_det = fitted(rounded[:20_000])(rounded[20_000:, None])
    z_unrounded, log_det_unrounded = fitted(x[:20_000])(rounded[20_000:, None])
    nats, nats_unrounded = (
        (part - 0.5 * square[:, 0].square()).mean()
        for part, square in ((log_det, z), (log_det_unrounded, z_unrounded))
    )
    assert nats == pytest.approx(float(nats_unrounded), abs=0.05)


@SIZES
@pytest.mark.parametrize("name", ["lognormal", "cauchy"])
def test_smooth_columns_become_normal(name, n_rows):
    x = COLUMNS[name](normal_rows(n_rows))
    z, _ = fitted(x)(x[:, None])
    assert kstest(z[:, 0].numpy(), "norm").statistic < 0.05


@SIZES
def test_normal_columns_stay_as_they_are(n_rows):
    x = normal_rows(n_rows)[:, None]
    z, log_det = fitted(x[:, 0])(x)
    assert (z - x).abs().max() < 0.3
    assert log_det.abs().max() < 0.1


def test_constant_columns_stay_as_they_are():
    x = torch.full((500, 1), 3.0, dtype=torch.float64)
    z, log_det = fitted(x[:, 0])(x + 0.1)
    torch.testing.assert_close(z, x + 0.1)
    assert log_det.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@SIZES
@pytest.mark.parametrize("name", COLUMNS)
def test_the_kernel_does_what_the_plain_path_does(name, dtype, n_rows):
    column = COLUMNS[name](normal_rows(n_rows))
    layer = fitted(column).to(dtype)
    x = torch.cat([column, column * 1.3, torch.tensor([-1e9, 1e9, 0.0])])[:, None].to(dtype)
    fast = layer(x)
    with kernels.plain():
        plain = layer(x)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=80),
    st.one_of(st.integers(1, 40), st.integers(5000, 5100)),
    st.sampled_from([0.0, 1e-7, 1e-3, 1.0]),
)
def test_any_column_gives_a_bijection(values, repeats, jitter):
    x = torch.tensor(values, dtype=torch.float64).repeat(repeats)[:, None]
    x += jitter * normal_rows(len(x))[:, None]
    scale = Standardize((1,)).double()
    scale.fit_statistics(x)
    x = scale(x)[0][:, 0]
    layer = fitted(x)
    places = torch.cat([x, torch.linspace(-8, 8, 41, dtype=torch.float64)])[:, None]
    z, log_det = layer(places)
    back, log_det_back = layer.inverse(z)
    assert bool(z.isfinite().all() & log_det.isfinite().all())
    order = places[:, 0].argsort()
    assert bool((z[order, 0].diff() >= 0).all())
    torch.testing.assert_close(back, places, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-4, atol=1e-4)


@SIZES
@pytest.mark.parametrize("name", COLUMNS)
def test_slopes_are_those_of_autograd_also_at_the_centre_and_below_twice_a_bins_rise(name, n_rows):
    layer = fitted(COLUMNS[name](normal_rows(n_rows)))
    x = torch.cat([layer.bend[0], torch.linspace(-4, 4, 2001)]).double()[:, None].requires_grad_()
    z, log_det = layer(x)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(log_det.exp(), slope[:, 0])
    width = layer.bend[1] * layer.bend[3] if layer.is_bent else torch.ones(1)
    assert (slope * width).max() < 100


def test_rows_as_far_out_as_numbers_go_have_finite_densities():
    layer = Gaussianize((3,)).double()
    layer.fit_statistics(torch.stack([normal_rows().exp()] * 3, 1))
    rows = [[1e153, 1e200, 0.0], [1e300, -1e300, 1e300], [-1e77, 1e77, 1e77]]
    far = torch.tensor(rows, dtype=torch.float64)
    fast = layer(far)
    with kernels.plain():
        plain = layer(far)
    assert bool(fast[1].isfinite().all())
    torch.testing.assert_close(fast, plain)
    back, _ = layer.inverse(torch.tensor([[1e4, -1e4, 1e300]], dtype=torch.float64))
    assert bool(back.isfinite().all())


@pytest.mark.parametrize("n_bins", [10**12, 201, -5])
def test_a_file_with_any_number_of_bins_is_harmless(n_bins):
    layer = fitted(COLUMNS["counts"](normal_rows()))
    layer.n_bins.fill_(n_bins)
    assert bool(layer(normal_rows(50)[:, None])[0].isfinite().all())


def test_an_affine_flow_knows_what_bounds_and_repeats_a_column():
    rng = np.random.default_rng(0)
    X = np.stack([rng.lognormal(0, 2, 2000), rng.poisson(1.0, 2000)], 1)
    scores = MAFEstimator(max_epochs=5, random_state=0).fit(X[:1500]).score_samples(X[1500:])
    normal = -0.5 * np.log(2 * np.pi * np.e * X[:1500].var(0)).sum()
    assert scores.mean() > normal + 2
