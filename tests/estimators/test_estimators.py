"""Estimators beyond the kit: conditions, supports, containers, weights, scikit-learn's tools."""

import inspect
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_wine, make_moons
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import densekit
from densekit import (
    AnomalyDetector,
    FlowEstimator,
    MADEEstimator,
    MAFEstimator,
    NICEEstimator,
    NSFEstimator,
    PixelCNNEstimator,
    registry,
)
from densekit.densities import Flow, Mixture, StudentT
from densekit.elementwise import Spline
from densekit.exceptions import ContextError, ParameterError, ShapeError, SupportError
from densekit.transforms import ActNorm, Autoregressive, Coupling

OF_IMAGES = {"pixelcnn", "image_glow", "image_realnvp"}  # tests/images has their tests
NAMES = [name for name in densekit.available() if name not in OF_IMAGES]
FLOWS = [name for name in NAMES if name != "made"]
MOONS, MOON_LABELS = make_moons(300, noise=0.1, random_state=0)


def quick(name="maf", **params):
    return densekit.make_estimator(name, **{"max_epochs": 3, "random_state": 0} | params)


# Latents and bases


@pytest.mark.parametrize("name", FLOWS)
def test_transform_and_its_inverse(name):
    est = quick(name).fit(MOONS)
    latents = est.transform(MOONS)
    np.testing.assert_allclose(est.inverse_transform(latents), MOONS, atol=1e-9)
    z, log_det = est.to_latents(torch.from_numpy(MOONS))
    expected = est.density_.model.base.log_prob(z) + log_det
    np.testing.assert_allclose(est.score_samples(MOONS), expected.detach().numpy())
    assert isinstance(est.density_.model, Flow)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("base", ["normal", "logistic", "uniform", "student_t", "mixture"])
def test_any_base_in_any_flow(name, base):
    est = quick(name, base=base, max_epochs=10).fit(MOONS)
    assert np.isfinite(est.score(MOONS))
    assert np.isfinite(est.sample(20, random_state=0)).all()
    if base == "uniform":
        latents = est.transform(MOONS)
        assert ((latents > 0) & (latents < 1)).all()


@pytest.mark.parametrize("name", ["nice", "realnvp", "glow", "maf", "iaf"])
@pytest.mark.parametrize("elementwise", ["shift", "affine", "spline", Spline, Spline(4, 3.0)])
def test_any_map_in_any_flow(name, elementwise):
    est = quick(name, elementwise=elementwise).fit(MOONS)
    np.testing.assert_allclose(est.inverse_transform(est.transform(MOONS)), MOONS, atol=1e-8)


def test_bases_as_classes_and_instances_are_left_untouched():
    base = StudentT((2,), df=5.0)
    est = quick(base=base).fit(MOONS)
    assert est.density_.model.base is not base
    assert float(base.df.detach()[0]) == pytest.approx(5.0)
    assert isinstance(quick(base=Mixture).fit(MOONS).density_.model.base, Mixture)


def test_nice_is_additive():
    est = quick("nice", max_epochs=20).fit(MOONS)
    _, log_det = est.to_latents(torch.from_numpy(MOONS))
    assert float(log_det.detach().std()) < 1e-12


def test_layers_by_name_class_and_instance():
    layers = [
        "actnorm",
        ("coupling", {"elementwise": "spline", "mask": "odd"}),
        "permute",
        Coupling,
        ActNorm((2,)),
        "linear",
        "inverse_autoregressive",
        "autoregressive",
        "scale",
        "reverse",
    ]
    est = FlowEstimator(layers=layers, max_epochs=3, random_state=0).fit(MOONS)
    np.testing.assert_allclose(est.inverse_transform(est.transform(MOONS)), MOONS, atol=1e-8)
    clone(est).fit(MOONS)


def test_layers_in_data_units_are_not_standardised():
    X = np.random.default_rng(0).beta(2, 2, (200, 2))
    est = FlowEstimator(layers=["logit", "actnorm", "coupling"], max_epochs=3).fit(X)
    samples = est.sample(500, random_state=0)
    assert ((samples > 0) & (samples < 1)).all()
    steps = [type(step).__name__ for step in est.density_.preprocessing.steps]
    assert "Standardize" not in steps


