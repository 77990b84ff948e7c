"""What is said of a fit that is not to be trusted, and densities that are densities everywhere."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

import densekit
from densekit import AnomalyDetector, FlowEstimator, MADEEstimator, MAFEstimator, NSFEstimator
from densekit.data.rows import find_repeated_values
from densekit.densities import Normal
from densekit.exceptions import (
    ConstantColumnWarning,
    ContextError,
    PluginTypeError,
    RepeatedValuesWarning,
)
from densekit.training.noise import smooth
from densekit.transforms import Bounded, Transform

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 2))


def zeros(share, n_rows=400):
    """A column with zeros, and one of plain numbers."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_rows, 2))
    rows[: round(share * n_rows), 0] = 0.0
    return rows


def caught(category, fit):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit()
    return [str(each.message) for each in found if issubclass(each.category, category)]


@pytest.mark.parametrize("share", [0.03, 0.92])
def test_values_that_repeat_are_named(share):
    est = MAFEstimator(max_epochs=2, random_state=0)
    frame = pd.DataFrame(zeros(share), columns=["rain", "wind"])
    (message,) = caught(RepeatedValuesWarning, lambda: est.fit(frame))
    assert "'rain' (0 in" in message
    assert "wind" not in message
    assert est.repeated_values_ == {"rain": (0.0, pytest.approx(share))}
    assert est.fit(zeros(share)).repeated_values_.keys() == {"x0"}


@pytest.mark.parametrize(
    "rows",
    [
        X,
        zeros(0.015),
        np.column_stack([X, np.ones(400)]),  # which another warning names
        RNG.integers(0, 1000, (400, 2)).astype(float),
    ],
)
def test_values_that_hardly_repeat_are_not(rows):
    est = MAFEstimator(max_epochs=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantColumnWarning)
        est.fit(rows)
    assert est.repeated_values_ == {}


@pytest.mark.parametrize("shape", [(2, 3), (60, 1), (1000, 1100), (300, 9000)])
@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_values_that_repeat_are_counted_column_by_column(shape, decimals):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=shape)
    rows = np.where(rng.uniform(size=shape) < rng.uniform(size=shape[1]) ** 3, rows.round(), rows)
    rows[:, ::2] = rows[:, ::2].round(decimals)
    rows[:, 0] = 1.0  # constant columns are left out
    found = find_repeated_values(rows)
    for i, column in enumerate(rows.T):
        values, counts = np.unique(column, return_counts=True)
        is_common = counts.max() > max(2, 0.02 * len(column))
        has_few = len(column) >= 20 * len(values)
        if len(values) > 1 and (is_common or has_few):
            assert found.pop(i) == (values[counts.argmax()], counts.max() / len(column))
    assert not found


def test_few_different_values_repeat_even_where_none_is_common():
    rows = np.arange(4000)[:, None] % 100 + 0.0
    assert MAFEstimator(max_epochs=1, random_state=0).fit(rows).repeated_values_.keys() == {"x0"}


def test_masses_may_repeat():
    est = MADEEstimator(likelihood="bernoulli", max_epochs=2, random_state=0)
    assert caught(RepeatedValuesWarning, lambda: est.fit(X > 0)) == []
    assert est.repeated_values_ == {}


def test_epochs_that_end_too_early_are_said():
    est = MAFEstimator(max_epochs=3, random_state=0)
    (message,) = caught(ConvergenceWarning, lambda: est.fit(X @ [[1, 1], [0, 0.1]]))
    assert "max_epochs=3" in message
    est.set_params(max_epochs=500)
    assert caught(ConvergenceWarning, lambda: est.fit(X)) == []


@pytest.mark.slow
def test_the_default_of_a_detector_does_not_warn_of_what_nobody_set():
    for category in (ConvergenceWarning, RepeatedValuesWarning):
        assert caught(category, lambda: AnomalyDetector(random_state=0).fit(zeros(0.3))) == []


NAMES = ["nice", "realnvp", "glow", "maf", "nsf"]


def mass(est, low=1e-9, high=1e14):
    """Integral of the density of one column over distances from zero."""
    x = np.geomspace(low, high, 4001)
    scores = [est.score_samples(sign * x[:, None]) for sign in (1.0, -1.0)]
    return sum(np.trapezoid(np.exp(each) * x, np.log(x)) for each in scores)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["normal", "logistic", "uniform", "student_t", "mixture"])
