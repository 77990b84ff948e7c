"""Laws of estimators."""

from __future__ import annotations

import functools
import pickle
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from densekit import persistence, registry
from densekit.cases import EstimatorCase
from densekit.exceptions import ConstantColumnWarning, RepeatedValuesWarning
from densekit.testing import tools
from densekit.testing.parameter_checks import check_parameters_have_effects
from densekit.testing.scikit_learn_checks import check_more_of_scikit_learn, check_scikit_learn

Check = Callable[[EstimatorCase], None]

FEW_EPOCHS = 15  # of fits that laws depend on little
MOST_MOVED = 0.5  # nats, by which one cell may move the mean score of the other rows
MAX_EPOCHS = 60  # of fits that laws depend on, enough for two moons


def _data(case: EstimatorCase, seed: int = 0) -> NDArray[Any]:
    """Two moons, or for discrete data rows of its levels that depend on each other."""
    if case.levels is None:
        return tools.moons(seed)
    levels = np.asarray(case.levels)
    place = np.clip((tools.moons(seed) + 1.5) / 3.5 * len(levels), 0, len(levels) - 1).astype(int)
    columns = np.column_stack([place, place[:, 0]])
    return np.asarray(levels[columns])


@functools.lru_cache(maxsize=4)
def _fitted(case: EstimatorCase) -> Any:
    """An estimator that several checks may look at, but not change."""
    return _build(case).fit(_data(case))


@functools.lru_cache(maxsize=4)
def _fitted_shortly(case: EstimatorCase) -> Any:
    """An estimator of a few epochs that several checks may look at, but not change."""
    return _build_shortly(case).fit(_data(case))


def _build_shortly(case: EstimatorCase) -> Any:
    return tools.build_shortened(case).set_params(random_state=0)


def _build(case: EstimatorCase) -> Any:
    return tools.build_shortened(case, MAX_EPOCHS).set_params(random_state=0)


def check_refit_is_repeatable(case: EstimatorCase) -> None:
    """The same random_state gives the same scores, bit for bit."""
    X = _data(case)
    fits = _fitted_shortly(case), _build_shortly(case).fit(X)
    first, second = (each.score_samples(X) for each in fits)
    law = "a second fit with the same random_state gives other scores"
    tools.require(np.array_equal(first, second), case, law)


def check_scores(case: EstimatorCase) -> None:
    """score_samples is finite float64, one a row, and score is its (weighted) mean."""
    X, estimator = _data(case), _fitted(case)
    scores = estimator.score_samples(X)
    tools.require(scores.dtype == np.float64 and scores.shape == (len(X),), case, "wrong scores")
    tools.require(bool(np.isfinite(scores).all()), case, "a score is not finite")
    weight = np.arange(len(X), dtype=float)
    for given in (None, weight):
        expected = np.average(scores, weights=given)
        found = estimator.score(X, sample_weight=given)
        tools.require(np.isclose(found, expected), case, "score is not the mean of score_samples")


def check_rows_are_scored_alone(case: EstimatorCase) -> None:
    """A row's score does not depend on the rows that are scored with it."""
    X, estimator = _data(case), _fitted(case)
    scores = estimator.score_samples(X)
    for part in (slice(0, 1), slice(3, 5), slice(7, 40), slice(0, None, 3)):
        found = estimator.score_samples(X[part])
        law = f"the scores of {part} depend on the rows beside them"
        tools.require(bool(np.allclose(found, scores[part], rtol=1e-7)), case, law)


def check_units(case: EstimatorCase) -> None:
    """Fitting on 1000 * X + 7 shifts every score by -d * log(1000)."""
    if case.levels is not None:
        return
    X = _data(case)
    shift = X.shape[1] * np.log(1000)
    expected = _fitted_shortly(case).score_samples(X)
    found = _build_shortly(case).fit(1000 * X + 7).score_samples(1000 * X + 7)
    gap = np.abs(found + shift - expected).max()
    tools.require(gap < 1e-4, case, f"a change of units moves the scores by {gap:.3g} too much")


def check_clone_and_pickle(case: EstimatorCase) -> None:
    """clone keeps the parameters, and pickle the scores."""
    X, estimator = _data(case), _fitted(case)
    parameters = clone(estimator).get_params()
    tools.require(
        parameters.keys() == estimator.get_params().keys(), case, "clone loses parameters"
    )
    copy = pickle.loads(pickle.dumps(estimator))
    is_same = np.array_equal(copy.score_samples(X), estimator.score_samples(X))
    tools.require(is_same, case, "a pickled copy gives other scores")