# Conditions


def test_labels_condition_the_density():
    X = np.r_[np.random.default_rng(0).normal(-3, 1, (150, 2)), MOONS[:150] + 3]
    y = np.array(["low"] * 150 + ["high"] * 150)
    est = quick("maf", conditional=True, max_epochs=60).fit(X, y)
    assert est.classes_.tolist() == ["high", "low"]
    assert est.score(X, y) > est.score(X, np.where(y == "low", "high", "low")) + 1
    each = np.stack([est.score_samples(X, np.repeat(c, len(X))) for c in est.classes_], 1)
    marginal = np.logaddexp.reduce(each + np.log(0.5), axis=1)
    np.testing.assert_allclose(est.score_samples(X), marginal)
    low = est.sample(200, random_state=0, y="low")
    assert low.shape == (200, 2)
    assert low.mean() < -2
    mixed = est.sample(2, random_state=0, y=["low", "high"])
    assert mixed[0].mean() < mixed[1].mean()
    assert -3 < est.sample(400, random_state=0).mean() < 3


def test_numbers_condition_the_density():
    rng = np.random.default_rng(0)
    y = rng.uniform(-2, 2, (600, 1))
    X = y + rng.normal(0, 0.2, (600, 2))
    est = quick("realnvp", conditional=True, max_epochs=80).fit(X, y)
    assert est.score(X, y) > est.score(X, -y) + 1
    samples = est.sample(3, random_state=0, y=[[-2.0], [0.0], [2.0]])
    assert (np.diff(samples[:, 0]) > 0.5).all()
    assert est.sample(5, random_state=0, y=[[2.0]])[:, 0].min() > 0
    with pytest.raises(ContextError, match="numbers as y"):
        est.score_samples(X)
    with pytest.raises(ContextError, match="give `y`"):
        est.sample(3)
    np.testing.assert_allclose(est.inverse_transform(est.transform(X, y), y), X, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_model_can_be_conditional(name):
    est = quick(name, conditional=True).fit(MOONS, MOON_LABELS)
    assert np.isfinite(est.score_samples(MOONS, MOON_LABELS)).all()
    assert np.isfinite(est.score_samples(MOONS)).all()
    assert est.sample(4, y=1).shape == (4, 2)
    one_column = quick(name, conditional=True).fit(MOONS[:, :1], MOON_LABELS)
    assert np.isfinite(one_column.score(MOONS[:, :1], MOON_LABELS))


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (3, "0 rows"),
        (None, "got no y"),
        (MOON_LABELS[:-1], "299 rows, expected 300"),
        (np.array([["a", "b"]] * 300), "labels are 1-D"),
        (np.datetime64("2026-01-01") + np.arange(300), "dates"),
    ],
)
def test_a_bad_condition_is_refused(y, match):
    with pytest.raises(ContextError, match=match):
        quick(conditional=True).fit(MOONS, y)


def test_labels_of_several_types_are_refused():
    y = np.array(["a", np.nan, None] * 100, dtype=object)
    with pytest.raises(ValueError, match=r"labels of several types|NaN"):
        quick(conditional=True).fit(MOONS, y)


def test_duplicate_column_names_are_refused():
    with pytest.raises(ValueError, match="same name"):
        quick().fit(pd.DataFrame(MOONS, columns=["a", "a"]))


def test_labels_that_were_not_fitted_are_refused():
    est = quick(conditional=True).fit(MOONS, MOON_LABELS)
    with pytest.raises(ContextError, match=r"labels \[7\]"):
        est.transform(MOONS, np.full(300, 7))
    with pytest.raises(ContextError, match="labels"):
        est.sample(2, y=7)
    with pytest.raises(ContextError, match="no y"):
        est.transform(MOONS)


def test_y_is_ignored_without_conditional():
    first = quick().fit(MOONS, MOON_LABELS).score_samples(MOONS, MOON_LABELS)
    np.testing.assert_array_equal(first, quick().fit(MOONS).score_samples(MOONS))