@pytest.mark.parametrize("elementwise", ["affine", "spline", "shift"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_base_and_map_has_a_mass_of_one(base, elementwise, dtype):
    rows = np.random.default_rng(0).standard_t(2, (300, 1))
    est = MAFEstimator(
        base=base, elementwise=elementwise, dtype=dtype, max_epochs=10, random_state=0
    )
    assert mass(est.fit(rows)) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("support", [(-1e16, 1e16), (-1e300, 1e300), (-1e9, np.inf), (-1e16, 9.0)])
def test_a_support_far_wider_than_the_data_changes_little(support):
    rows, test = X[:200, :1], X[200:, :1]
    est = NSFEstimator(max_epochs=60, random_state=0, support=support).fit(rows)
    truth = norm.logpdf(test).mean()
    assert truth - 0.3 < est.score(test) < truth + 0.1
    if np.isfinite(support[1]):
        x = np.linspace(-8.9, 8.9, 20_001)
        total = np.trapezoid(np.exp(est.score_samples(x[:, None])), x)
        assert total == pytest.approx(1, abs=0.01)


def test_values_on_a_bound_are_taken_to_lie_near_it():
    rows = np.r_[np.zeros(20), np.random.default_rng(0).uniform(size=280)][:, None]
    est = NSFEstimator(support="unit", max_epochs=20, random_state=0).fit(rows)
    assert np.isfinite(est.score_samples([[0.0], [1.0], [1e-300], [1 - 1e-16]])).all()
    assert est.score_samples([[-1e-300], [1 + 1e-15]]).tolist() == [-np.inf, -np.inf]
    layer = Bounded((1,), low=0.0, high=1.0).double()
    far = torch.tensor([[-800.0], [-700.0], [-30.0], [30.0], [800.0]], dtype=torch.float64)
    x, log_det = layer.inverse(far)
    assert ((x > 0) & (x < 1)).all()
    torch.testing.assert_close(log_det, -far[:, 0].abs(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
@pytest.mark.parametrize("name", NAMES)
def test_finite_rows_have_finite_scores(name, factor):
    est = densekit.make_estimator(name, max_epochs=5, random_state=0)
    assert np.isfinite(est.fit(factor * X).score_samples(factor * X)).all()


@pytest.mark.parametrize("wild", [1e155, 1e308])
def test_a_column_of_one_value_with_one_wild_cell(wild):
    rows = np.column_stack([X, np.zeros(400)])
    rows[5, 2] = wild
    est = MAFEstimator(max_epochs=20, random_state=0).fit(rows)
    scores = est.score_samples(rows)
    assert np.isfinite(scores).all()
    assert scores.argmin() == 5
    rows[:, 2] = 7.0
    rows[5, 2] = wild
    with pytest.warns(ConstantColumnWarning, match="but for one row"):
        est.fit(rows)
    scores = est.score_samples(rows)
    assert np.isfinite(scores).all()
    assert np.median(scores) > 0
    assert scores.argmin() == 5
    assert np.abs(est.sample(100, random_state=0)[:, 2] - 7).max() < 0.1
    assert est.score_samples([[0.0, 0.0, 8.0]]) < np.delete(scores, 5).min() - 100


@pytest.mark.parametrize("units", [1e-200, 1.0, 1e200])
def test_a_column_that_is_constant_up_to_rounding(units):
    rows = np.column_stack([X, np.ones(400)])
    rows[:2, 2] += np.array([12, -12]) * np.finfo(float).eps
    with pytest.warns(ConstantColumnWarning, match=r"\[2\]"):
        est = MAFEstimator(max_epochs=2, random_state=0).fit(units * rows)
    assert np.isfinite(est.score_samples(units * rows)).all()


def test_a_constant_column_does_not_tell_equal_rows_apart():
    z = torch.randn(1000, 3, dtype=torch.float64)
    z[:300, :2] = 0.0
    is_constant = torch.tensor([False, False, True])
    _, noise = smooth(z, torch.ones(1000), is_constant, is_auto=True)
    assert (noise[:300] > 0).all()
    assert (noise[300:] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-300, 1e304])
def test_a_detector_of_numbers_near_the_end_of_what_there_are(factor):
    detector = AnomalyDetector(random_state=0).fit(factor * X)
    assert np.isfinite(detector.score_samples(factor * X)).all()


@pytest.mark.parametrize(
    "y",
    [
        np.ones((400, 2, 2)),
        np.ones(400, dtype=complex),
        np.where(np.arange(400) == 3, np.inf, 0.5),
    ],
)
def test_conditions_that_are_none_are_refused(y):
    est = MAFEstimator(conditional=True, max_epochs=1, random_state=0)
    with pytest.raises(ContextError):
        est.fit(X, y)
    with pytest.raises(ContextError):
        est.fit(X, X).score(X, y)


class OnlyRows(Transform):
    def forward(self, x, context=None):
        return 2 * x

    def inverse(self, z, context=None):
        return z / 2


class OneLogDetEach(OnlyRows):
    def forward(self, x, context=None):
        return 2 * x, torch.zeros_like(x)


class OtherSample(Normal):
    def sample(self, n_samples):
        return torch.zeros(n_samples, *self.event_shape)


class OneNumberEach(Normal):
    def log_prob(self, x, context=None):
        return -(x**2)


@pytest.mark.parametrize(
    ("est", "match"),
    [
        (FlowEstimator(layers=[OnlyRows, "coupling"]), "OnlyRows.forward returned Tensor"),
        (FlowEstimator(layers=[OneLogDetEach, "coupling"]), "log-determinants of shape"),
        (NSFEstimator(base=OtherSample), "OtherSample.sample cannot be called"),
        (NSFEstimator(base=OneNumberEach), "expected one number for each row"),
    ],
)
def test_parts_that_break_the_contract_are_named(est, match):
    with pytest.raises(TypeError, match=match) as error:
        est.set_params(max_epochs=1).fit(X)
    assert isinstance(error.value, densekit.exceptions.DensekitError)
    assert isinstance(error.value, (PluginTypeError, densekit.exceptions.ParameterError))


def test_examples_for_the_kit_are_no_completion():
    assert "example_cases" not in dir(MAFEstimator())
    assert "fit" in dir(MAFEstimator())
