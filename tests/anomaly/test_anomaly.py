"""The anomaly detector: guarantees, reasons, what comes in at the door."""

import doctest
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from crepes.base import p_values_batch
from pyod.models.combination import average, maximization
from pyod.utils.data import evaluate_print
from scipy.integrate import quad
from scipy.stats import betabinom
from sklearn.datasets import load_wine, make_moons
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from densekit import AnomalyDetector, MADEEstimator, MAFEstimator, anomaly_auc
from densekit.anomaly.conformal import p_values
from densekit.anomaly.kernel_rows import KernelRows
from densekit.exceptions import (
    CalibrationError,
    CalibrationWarning,
    ConstantColumnWarning,
    ContextError,
    LabelWarning,
    MissingExtraError,
    ParameterError,
    ScorerError,
    ShapeError,
)
from densekit.plots import AnomalyReport


def draw(n, seed, n_features=3):
    """Rows with columns that depend on each other."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_features))
    x[:, 1:] = 0.6 * x[:, 1:] + 0.8 * x[:, :1]
    return x


def quick_flow():
    return MAFEstimator(n_layers=2, hidden_sizes=(16,), max_epochs=10, noise=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["split", "cross"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_false_positives_keep_to_alpha(calibration, alpha):
    n_runs, n_new = 40, 200
    n_positive = 0
    for seed in range(n_runs):
        detector = AnomalyDetector(GaussianMixture(2), calibration=calibration, random_state=seed)
        detector.fit(draw(200, seed))
        n_positive += (detector.predict(draw(n_new, 1000 + seed), alpha=alpha) == -1).sum()
    n_calibration = len(detector.calibration_scores_)
    k = int(alpha * (n_calibration + 1) + 1e-9)
    # Each run's count is beta-binomial; the sum is near normal.
    of_a_run = betabinom(n_new, k, n_calibration + 1 - k)
    spread = np.sqrt(n_runs * of_a_run.var())
    assert abs(n_positive - n_runs * of_a_run.mean()) < 4 * spread


def test_p_values_are_those_of_crepes():
    rng = np.random.default_rng(0)
    calibration, scores = np.sort(rng.normal(size=49).round(1)), rng.normal(size=200).round(1)
    expected = p_values_batch(-calibration, -scores, smoothing=False)
    np.testing.assert_allclose(p_values([calibration], [scores]), expected)


def test_the_threshold_is_where_p_values_reach_alpha():
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(draw(300, 0))
    X = draw(2000, 1)
    np.testing.assert_array_equal(detector.predict(X), detector.predict(X, alpha=0.05))
    least = 1 / (len(detector.calibration_scores_) + 1)
    assert detector.p_values(X).min() >= least


def test_contamination_is_the_share_of_training_rows_that_are_called_strange():
    X = draw(200, 0)
    detector = AnomalyDetector(GaussianMixture(), contamination=0.1, random_state=0)
    assert (detector.fit_predict(X) == -1).sum() == 20


def test_false_discoveries_keep_to_their_rate():
    shares, n_found = [], 0
    for seed in range(40):
        detector = AnomalyDetector(GaussianMixture(), calibration_fraction=0.5, random_state=seed)
        detector.fit(draw(1000, seed))
        X = draw(100, 500 + seed)
        X[:20] += [4.0, -4.0, 0.0]
        is_found = detector.select(X, fdr=0.2)
        n_found += is_found[:20].sum()
        shares.append(is_found[20:].sum() / max(1, is_found.sum()))
    assert np.mean(shares) < 0.2
    assert n_found > 700  # of 800


def test_select_warns_where_it_has_no_power():
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(draw(100, 0))
    with pytest.warns(CalibrationWarning, match="10 or more are as strange"):
        detector.select(draw(20, 1), fdr=0.1)
    with pytest.warns(CalibrationWarning, match="no row can be selected"):
        assert not detector.select(draw(20, 1) + 100, fdr=0.01).any()


@pytest.mark.parametrize(
    "detector",
    [
        AnomalyDetector(GaussianMixture(2)),
        AnomalyDetector(quick_flow(), score="ensemble"),
        AnomalyDetector(MADEEstimator(hidden_sizes=(16,), max_epochs=5), n_orders=3),
        AnomalyDetector(KernelDensity(), score="likelihood_ratio", calibration="cross"),
        AnomalyDetector(KernelDensity(), score="typicality"),
    ],
    ids=lambda detector: f"{type(detector.estimator).__name__}-{detector._score_name}",
)
def test_reasons_add_up_to_the_score(detector):
    X = pd.DataFrame(draw(150, 0), columns=["a", "b", "c"])
    detector.set_params(random_state=0).fit(X)
    reasons = detector.explain(X[:7] * 2)
    assert list(reasons.columns) == ["a", "b", "c"]
    expected = detector.score_samples(X[:7] * 2) - detector.typical_score_
    np.testing.assert_allclose(reasons.sum(axis=1), expected, atol=1e-5, rtol=0)


def test_rows_of_any_container_are_explained_alike():
    X = draw(100, 0)
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(X)
    named = pd.DataFrame(X[:3], index=["x", "y", "z"])
    for give, columns in ((detector.explain, 3), (detector.expected, 6)):
        found = give(X[:3])
        assert found.shape == (3, columns)
        np.testing.assert_array_equal(give(X[:3].tolist()), found)
        assert list(give(named).index) == ["x", "y", "z"]
    assert detector.reasons(X[:3].tolist()) == detector.reasons(X[:3])


@pytest.mark.parametrize("estimator", [GaussianMixture(4), MADEEstimator(max_epochs=30)])
def test_a_planted_value_is_the_first_reason(estimator):
    wine = load_wine(as_frame=True).data
    wine = (wine - wine.mean()) / wine.std()
    if isinstance(estimator, GaussianMixture):
        estimator.set_params(reg_covar=1e-2)
    n_orders = 1 if isinstance(estimator, GaussianMixture) else 3
    detector = AnomalyDetector(estimator, n_orders=n_orders, random_state=0).fit(wine)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(wine))[:40], rng.integers(wine.shape[1], size=40)
    planted = wine.to_numpy()[rows]
    planted[np.arange(40), columns] += 6.0
    planted = pd.DataFrame(planted, columns=wine.columns)
    found = detector.explain(planted).to_numpy().argmin(1)
    assert (found == columns).mean() >= 0.9


def test_reasons_say_what_was_expected():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 60, 500)
    X = pd.DataFrame(
        {"age": age, "income": age + rng.normal(0, 2, 500), "noise": rng.normal(size=500)}
    )
    detector = AnomalyDetector(GaussianMixture(3, random_state=0), random_state=0).fit(X)
    strange = pd.DataFrame({"age": [50.0], "income": [3.0], "noise": [0.0]})
    bounds = detector.expected(strange)
    assert 40 < bounds["income"]["low"].item() < 50 < bounds["income"]["high"].item() < 60
    first = detector.reasons(strange)[0][0]
    assert first.startswith("income was 3, given the rest 4")


def test_drift_is_told_and_its_absence_too():
    for calibration in ("split", "cross"):
        detector = AnomalyDetector(GaussianMixture(), calibration=calibration, random_state=0)
        detector.fit(draw(500, 0))
        same = [detector.drift_test(draw(100, seed)).p_value for seed in range(1, 41)]
        assert 0.2 < np.mean(same) < 0.8
        moved = detector.drift_test(draw(100, 1) + 2.0)
        assert moved.p_value < 1e-3
        assert moved.direction == "stranger"


def test_partial_fit_calibrates_on_new_rows():
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(draw(100, 0))
    X = draw(50, 1)
    before = detector.score_samples(X)
    with pytest.raises(CalibrationError, match="at least 99 calibration rows"):
        detector.predict(X, alpha=0.01)
    detector.partial_fit(draw(200, 2))
    np.testing.assert_array_equal(detector.score_samples(X), before)
    assert len(detector.calibration_scores_) == 220
    detector.predict(X, alpha=0.01)


def test_robust_training_leaves_strange_rows_out():
    X = draw(400, 0)
    X[:30] = 5 + 0.1 * draw(30, 1)
    params = {"contamination": 0.1, "random_state": 0}
    plain, robust = (
        AnomalyDetector(GaussianMixture(1, random_state=0), robust=is_robust, **params).fit(X)
        for is_robust in (False, True)
    )
    gaps = [
        d.score_samples(X[:30]).mean() - d.score_samples(X[30:]).mean() for d in (plain, robust)
    ]
    assert gaps[1] < 2 * gaps[0] < 0


def test_pyod_takes_a_detector(capsys):
    X, X_test = draw(200, 0), np.concatenate([draw(90, 1), draw(10, 2) + 6])
    y = np.repeat([0, 1], [90, 10])
    detectors = [
        AnomalyDetector(estimator, random_state=0).fit(X).as_pyod()
        for estimator in (GaussianMixture(), KernelDensity())
    ]
    scores = np.column_stack([d.decision_function(X_test) for d in detectors])
    for combine in (average, maximization):
        evaluate_print("both", y, combine(scores))
    assert "ROC:1.0" in capsys.readouterr().out
    own = detectors[0]
    assert set(own.labels_) == {0, 1}
    assert own.predict(X_test)[-1] == 1
    assert own.predict_proba(X_test)[-1, 1] > own.predict_proba(X_test)[0, 1]
    np.testing.assert_array_equal(own.labels_, own.decision_scores_ > own.threshold_)
    assert own.decision_scores_.shape == (200,)
    np.testing.assert_allclose(own.decision_scores_, -own.detector.score_samples(X))
    quarter = own.detector.as_pyod(contamination=0.25)
    assert quarter.labels_.mean() == 0.25 > own.labels_.mean()


def test_without_pyod_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyod", None)
    monkeypatch.setitem(sys.modules, "pyod.models.base", None)
    monkeypatch.delitem(sys.modules, "densekit.anomaly.pyod", raising=False)
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(draw(50, 0))
    with pytest.raises(MissingExtraError, match=r"densekit\[pyod\]"):
        detector.as_pyod()


def test_a_pipeline_and_a_grid_search_take_a_detector():
    X = np.concatenate([draw(150, 0), draw(15, 1) + 5])
    y = np.repeat([1, -1], [150, 15])
    order = np.random.default_rng(0).permutation(165)  # or a fold would hold one class
    X, y = X[order], y[order]
    pipeline = make_pipeline(StandardScaler(), AnomalyDetector(KernelDensity(), random_state=0))
    grid = {"anomalydetector__estimator__bandwidth": [0.5, 2.0]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=3).fit(X, y)
    assert search.best_score_ > 0.9
    detector = AnomalyDetector(GaussianMixture(), random_state=0)  # without scoring: its `score`
    search = GridSearchCV(detector, {"score": ["log_density", "typicality"]}, cv=2).fit(X)
    assert search.best_params_ == {"score": "typicality"}


def test_labels_of_either_kind_rank_models_alike():
    X = np.concatenate([draw(150, 0), draw(15, 1) + 5])
    y = np.repeat([1, -1], [150, 15])
    order = np.random.default_rng(0).permutation(165)
    X, y = X[order], y[order]
    detector = AnomalyDetector(KernelDensity(), random_state=0)
    grid = {"estimator__bandwidth": [0.5, 50.0], "score": ["log_density", "typicality"]}
    found = []
    for labels in (y, (y == -1).astype(int)):
        search = GridSearchCV(detector, grid, scoring=anomaly_auc, cv=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LabelWarning)
            found.append(search.fit(X, labels).best_score_)
    assert found[0] == found[1] > 0.9
    with pytest.warns(LabelWarning, match="anomaly_auc"):
        detector.fit(X, (y == -1).astype(int))
    for bad in (np.ones(165), np.arange(165)):
        with pytest.raises(ScorerError, match="labels"):
            anomaly_auc(detector, X, bad)


def test_conditions_reach_the_estimator():
    rng = np.random.default_rng(0)
    y = np.repeat(["low", "high"], 200)
    X = np.where(y == "low", -4.0, 4.0)[:, None] + rng.normal(size=(400, 2))
    estimator = MAFEstimator(conditional=True, max_epochs=40, n_layers=2, noise=0.1)
    for params in ({}, {"calibration": "cross", "n_folds": 2}, {"score": "typicality"}):
        detector = AnomalyDetector(estimator, random_state=0, **params).fit(X, pd.Series(y))
        swapped = np.where(y == "low", "high", "low")
        assert (detector.predict(X, alpha=0.1, y=y) == 1).mean() > 0.8
        assert (detector.predict(X, alpha=0.1, y=swapped) == -1).mean() > 0.9
        total = detector.explain(X[:3], swapped[:3]).to_numpy().sum(1)
        expected = detector.score_samples(X[:3], swapped[:3]) - detector.typical_score_
        np.testing.assert_allclose(total, expected, rtol=1e-5)
        assert detector.score_samples(X[:3]).shape == (3,)  # the marginal
    for bad in (None, y[:-1]):
        with pytest.raises(ContextError, match="400 conditions"):
            AnomalyDetector(estimator).fit(X, bad)
    with pytest.raises(ParameterError, match="knows no conditions"):
        AnomalyDetector(estimator, score="ensemble").fit(X, y)


def test_what_was_expected_is_expected_under_the_condition():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    amount = np.repeat([-4.0, 4.0], [300, 100])
    estimator = MAFEstimator(conditional=True, max_epochs=1, n_layers=2, noise=0.1)
    for y in (
        pd.Series(np.where(np.arange(400) < 370, "low", "high"), name="level"),
        pd.DataFrame({"amount": amount + 0.1 * rng.normal(size=400)}),
    ):
        where = np.where(y == "low", -4.0, 4.0) if y.ndim == 1 else amount
        X = np.c_[where + x[:, 0], x]
        detector = AnomalyDetector(estimator, random_state=0).fit(X, y)
        bounds = detector.expected(X[[0, 0]], coverage=0.99, y=y.iloc[[0, -1]])["x0"].to_numpy()
        assert bounds[0, 1] < 0 < bounds[1, 0]
        sentences = detector.reasons(X[:1], n=2, y=y.iloc[[-1]])[0]
        assert any("x0 was" in words and "given the rest -" not in words for words in sentences)
        other = y.iloc[:1].rename("b") if y.ndim == 1 else y.iloc[:1].set_axis(["b"], axis=1)
        with pytest.raises(ContextError, match="other names"):
            detector.expected(X[:1], y=other)
        for method in ("expected", "predict", "select", "reasons"):
            with pytest.raises(TypeError, match="positional"):  # y would be taken for a level
                getattr(detector, method)(X, y)


@pytest.mark.parametrize("estimator", [None, GaussianMixture(2)])
def test_weights_of_a_detector_are_repeated_rows(estimator):
    X, weight = draw(120, 0), np.random.default_rng(1).integers(0, 3, 120)
    if estimator is None:
        estimator = MAFEstimator(max_epochs=5, n_layers=2, noise=0.1)
    fits = [
        AnomalyDetector(estimator, score="ensemble", random_state=0).fit(rows, sample_weight=w)
        for rows, w in [
            (X, weight),
            (X, 1e-30 * weight),
            (X.repeat(weight, axis=0), None),
            (X.repeat(weight, axis=0)[::-1], None),
        ]
    ]
    for other in fits[1:]:
        np.testing.assert_allclose(other.p_values(X), fits[0].p_values(X))
        np.testing.assert_allclose(other.score_samples(X), fits[0].score_samples(X))
    heavy = AnomalyDetector(estimator, random_state=0).fit(X, sample_weight=1 + 0.3 * weight)
    assert np.isfinite(heavy.score_samples(X)).all()


@pytest.mark.slow
@pytest.mark.parametrize("wild", [1e6, -1e12, 1e200, 1e305])
def test_one_wild_cell_blinds_no_detector(wild):
    X = draw(300, 0)
    far = draw(200, 1)
    far[:, 0] += np.where(np.arange(200) % 2, 6.0, -6.0)
    rows = np.concatenate([draw(200, 2), far])
    labels = np.repeat([0, 1], 200)
    clean = anomaly_auc(AnomalyDetector(random_state=0).fit(X), rows, labels)
    X[7, 0] = wild
    detector = AnomalyDetector(random_state=0).fit(X)
    assert anomaly_auc(detector, rows, labels) > clean - 0.02
    assert np.isfinite(detector.score_samples(X)).all()
    low, high = detector.expected(rows[:5])[["x0"]].to_numpy().T
    assert (high - low < 8).all()


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-150, 1e-20, 1e20, 1e150])
def test_units_are_of_no_effect_on_a_detector(factor):
    X, rows = draw(300, 0), np.concatenate([draw(100, 1), draw(100, 2) + 4])
    plain = AnomalyDetector(random_state=0).fit(X).p_values(rows)
    scaled = AnomalyDetector(random_state=0).fit(factor * X).p_values(factor * rows)
    np.testing.assert_allclose(scaled, plain, atol=0.01)


def test_a_detector_leaves_the_global_generator_alone():
    np.random.seed(0)
    before = np.random.get_state(legacy=False)["state"]
    found = [AnomalyDetector(GaussianMixture()).fit(draw(60, 0)) for _ in range(2)]
    after = np.random.get_state(legacy=False)["state"]
    assert before["pos"] == after["pos"]
    assert np.array_equal(before["key"], after["key"])
    assert not np.array_equal(found[0].calibration_scores_, found[1].calibration_scores_)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"contamination": 0.7}, ParameterError, "contamination=0.7, expected 'auto', or a"),
        ({"contamination": "some"}, ParameterError, "a number above 0 and up to 0.5"),
        ({"contamination": 0}, ParameterError, "contamination=0"),
        ({"score": "density"}, ParameterError, "score='density'"),
        ({"estimator": StandardScaler()}, ScorerError, "expected an instance with fit and score"),
        ({"estimator": KernelDensity}, ScorerError, "expected an instance"),
        ({"background": KernelDensity()}, ParameterError, "expected score='likelihood_ratio'"),
    ],
)
def test_bad_parameters_are_refused(params, error, match):
    with pytest.raises(error, match=match):
        AnomalyDetector(**params).fit(draw(50, 0))


def test_bad_rows_and_levels_are_refused():
    X = draw(60, 0)
    with_nan = X.copy()
    with_nan[2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        AnomalyDetector().fit(with_nan)
    with pytest.raises(ShapeError, match="give an estimator of images"):
        AnomalyDetector().fit(np.zeros((20, 4, 4)))
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(X)
    with pytest.raises(CalibrationError, match="alpha=2"):
        detector.predict(X, alpha=2)
    with pytest.raises(CalibrationError, match="fdr=0"):
        detector.select(X, fdr=0)
    with pytest.raises(CalibrationError, match="coverage=1"):
        detector.expected(X, coverage=1)


def test_the_default_takes_odd_tables():
    """Sixty rows; constant, duplicate and discrete columns: finite scores, and far rows last."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    X = np.column_stack([x, x, np.full(60, 7.0), rng.integers(0, 2, 60), rng.integers(0, 9, 60)])
    with pytest.warns(ConstantColumnWarning):
        detector = AnomalyDetector(random_state=0).fit(X)
    strange = X[:4].copy()
    strange[0, 2], strange[1, 1], strange[2, 3], strange[3] = 8.0, X[1, 0] + 5, 40.0, 1e6
    scores = detector.score_samples(np.concatenate([X, strange]))
    assert np.isfinite(scores).all()
    assert scores[60:].max() < np.quantile(scores[:60], 0.05)