# Supports


@pytest.mark.slow
def test_beta_keeps_its_bounds_and_beats_kernels():
    rng = np.random.default_rng(0)
    X, X_test = rng.beta(0.5, 0.5, (2, 1000, 1))
    est = MAFEstimator(support="unit", random_state=0).fit(X)
    samples = est.sample(20_000, random_state=0)
    assert ((samples >= 0) & (samples <= 1)).all()
    grid = (np.arange(100_000) + 0.5)[:, None] / 100_000
    assert np.exp(est.score_samples(grid)).mean() == pytest.approx(1, abs=0.01)
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.003, 0.5, 15)}).fit(X)
    assert est.score(X_test) > search.best_estimator_.score_samples(X_test).mean()
    assert est.score(X_test) > stats.beta(0.5, 0.5).logpdf(X_test).mean() - 0.05
    outside = est.score_samples([[-0.1], [1.1], [0.5]])
    assert np.isneginf(outside[:2]).all()
    assert np.isfinite(outside[2])


@pytest.mark.parametrize(
    "support",
    [
        ["real", "positive", (-1, 2)],
        {"b": "positive", "c": (-1, 2)},
        {1: (0, np.inf), 2: (-1.0, 2.0)},
    ],
)
def test_supports_by_list_and_dict(support):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"a": rng.normal(size=200), "b": rng.gamma(1.0, 1.0, 200), "c": rng.uniform(-1, 2, 200)}
    )
    est = quick(support=support, max_epochs=20).fit(X)
    samples = est.sample(2000, random_state=0)
    assert (samples["b"] >= 0).all()
    assert samples["c"].between(-1, 2).all()
    assert (samples["a"] < 0).any()
    X.loc[0, "b"] = -1.0
    assert np.isneginf(est.score_samples(X)[0])
    with pytest.raises(SupportError, match="row 0, column 1"):
        quick(support=support).fit(X)


@pytest.mark.parametrize("high", [0.1, 0.3, 1e6 + 0.1])
def test_float32_samples_keep_float64_bounds(high):
    X = np.random.default_rng(0).uniform(high - 5, high, (200, 1)).astype(np.float32)
    X = np.minimum(X, np.nextafter(np.float32(high), np.float32(-np.inf)))
    low = float(X.min()) - 1.0
    samples = quick(support=(low, high), max_epochs=1).fit(X).sample(5000, random_state=0)
    assert samples.dtype == np.float32
    assert (samples.astype(np.float64) <= high).all()


@pytest.mark.parametrize(
    ("support", "match"),
    [
        ("positve", "expected 'real'"),
        ((1, 0), "low < high"),
        (["real"], "1 columns, but X has 2"),
        ({"z": "unit"}, "column 'z'"),
        ({5: "unit"}, "column 5"),
        (3, "expected 'real'"),
    ],
)
def test_malformed_supports_are_refused(support, match):
    with pytest.raises(SupportError, match=match):
        quick(support=support).fit(MOONS)


# Containers and dtypes


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_come_back_as_frames(frame):
    X = frame({"a": MOONS[:, 0].astype(np.float32), "b": MOONS[:, 1]})
    est = quick().fit(X)
    samples = est.sample(5, random_state=0)
    assert type(samples) is type(X)
    assert list(samples.columns) == ["a", "b"]
    assert list(samples.dtypes) == list(X.dtypes)
    assert est.feature_names_in_.tolist() == ["a", "b"]
    assert np.isfinite(est.score_samples(samples)).all()
    renamed = frame({"a": MOONS[:, 0], "c": MOONS[:, 1]})
    reordered = frame({"b": MOONS[:, 1], "a": MOONS[:, 0]})
    for bad in (renamed, reordered):
        with pytest.raises(ValueError, match="feature names"):
            est.score_samples(bad)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_samples_have_the_dtype_of_the_data(dtype):
    X = (100 * MOONS).astype(dtype)
    expected = np.float64 if dtype == "int64" else np.dtype(dtype)
    assert quick().fit(X).sample(3).dtype == expected


