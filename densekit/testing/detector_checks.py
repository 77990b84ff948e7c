"""Laws of anomaly detectors."""

from __future__ import annotations

import functools
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from densekit import persistence
from densekit.cases import DetectorCase
from densekit.estimators.base import DensityEstimator
from densekit.testing import tools
from densekit.testing.scikit_learn_checks import check_more_of_scikit_learn, check_scikit_learn

FAR_AWAY = 100.0
LEVELS = (0.05, 0.2, 0.5)


@functools.lru_cache(maxsize=4)
def _fitted(case: DetectorCase) -> Any:
    """A detector that several checks may look at, but not change."""
    return _build(case).fit(tools.moons())


def _build(case: DetectorCase) -> Any:
    return clone(case.build()).set_params(random_state=0)


def check_refit_is_repeatable(case: DetectorCase) -> None:
    """The same random_state gives the same scores, bit for bit."""
    X = tools.moons()
    first, second = _fitted(case).score_samples(X), _build(case).fit(X).score_samples(X)
    law = "a second fit with the same random_state gives other scores"
    tools.require(np.array_equal(first, second), case, law)


def check_methods_agree(case: DetectorCase) -> None:
    """Scores are finite float64; decision_function and predict go by them and by offset_."""
    X, detector = tools.moons(seed=1), _fitted(case)
    scores = detector.score_samples(X)
    tools.require(scores.dtype == np.float64 and scores.shape == (len(X),), case, "wrong scores")
    tools.require(bool(np.isfinite(scores).all()), case, "a score is not finite")
    decision = detector.decision_function(X)
    law = "decision_function is not score_samples - offset_"
    tools.require(np.array_equal(decision, scores - detector.offset_), case, law)
    is_same = np.array_equal(detector.predict(X), np.where(decision < 0, -1, 1))
    tools.require(is_same, case, "predict is not -1 where decision_function is negative")


def check_rows_are_scored_alone(case: DetectorCase) -> None:
    """A row's score does not depend on the rows that are scored with it."""
    X, detector = tools.moons(), _fitted(case)
    scores = detector.score_samples(X)
    for part in (slice(0, 1), slice(3, 5), slice(7, 40), slice(0, None, 3)):
        found = detector.score_samples(X[part])
        law = f"the scores of {part} depend on the rows beside them"
        tools.require(bool(np.allclose(found, scores[part], rtol=1e-7)), case, law)


def check_far_rows_are_strange(case: DetectorCase) -> None:
    """A row far from all others has the least p-value there is, and is called strange."""
    detector = _fitted(case)
    far = np.full((1, 2), FAR_AWAY)
    least = 1 / (len(detector.calibration_scores_) + 1)
    found = float(detector.p_values(far)[0])
    tools.require(bool(np.isclose(found, least)), case, f"a far row has a p-value of {found:.3g}")
    tools.require(detector.predict(far)[0] == -1, case, "a far row is called normal")


def check_p_values_are_valid(case: DetectorCase) -> None:
    """Of new rows from the same distribution a share of about alpha has p-values up to alpha."""
    detector = _fitted(case)
    p = detector.p_values(np.concatenate([tools.moons(seed=seed) for seed in (2, 3, 4, 5)]))
    law = "a p-value lies outside (0, 1]"
    tools.require(bool(((p > 0) & (p <= 1)).all()), case, law)
    n_calibration = len(detector.calibration_scores_)
    for alpha in LEVELS:
        share = np.mean(p <= alpha)
        spread = np.sqrt(alpha * (1 - alpha) * (1 / len(p) + 1 / n_calibration))
        law = f"{share:.3f} of normal rows have p-values up to {alpha}"
        tools.require(share <= alpha + 4 * spread, case, law)


def check_reasons_add_up(case: DetectorCase) -> None:
    """Contributions of a row add up to its score, relative to the typical score."""
    X, detector = tools.moons(seed=6)[:5], _fitted(case)
    total = detector.explain(X).to_numpy().sum(1)
    expected = detector.score_samples(X) - detector.typical_score_
    gap = np.abs(total - expected).max()
    tools.require(gap < 1e-5, case, f"contributions miss the score by {gap:.3g}")


def check_clone_and_pickle(case: DetectorCase) -> None:
    """clone keeps the parameters, and pickle the scores."""
    X, detector = tools.moons(), _fitted(case)
    is_kept = clone(detector).get_params().keys() == detector.get_params().keys()
    tools.require(is_kept, case, "clone loses parameters")
    copy = pickle.loads(pickle.dumps(detector))
    is_same = np.array_equal(copy.score_samples(X), detector.score_samples(X))
    tools.require(is_same, case, "a pickled copy gives other scores")


def check_save_and_load(case: DetectorCase) -> None:
    """A saved and loaded copy has the same scores and p-values, bit for bit; one over an estimator
    that files cannot hold says so."""
    X, detector = tools.moons(seed=1), _fitted(case)
    given = [detector.estimator, detector.background]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.densekit"
        if not all(own is None or isinstance(own, DensityEstimator) for own in given):
            tools.require_error(lambda: detector.save(path), case, "save", given)
            tools.require(not path.exists(), case, "a save that failed left a file")
            return
        detector.save(path)
        copy = persistence.load(path, device="cpu")
    is_same = np.array_equal(copy.p_values(X), detector.p_values(X))
    is_same &= np.array_equal(copy.score_samples(X), detector.score_samples(X))
    tools.require(is_same and repr(copy) == repr(detector), case, "load gives another detector")


def check_bad_input_leaves_the_fit_untouched(case: DetectorCase) -> None:
    """NaN, infinity, strings, one row, wrong widths: an error, and scores stay as they were."""
    X = tools.moons()
    detector = pickle.loads(pickle.dumps(_fitted(case)))
    before, attributes = detector.score_samples(X), set(vars(detector))
    with_nan, with_inf = X.copy(), X.copy()
    with_nan[3, 1], with_inf[3, 1] = np.nan, np.inf
    for value in [with_nan, with_inf, X.astype(str)[:5] + "a", X[:1], X[:0], X[:, 0], X + 1j]:
        tools.require_error(functools.partial(detector.fit, value), case, "fit", value)
    for value in [with_nan, with_inf, X[:, :1], X + 1j]:
        score = functools.partial(detector.score_samples, value)
        tools.require_error(score, case, "score", value)
    is_same = np.array_equal(detector.score_samples(X), before)
    tools.require(is_same and attributes == set(vars(detector)), case, "a failed fit left a trace")


DETECTOR_CHECKS = [
    check_scikit_learn,
    check_more_of_scikit_learn,
    check_refit_is_repeatable,
    check_methods_agree,
    check_rows_are_scored_alone,
    check_far_rows_are_strange,
    check_p_values_are_valid,
    check_reasons_add_up,
    check_clone_and_pickle,
    check_save_and_load,
    check_bad_input_leaves_the_fit_untouched,
]