@pytest.mark.slow
def test_the_default_takes_many_columns():
    X = np.random.default_rng(0).normal(size=(70, 400)).astype(np.float32)
    detector = AnomalyDetector(random_state=0).fit(X)
    assert detector.predict(X[:3] + 50, alpha=0.1).tolist() == [-1, -1, -1]
    assert detector.explain(X[:1]).shape == (1, 400)


def test_repeated_rows_make_kernels_narrow_and_densities_stay_densities():
    rng = np.random.RandomState(0)
    x = rng.normal(size=(200, 1))
    wide, narrow = KernelRows.fit(x, rng), KernelRows.fit(np.repeat(x, 2, axis=0), rng)
    assert narrow.bandwidth < wide.bandwidth / 4
    total, _ = quad(lambda v: np.exp(wide.log_density([[v]])[0]), -60, 60, limit=500)
    assert abs(total - 1) < 2e-3


def test_columns_of_tables_keep_their_names_on_the_way_to_the_estimator():
    X = pd.DataFrame(np.abs(draw(80, 0)), columns=["a", "b", "c"])
    flow = quick_flow().set_params(support={"b": "positive"})
    detector = AnomalyDetector(flow, random_state=0).fit(X)
    below = X[:3].assign(b=-1.0)
    assert np.isfinite(detector.score_samples(below)).all()
    assert (detector.predict(below, alpha=0.1) == -1).all()