def test_lists_and_tensors_are_arrays():
    expected = quick().fit(MOONS).score_samples(MOONS)
    for X in (MOONS.tolist(), torch.from_numpy(MOONS)):
        np.testing.assert_array_equal(quick().fit(X).score_samples(X), expected)


def test_read_only_memory_maps(tmp_path):
    np.save(tmp_path / "X.npy", MOONS)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    scores = quick().fit(X).score_samples(X)
    np.testing.assert_array_equal(scores, quick().fit(MOONS).score_samples(MOONS))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_scores_do_not_depend_on_the_rows_beside(name, dtype):
    X = np.random.default_rng(0).normal(size=(5000, 3))
    est = quick(name, dtype=dtype, max_epochs=1).fit(X[:200])
    scores = est.score_samples(X)
    assert scores.dtype == np.float64
    for rows in (slice(0, 1), slice(3, 8), slice(17, 1000), slice(4096, None), slice(0, None, 7)):
        np.testing.assert_allclose(est.score_samples(X[rows]), scores[rows], rtol=1e-7)


def test_large_fits_run_in_float32_and_small_ones_in_float64():
    rng = np.random.default_rng(0)
    small = quick(max_epochs=1).fit(rng.normal(size=(500, 3)))
    large = quick(max_epochs=1).fit(rng.normal(size=(6000, 3)))
    assert {p.dtype for p in small.density_.parameters()} == {torch.float64}
    assert {p.dtype for p in large.density_.parameters()} == {torch.float32}
    far = quick(max_epochs=1, dtype="float32").fit(1e8 + rng.normal(size=(500, 2)))
    assert np.isfinite(far.score_samples(1e8 + rng.normal(size=(500, 2)))).all()


# Weights, constants, discrete data