def check_save_and_load(case: EstimatorCase) -> None:
    """A saved and loaded copy has the same parameters, attributes, scores and samples, bit for bit.

    Holds for estimators that have a registered name.
    """
    X, estimator = _data(case), _fitted(case)
    if registry.find(type(estimator)) is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.densekit"
        estimator.save(path)
        copy = persistence.load(path, device="cpu")
    tools.require(type(copy) is type(estimator), case, "load gives another class")
    tools.require(repr(copy) == repr(estimator), case, "load gives other parameters")
    tools.require(vars(copy).keys() == vars(estimator).keys(), case, "load loses attributes")
    is_same = np.array_equal(copy.score_samples(X), estimator.score_samples(X))
    tools.require(is_same, case, "a loaded copy gives other scores")
    samples = [each.sample(20, random_state=0) for each in (copy, estimator)]
    tools.require(np.array_equal(*samples), case, "a loaded copy gives other samples")


def check_samples(case: EstimatorCase) -> None:
    """sample gives rows like X, the same for one seed, others for none."""
    X, estimator = _data(case), _fitted(case)
    state = _global_state()
    samples = estimator.sample(50, random_state=0)
    law = f"sample gave {samples.dtype} {samples.shape} for X of {X.dtype} {X.shape}"
    tools.require(samples.shape == (50, X.shape[1]) and samples.dtype == X.dtype, case, law)
    again = estimator.sample(50, random_state=0)
    tools.require(np.array_equal(samples, again), case, "one seed gives two samples")
    fresh = [estimator.sample(50) for _ in range(2)]
    tools.require(not np.array_equal(*fresh), case, "sample repeats itself without a seed")
    if case.levels is not None:
        is_known = bool(np.isin(samples, case.levels).all())
        tools.require(is_known, case, "a sample has a value that is no level")
    is_left_alone = np.array_equal(state, _global_state())
    tools.require(is_left_alone, case, "sample moves numpy's global generator")


def check_bad_input_leaves_the_fit_untouched(case: EstimatorCase) -> None:
    """NaN, infinity, strings, one row, wrong widths: an error, and scores stay as they were."""
    X = _data(case)
    estimator = pickle.loads(pickle.dumps(_fitted(case)))
    before = estimator.score_samples(X)
    attributes = set(vars(estimator))
    with_nan, with_inf = X.astype(float), X.astype(float)
    with_nan[3, 1], with_inf[3, 1] = np.nan, np.inf
    bad = [with_nan, with_inf, X.astype(str)[:5] + "a", X[:1], X[:0], X[:, 0], X + 1j]
    for value in bad:
        tools.require_error(functools.partial(estimator.fit, value), case, "fit", value)
    for value in [with_nan, with_inf, X[:, :1], X + 1j]:
        score = functools.partial(estimator.score_samples, value)
        tools.require_error(score, case, "score", value)
    is_same = np.array_equal(estimator.score_samples(X), before)
    tools.require(is_same and attributes == set(vars(estimator)), case, "a failed fit left a trace")