def test_the_report_shows_the_strangest_rows():
    names = [f"customer {i}" for i in range(200)]
    X = pd.DataFrame(draw(200, 0), columns=["a", "b", "c"], index=names)
    detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(X)
    X.iloc[17, 2] = 9.0
    report = AnomalyReport.from_estimator(detector, X, n_rows=2)
    assert report.rows[0] == 17
    assert report.reasons[0][0].startswith("c was 9")
    texts = [text.get_text() for text in report.axes_[1].texts]
    assert texts[0].startswith("row customer 17:")
    assert any(text.startswith("c was 9") for text in texts)


def test_a_report_of_no_detector_is_refused():
    with pytest.raises(ScorerError, match="GaussianMixture, expected a fitted detector"):
        AnomalyReport.from_estimator(GaussianMixture().fit(draw(20, 0)), draw(20, 0))


def test_a_frozen_estimator_is_left_as_it_is():
    mixture = GaussianMixture(2, random_state=0).fit(draw(200, 0))
    detector = AnomalyDetector(FrozenEstimator(mixture), random_state=0).fit(draw(100, 1))
    X = draw(10, 2)
    np.testing.assert_array_equal(detector.score_samples(X), mixture.score_samples(X))


@pytest.mark.slow
def test_moons_are_told_from_what_lies_between():
    X, _ = make_moons(400, noise=0.06, random_state=0)
    detector = AnomalyDetector(random_state=0).fit(X)
    assert detector.predict([[0.5, 0.25], [0.0, 1.0]]).tolist() == [-1, 1]
    assert detector.score(X) == pytest.approx(detector.score_samples(X).mean())


def test_warnings_of_the_default_are_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AnomalyDetector(random_state=0).fit(draw(40, 0)).predict(draw(5, 1))


@pytest.mark.slow
def test_the_page_runs():
    page = Path(__file__).parents[2] / "docs" / "anomalies.md"
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(page), module_relative=False, optionflags=options)
    assert found.attempted > 10
    assert found.failed == 0