@pytest.mark.parametrize("name", ["maf", "made"])
def test_a_weight_counts_as_repeated_rows(name):
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, 300)
    weighted = quick(name, max_epochs=20).fit(MOONS, sample_weight=weight)
    repeated = quick(name, max_epochs=20).fit(MOONS.repeat(weight, axis=0))
    np.testing.assert_allclose(weighted.score_samples(MOONS), repeated.score_samples(MOONS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maf", "nsf", "made"])
def test_ties_are_not_hidden_from_training(name):
    X = np.random.default_rng(0).poisson(5, (1000, 1)).astype(float)
    samples = quick(name, max_epochs=60).fit(X).sample(2000, random_state=0)
    assert samples.std() == pytest.approx(X.std(), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maf", "nsf", "realnvp"])
def test_an_outlier_does_not_crush_the_rest(name):
    X = np.r_[MOONS, [[1e6, 1e6]]]
    with_outlier = quick(name, max_epochs=60).fit(X).score(MOONS)
    assert with_outlier > quick(name, max_epochs=60).fit(MOONS).score(MOONS) - 1


@pytest.mark.parametrize(
    "est",
    [
        MADEEstimator(likelihood="bernoulli", dtype="float32", max_epochs=2),
        FlowEstimator(layers=["logit", "actnorm", "coupling"], dtype="float32", max_epochs=2),
        FlowEstimator(layers=["standardize", "coupling"], dtype="float32", max_epochs=2),
    ],
)
def test_float32_layers_without_preprocessing(est):
    X = np.random.default_rng(0).integers(0, 2, (300, 2))
    if not isinstance(est, MADEEstimator):
        X = 0.1 + 0.8 * np.random.default_rng(0).random((300, 2))
    est = est.fit(X)
    assert np.isfinite(est.score_samples(X)).all()
    assert est.set_params(warm_start=True).fit(X).sample(3).shape == (3, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_without_end_score_no_nan(dtype):
    est = quick("nsf", dtype=dtype).fit(MOONS)
    assert not np.isnan(est.score_samples([[1e300, -1e300], [1e30, 1e30]])).any()


def test_fit_transform_of_a_conditional_flow():
    est = quick(conditional=True)
    latents = est.fit_transform(MOONS, MOON_LABELS)
    np.testing.assert_array_equal(latents, est.transform(MOONS, MOON_LABELS))


def test_weights_move_the_density():
    weight = np.where(MOON_LABELS == 1, 1.0, 1e-3)
    est = quick(max_epochs=100).fit(MOONS, sample_weight=weight)
    scores = est.score_samples(MOONS)
    assert scores[MOON_LABELS == 1].mean() > scores[MOON_LABELS == 0].mean() + 1


def test_too_little_weight_is_refused():
    weight = np.zeros(300)
    with pytest.raises(ValueError, match=r"zero|positive"):
        quick().fit(MOONS, sample_weight=weight)
    weight[0] = 1
    with pytest.raises(ValueError, match="at least 2"):
        quick().fit(MOONS, sample_weight=weight)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        quick().fit(MOONS, sample_weight=weight - 2)


def test_bernoulli_learns_masses():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 2000)
    X = np.stack([first, first ^ (rng.random(2000) < 0.1)], 1)
    est = MADEEstimator(likelihood="bernoulli", random_state=0).fit(X)
    masses = np.exp(est.score_samples([[0, 0], [0, 1], [1, 0], [1, 1]]))
    np.testing.assert_allclose(masses, [0.45, 0.05, 0.05, 0.45], atol=0.03)
    assert masses.sum() == pytest.approx(1, abs=1e-6)
    assert np.isneginf(est.score_samples([[0.5, 0.0]])).all()
    samples = est.sample(4000, random_state=0)
    assert samples.dtype == X.dtype
    assert (samples[:, 0] == samples[:, 1]).mean() == pytest.approx(0.9, abs=0.03)
    with pytest.raises(SupportError, match="expected one of 0, 1"):
        quick("made", likelihood="bernoulli").fit(X + 0.5)


def test_only_constant_columns_still_give_a_density():
    X = np.full((30, 2), 5.0)
    with pytest.warns(densekit.exceptions.ConstantColumnWarning, match=r"\[0, 1\]"):
        est = quick(max_epochs=30).fit(X)
    assert np.isfinite(est.score_samples(X)).all()
    np.testing.assert_allclose(np.median(est.sample(200, random_state=0), 0), 5.0, atol=0.05)


# scikit-learn's tools


def test_pipeline_search_and_cross_validation():
    X = load_wine().data
    pipe = make_pipeline(StandardScaler(), quick())
    assert np.isfinite(pipe.fit(X).score(X))
    scores = cross_val_score(quick(), X, cv=3)
    assert np.isfinite(scores).all()
    search = GridSearchCV(quick(), {"n_layers": [1, 2]}, scoring=None, cv=2).fit(X)
    assert search.best_params_["n_layers"] in (1, 2)
    latents = quick("nsf").set_output(transform="pandas").fit(X).transform(X)
    assert latents.columns[0] == "nsfestimator0"


@pytest.mark.slow
def test_joblib_with_two_processes():
    fits = joblib.Parallel(n_jobs=2)(
        joblib.delayed(quick(random_state=seed).fit)(MOONS) for seed in (0, 1)
    )
    alone = quick(random_state=0).fit(MOONS)
    np.testing.assert_allclose(fits[0].score_samples(MOONS), alone.score_samples(MOONS))
    assert not np.allclose(fits[0].score_samples(MOONS), fits[1].score_samples(MOONS))


@pytest.mark.slow
def test_a_new_process_gives_bit_equal_scores():
    code = """
import hashlib, torch
from sklearn.datasets import make_moons
from densekit import NSFEstimator
torch.set_num_threads(1)
X, _ = make_moons(200, noise=0.1, random_state=0)
for dtype in ("float32", "float64"):
    scores = NSFEstimator(max_epochs=5, random_state=3, dtype=dtype).fit(X).score_samples(X)
    print(hashlib.sha256(scores.tobytes()).hexdigest())
"""
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout]
    runs += [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout]
    assert runs[0] == runs[1]


# Bad input


@pytest.mark.parametrize(
    ("X", "error"),
    [
        (sparse.csr_array(MOONS), TypeError),
        (MOONS * 1j, ValueError),
        ([["a", "b"]] * 20, ValueError),
        (MOONS[:, 0], ValueError),
        (MOONS[:0], ValueError),
        (MOONS[:1], ValueError),
        (np.where(MOONS > 1, np.nan, MOONS), ValueError),
        (np.where(MOONS > 1, np.inf, MOONS), ValueError),
        (MOONS[:, :, None], ValueError),
    ],
)
def test_bad_data_is_refused(X, error):
    est = quick()
    with pytest.raises(error):
        est.fit(X)
    assert vars(est).keys() == vars(quick()).keys()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_layers": 0}, r"MAFEstimator got n_layers=0, expected an integer of 1 or more"),
        ({"hidden_sizes": 64}, "tuple of integers"),
        ({"hidden_sizes": (64, 0)}, "tuple of integers"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"validation_fraction": 1.0}, "below 1"),
        ({"batch_size": "big"}, "'auto', or an integer"),
        ({"dtype": "float16"}, "one of"),
        ({"device": "gpu"}, "device"),
        ({"conditional": 1}, "True or False"),
        ({"max_epochs": True}, "integer"),
        ({"elementwise": "afine"}, "Did you mean 'affine'"),
        ({"base": "gauss"}, "'gauss' in 'bases'"),
        ({"base": Mixture((3,))}, r"\(3,\).*\(2,\)"),
    ],
)
def test_bad_parameters_are_refused(params, match):
    with pytest.raises(ValueError, match=match):
        quick(**params).fit(MOONS)


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        (["couplin"], "Did you mean 'coupling'"),
        ("coupling", "a list of layers"),
        ([("coupling", {"no_option": 1})], "no_option"),
        ([3], "expects a subclass"),
    ],
)
def test_bad_layers_are_refused(layers, match):
    with pytest.raises((ValueError, TypeError), match=match):
        FlowEstimator(layers=layers).fit(MOONS)