def check_constant_column(case: EstimatorCase) -> None:
    """A constant column gives a warning that names it, finite scores, samples near its value."""
    if case.levels is not None:
        return
    X = np.column_stack([_data(case), np.full(tools.N_MOONS, 3.0)])
    estimator = _build_shortly(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    named = [str(w.message) for w in caught if issubclass(w.category, ConstantColumnWarning)]
    tools.require(
        len(named) == 1 and "[2]" in named[0], case, "no warning names the constant column"
    )
    is_finite = bool(np.isfinite(estimator.score_samples(X)).all())
    tools.require(is_finite, case, "a constant column makes a score infinite")
    samples = estimator.sample(100, random_state=0)
    tools.require(np.abs(np.median(samples[:, 2]) - 3) < 0.1, case, "samples leave the constant")


def check_one_column(case: EstimatorCase) -> None:
    """One column works and is not just a Gaussian: it does better on two separate heaps."""
    if case.levels is not None:
        return
    rng = np.random.default_rng(0)
    X, X_test = (rng.choice([-3.0, 3.0], (200, 1)) + rng.normal(0, 0.5, (200, 1)) for _ in "ab")
    estimator = _build(case).fit(X)
    tools.require(estimator.sample(5, random_state=0).shape == (5, 1), case, "wrong shape")
    ours, gaussian = estimator.score(X_test), GaussianMixture(1).fit(X).score(X_test)
    law = f"on one column with two heaps it scores {ours:.3f} nats, one Gaussian {gaussian:.3f}"
    tools.require(ours > gaussian + 0.1 or not case.beats_gaussian, case, law)


def check_beats_one_gaussian(case: EstimatorCase) -> None:
    """On held-out rows of two moons it does better than one Gaussian."""
    if case.levels is not None or not case.beats_gaussian:
        return
    X, X_test = _data(case), _data(case, seed=1)
    ours, gaussian = _fitted(case).score(X_test), GaussianMixture(1).fit(X).score(X_test)
    law = f"on two moons it scores {ours:.3f} nats, one Gaussian {gaussian:.3f}"
    tools.require(ours > gaussian, case, law)


def check_scores_integrate_to_one(case: EstimatorCase) -> None:
    """exp(score_samples) integrates to one over the plane, and samples are distributed alike."""
    if case.levels is not None:
        return
    estimator = _fitted(case)
    axis = np.linspace(-6, 7, 261)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    mass = np.exp(estimator.score_samples(grid)) * (axis[1] - axis[0]) ** 2
    law = f"the density integrates to {mass.sum():.4g}"
    tools.require(abs(mass.sum() - 1) < 0.05, case, law)
    samples = estimator.sample(5000, random_state=0)
    for wave in (np.sin, np.cos):
        gap = np.abs(wave(samples).mean(0) - mass @ wave(grid)).max()
        law = f"samples do not agree with score_samples: a mean is off by {gap:.3g}"
        tools.require(gap < 0.1, case, law)


def check_one_column_has_a_mass_of_one(case: EstimatorCase) -> None:
    """The density of one column integrates to one over distances of many powers of ten.

    On the real line up to 1e14 scales from the data, and in an interval and on a half-line as near
    to the bounds as numbers come, for data that come near them.
    """
    if case.levels is not None:
        return
    rng = np.random.default_rng(0)
    u = rng.uniform(size=(tools.N_MOONS, 1))
    near, far = np.geomspace(1e-300, 0.5, 2001), np.geomspace(1e-9, 1e14, 4001)
    near_one, positive = np.geomspace(1e-15, 0.5, 1001), np.geomspace(1e-300, 1e100, 3001)
    x_of = {
        "real": (rng.standard_t(3, size=u.shape), [(far, far), (-far, far)]),
        "unit": (u**12, [(near, near), (1 - near_one, near_one)]),
        "positive": (10 ** (20 * u - 10), [(positive, positive)]),
    }
    for support, (X, lines) in x_of.items():
        estimator = tools.build_shortened(case, FEW_EPOCHS)
        if "support" not in estimator.get_params():
            continue
        estimator.set_params(random_state=0, support=support)
        estimator.fit(X)
        mass = sum(_mass(estimator, x, distance) for x, distance in lines)
        law = f"with support={support!r} the density of one column integrates to {mass:.4g}"
        tools.require(abs(mass - 1) < 0.01, case, law)


def _mass(estimator: Any, x: NDArray[Any], distance: NDArray[Any]) -> float:
    """The integral of the density of one column over a line, by the logarithm of the distance."""
    log_density = estimator.score_samples(x[:, None]) + np.log(distance)
    return float(np.trapezoid(np.exp(np.minimum(log_density, 700.0)), np.log(distance)))


def check_one_wild_cell_leaves_scores_finite(case: EstimatorCase) -> None:
    """Whatever finite number one cell holds, scores are finite, and those of other rows change
    little."""
    if case.levels is not None:
        return
    X = _data(case)
    estimator = tools.build_shortened(case, FEW_EPOCHS).set_params(random_state=0)
    expected = clone(estimator).fit(X).score(X[1:])
    for value in (1e6, -1e300):
        wild = X.copy()
        wild[0, 0] = value
        fitted = clone(estimator).fit(wild)
        scores = fitted.score_samples(wild)
        law = f"one cell of {value:g} makes a score infinite or NaN"
        tools.require(bool(np.isfinite(scores).all()), case, law)
        gap = abs(scores[1:].mean() - expected)
        law = f"one cell of {value:g} moves the mean score of the other rows by {gap:.3g}"
        tools.require(gap < MOST_MOVED, case, law)


def check_weights(case: EstimatorCase) -> None:
    """A common factor of all weights changes no score, bit for bit; a weight of two is two rows."""
    X = _data(case)
    estimator = tools.build_shortened(case, 2).set_params(random_state=0)
    counts = np.random.default_rng(0).integers(1, 4, len(X))
    counts[0] = 1
    unequal = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    for weight, factors in ((unequal, (1.0, 1e-60, 7e60)), (counts, (7e60, 1.0))):
        fits = [clone(estimator).fit(X, sample_weight=c * weight) for c in factors]
        scores = [each.score_samples(X) for each in fits]
        is_same = all(np.array_equal(scores[0], other) for other in scores[1:])
        tools.require(is_same, case, "a common factor of all weights changes the scores")
    by_weight = scores[-1]
    repeated = clone(estimator).fit(X.repeat(counts, axis=0)).score_samples(X)
    is_same = bool(np.allclose(by_weight, repeated, rtol=1e-6, atol=1e-6))
    tools.require(is_same, case, "whole weights and rows that are repeated give other scores")


def check_repeated_rows_keep_their_share(case: EstimatorCase) -> None:
    """Where 30 % of the rows are one row, as many samples are near it as if they were a narrow heap
    of different rows."""
    if case.levels is not None or not (case.beats_gaussian and case.makes_room):
        return
    X = 8.0 + _data(case)[::2]
    rng = np.random.default_rng(0)
    n_repeated = round(0.3 / 0.7 * len(X))
    order = rng.permutation(n_repeated + len(X))
    shares = []
    for width in (0.1, 0.0):
        heap = rng.normal(0, width, (n_repeated, 2))
        fitted = _build(case).fit(np.concatenate([heap, X])[order])
        samples = fitted.sample(2000, random_state=0)
        shares.append((np.abs(samples) < 3).all(1).mean())
    law = (
        f"30 % of the rows are one row, near which {100 * shares[1]:.1f} % of the samples are, and "
        f"{100 * shares[0]:.1f} % near a narrow heap"
    )
    tools.require(shares[1] > min(shares[0], 0.3) - 0.1, case, law)
    tools.require(shares[1] < max(shares[0], 0.3) + 0.1, case, law)


def check_few_rows_give_a_density(case: EstimatorCase) -> None:
    """Held-out nats of 2 to 30 rows are few nats below the truth's: medians over seeds."""
    if case.levels is not None:
        return
    for n_rows, most in ((2, 5.0), (5, 3.0), (15, 2.0)):
        gaps = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            X, X_test = rng.normal(size=(n_rows, 2)), rng.normal(size=(500, 2))
            truth = norm.logpdf(X_test).sum(1).mean()
            fitted = _build(case).set_params(random_state=seed).fit(X)
            gaps.append(truth - fitted.score(X_test))
        law = f"held-out nats of {n_rows} normal rows are {np.mean(gaps):.3g} below the truth's"
        tools.require(bool(np.median(gaps) < most), case, law)


def check_masses_sum_to_one(case: EstimatorCase) -> None:
    """The masses of all rows of discrete levels sum to one."""
    if case.levels is None:
        return
    estimator = _fitted(case)
    rows = np.stack(np.meshgrid(*[case.levels] * estimator.n_features_in_), -1)
    total = np.exp(estimator.score_samples(rows.reshape(-1, estimator.n_features_in_))).sum()
    tools.require(abs(total - 1) < 1e-5, case, f"the masses of all rows sum to {total:.6g}")


def _global_state() -> NDArray[Any]:
    """A copy of the state of numpy's global generator."""
    return np.array(np.random.get_state(legacy=False)["state"]["key"])


def _without_warnings_of_fits(check: Check) -> Check:
    """A check whose fits may be short, and of rows that repeat, on purpose."""

    @functools.wraps(check)
    def run(case: EstimatorCase) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RepeatedValuesWarning)
            check(case)

    return run


_CHECKS: list[Check] = [
    check_scikit_learn,
    check_more_of_scikit_learn,
    check_refit_is_repeatable,
    check_parameters_have_effects,
    check_scores,
    check_rows_are_scored_alone,
    check_units,
    check_clone_and_pickle,
    check_save_and_load,
    check_samples,
    check_bad_input_leaves_the_fit_untouched,
    check_constant_column,
    check_one_column,
    check_beats_one_gaussian,
    check_scores_integrate_to_one,
    check_masses_sum_to_one,
    check_one_column_has_a_mass_of_one,
    check_one_wild_cell_leaves_scores_finite,
    check_weights,
    check_repeated_rows_keep_their_share,
    check_few_rows_give_a_density,
]

ESTIMATOR_CHECKS = [_without_warnings_of_fits(check) for check in _CHECKS]
