"""The kit's laws of estimators, held against estimators that break them."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.neighbors import KernelDensity

from densekit import MADEEstimator
from densekit.cases import EstimatorCase
from densekit.exceptions import ContractError
from densekit.testing import estimator_checks
from densekit.testing.parameter_checks import check_parameters_have_effects


class Gaussians(BaseEstimator):
    """Independent normal columns with robust scales: what the mutants are made of."""

    def __init__(self, random_state=None, support="real"):
        self.random_state, self.support = random_state, support

    def fit(self, X, y=None, sample_weight=None):
        X = np.asarray(X, dtype=float)
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
        self.rows_ = self.repeated(X, weight / weight.min())
        self.loc_, self.scale_ = self.statistics(self.rows_)
        return self

    def repeated(self, X, weight):
        return X.repeat(np.maximum(1, np.rint(weight)).astype(int), axis=0)

    def statistics(self, X):
        low, middle, high = np.quantile(X, [0.16, 0.5, 0.84], axis=0)
        return middle, (high - low) / 2 + 1e-3

    def score_samples(self, X):
        return norm.logpdf(np.clip(X, -1e30, 1e30), self.loc_, self.scale_).sum(1)

    def score(self, X):
        return self.score_samples(X).mean()

    def sample(self, n_samples, random_state=None):
        rng = np.random.RandomState(random_state)
        return self.loc_ + self.scale_ * rng.normal(size=(n_samples, len(self.loc_)))


class FlatFarOut(Gaussians):
    """Every row has at least so many nats."""

    def score_samples(self, X):
        return np.maximum(super().score_samples(X), -20.0)


class PlainStandardDeviation(Gaussians):
    """One number decides the scale."""

    def statistics(self, X):
        return X.mean(0), X.std(0)


class InfiniteFarOut(Gaussians):
    """Squares overflow."""

    def score_samples(self, X):
        with np.errstate(over="ignore"):
            return -0.5 * (((X - self.loc_) / self.scale_) ** 2).sum(1)


class WeightsByTheirSize(Gaussians):
    """Weights are rounded before they are compared."""

    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)
        if sample_weight is not None:
            self.loc_ = np.average(X, axis=0, weights=np.asarray(sample_weight) + 1.0)
        return self


class WeightsForgotten(Gaussians):
    """Weights are of no effect."""

    def repeated(self, X, weight):
        return X


class Kernels(Gaussians):
    """Samples are rows with a little noise."""

    def sample(self, n_samples, random_state=None):
        rng = np.random.RandomState(random_state)
        rows = self.rows_[rng.randint(len(self.rows_), size=n_samples)]
        return rows + 0.1 * rng.normal(size=rows.shape)


class MergesEqualRows(Kernels):
    """Rows that repeat count once."""

    def repeated(self, X, weight):
        return np.unique(X, axis=0)


class NarrowKernels(KernelDensity):
    """Few rows are learned by heart."""

    def __init__(self, random_state=None, bandwidth=0.01):
        super().__init__(bandwidth=bandwidth)
        self.random_state = random_state

    def score(self, X, y=None):
        return self.score_samples(X).mean()


@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (FlatFarOut, "check_one_column_has_a_mass_of_one"),
        (PlainStandardDeviation, "check_one_wild_cell_leaves_scores_finite"),
        (InfiniteFarOut, "check_one_wild_cell_leaves_scores_finite"),
        (WeightsByTheirSize, "check_weights"),
        (WeightsForgotten, "check_weights"),
        (MergesEqualRows, "check_repeated_rows_keep_their_share"),
        (NarrowKernels, "check_few_rows_give_a_density"),
    ],
)
def test_estimator_mutants_are_caught(mutant, check):
    with pytest.raises(ContractError):
        getattr(estimator_checks, check)(EstimatorCase(mutant.__name__, mutant))


@pytest.mark.parametrize(
    ("correct", "check"),
    [
        (Gaussians, "check_one_wild_cell_leaves_scores_finite"),
        (Gaussians, "check_weights"),
        (Kernels, "check_repeated_rows_keep_their_share"),
    ],
)
def test_correct_estimators_pass(correct, check):
    getattr(estimator_checks, check)(EstimatorCase(correct.__name__, correct))


@dataclass(kw_only=True, eq=False, repr=False)
class IgnoresItsTemperature(MADEEstimator):
    """One parameter is only stored."""

    temperature: float = 1.0


def test_a_parameter_that_changes_nothing_is_caught():
    case = EstimatorCase("ignores its temperature", IgnoresItsTemperature)
    with pytest.raises(ContractError, match="temperature changes nothing, be it 3"):
        check_parameters_have_effects(case)