def test_other_widths_are_refused():
    est = quick().fit(MOONS)
    with pytest.raises(ValueError, match="3 features, but MAFEstimator is expecting 2"):
        est.score_samples(np.c_[MOONS, MOONS[:, :1]])
    with pytest.raises(ShapeError, match="3 columns"):
        est.inverse_transform(np.c_[MOONS, MOONS[:, :1]])
    with pytest.raises(ValueError, match="n_samples"):
        est.sample(0)


def test_a_failed_refit_leaves_the_fit_as_it_was():
    frame = pd.DataFrame(MOONS, columns=["a", "b"])
    est = quick(conditional=True).fit(frame, MOON_LABELS)
    before, attributes = est.score_samples(frame), dict(vars(est))
    bad = frame.rename(columns={"a": "z"}).assign(b=np.nan)
    with pytest.raises(ValueError, match="NaN"):
        est.fit(bad, MOON_LABELS)
    with pytest.raises(ParameterError):
        est.set_params(n_layers=-1).fit(frame, MOON_LABELS)
    est.set_params(n_layers=5)
    assert attributes == vars(est)
    np.testing.assert_array_equal(est.score_samples(frame), before)


def test_a_refit_forgets_what_the_first_fit_knew():
    est = quick(conditional=True).fit(pd.DataFrame(MOONS, columns=["a", "b"]), MOON_LABELS)
    est.set_params(conditional=False).fit(MOONS)
    assert not hasattr(est, "feature_names_in_")
    assert not hasattr(est, "classes_")


@pytest.mark.parametrize("n_rows", [2, 3, 9, 10])
@pytest.mark.parametrize("name", NAMES)
def test_few_rows_are_enough(name, n_rows):
    X = np.random.default_rng(0).normal(size=(n_rows, 2))
    est = quick(name, max_epochs=5).fit(X)
    assert np.isfinite(est.score_samples(X)).all()


def test_one_column_learns_gamma():
    X = np.random.default_rng(0).gamma(2.0, 1.0, (2000, 1))
    truth = stats.gamma(2.0).logpdf(X).mean()
    for est in (NSFEstimator(random_state=0), NICEEstimator(random_state=0, support="positive")):
        assert est.fit(X).score(X) > truth - 0.05


@pytest.mark.parametrize(("n_rows", "width", "n_bins"), [(9_999, 64, 8), (10_000, 128, 16)])
def test_auto_builds_larger_models_for_many_rows(n_rows, width, n_bins):
    X = np.random.default_rng(0).normal(size=(n_rows, 2))
    est = NSFEstimator(n_layers=1, max_epochs=1, batch_size=n_rows, random_state=0).fit(X)
    layers = [m for m in est.density_.modules() if isinstance(m, Autoregressive)]
    assert [layer.elementwise.n_bins for layer in layers] == [n_bins]
    assert [len(hidden.weight) for hidden in layers[0].network.hidden] == [width, width]


@pytest.mark.parametrize("name", registry.available("estimators"))
def test_every_parameter_is_explained_once(name):
    kind = registry.load("estimators", name)
    text = inspect.getdoc(kind).split("Parameters\n----------\n")[1].split("\n\n")[0]
    heads = [line.split(" : ")[0] for line in text.splitlines() if not line.startswith(" ")]
    explained = [one.strip() for head in heads for one in head.split(",")]
    assert sorted(explained) == sorted(inspect.signature(kind).parameters)


def test_a_condition_for_a_model_without_one_is_refused():
    est = MAFEstimator(max_epochs=1).fit(MOONS)
    with pytest.raises(ContextError, match=r"MAFEstimator\.sample got y, expected None"):
        est.sample(2, y="a")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [MAFEstimator, AnomalyDetector])
def test_a_cell_that_is_no_finite_number_is_named(kind, value):
    table = pd.DataFrame(MOONS[:60], columns=["c0", "c1"])
    table.iloc[7, 1] = value
    named = r"got (NaN|inf) in row 7, column 'c1' \(1 such rows\), expected finite numbers"
    with pytest.raises(ValueError, match=named):
        kind().fit(table)
    with pytest.raises(ValueError, match=r"row 7, column 1"):
        kind().fit(table.to_numpy())


OWN_SIZES = [("coupling", {"hidden_sizes": (8,)})]
BITS = np.random.default_rng(0).integers(0, 2, (30, 3))


@pytest.mark.parametrize(
    ("estimator", "rows", "name"),
    [
        (MADEEstimator(likelihood="bernoulli", gaussianize=False), BITS, "gaussianize"),
        (MADEEstimator(likelihood="gaussian", n_components=3), MOONS, "n_components"),
        (NSFEstimator(elementwise="affine", n_bins=4), MOONS, "n_bins"),
        (MAFEstimator(condition_type="labels"), MOONS, "condition_type"),
        (FlowEstimator(layers=["standardize", "linear"], noise=0.1), MOONS, "noise"),
        (FlowEstimator(layers=["actnorm"], hidden_sizes=(3,)), MOONS, "hidden_sizes"),
        (FlowEstimator(layers=OWN_SIZES, hidden_sizes=(3,)), MOONS, "hidden_sizes"),
        (PixelCNNEstimator(noise=0.1), BITS.reshape(-1, 1, 3), "noise"),
    ],
)
def test_a_parameter_that_has_no_effect_is_refused(estimator, rows, name):
    with pytest.raises(ParameterError, match=rf"got {name}=.*has no effect .*; leave it at"):
        estimator.fit(rows)
    assert not hasattr(estimator, "n_features_in_")


def test_a_default_in_another_number_type_is_the_default():
    options = {"elementwise": "affine", "bound": 5, "max_epochs": 1, "n_layers": 1}
    NSFEstimator(**options).fit(MOONS)


def test_conditions_and_muon_without_effect_are_refused():
    flow = FlowEstimator(layers=["actnorm"], conditional=True)
    with pytest.raises(ParameterError, match="conditional=True, which has no effect"):
        flow.fit(MOONS, MOON_LABELS)
    with pytest.raises(ParameterError, match="'muon' has no effect"):
        MAFEstimator(optimizer="muon", hidden_sizes=(8,)).fit(MOONS)
