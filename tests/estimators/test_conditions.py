"""Conditions: matched by name, told labels from numbers, on a robust scale."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.model_selection import GridSearchCV

import densekit
from densekit import MAFEstimator, NSFEstimator, RealNVPEstimator
from densekit.data.context import Labels, Numbers
from densekit.exceptions import ConditionWarning, ContextError

RNG = np.random.default_rng(0)
N_ROWS = 300
Y = pd.DataFrame({"a": RNG.normal(size=N_ROWS), "b": RNG.normal(5, 10, N_ROWS)})
X = (Y[["a"]] + RNG.normal(0, 0.1, (N_ROWS, 1))).to_numpy()


def quick(cls=RealNVPEstimator, **params):
    options = {"conditional": True, "max_epochs": 5, "n_layers": 2, "noise": 0}
    return cls(**options | params, random_state=0)


@pytest.mark.parametrize("make", [lambda y: y, pl.from_pandas], ids=["pandas", "polars"])
def test_conditions_are_matched_by_name(make):
    est = quick().fit(X, make(Y))
    assert est.condition_names_in_.tolist() == ["a", "b"]
    expected = est.score_samples(X, Y.to_numpy())
    np.testing.assert_array_equal(est.score_samples(X, make(Y)), expected)
    swapped, renamed = make(Y[["b", "a"]]), make(Y.rename(columns={"a": "c"}))
    for call in (
        lambda y: est.score_samples(X, y),
        lambda y: est.score(X, y),
        lambda y: est.transform(X, y),
        lambda y: est.sample(y=y),
        lambda y: est.set_params(warm_start=True).fit(X, y),
    ):
        with pytest.raises(ContextError, match="another order"):
            call(swapped)
        with pytest.raises(ContextError, match="other names"):
            call(renamed)


def test_names_of_conditions_are_kept_in_files(tmp_path):
    est = quick().fit(X, Y)
    est.save(tmp_path / "model.densekit")
    found = densekit.load(tmp_path / "model.densekit")
    assert found.condition_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.score_samples(X, Y), est.score_samples(X, Y))
    with pytest.raises(ContextError, match="another order"):
        found.score_samples(X, Y[["b", "a"]])
    assert not hasattr(est.fit(X, Y.to_numpy()), "condition_names_in_")


WORDS = np.where(Y["a"] > 0, "high", "low")
PRICES = RNG.integers(100, 5000, N_ROWS)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (WORDS, Labels),
        (WORDS.astype(object), Labels),
        (pd.Series(WORDS, name="level").astype("category"), Labels),
        (pl.Series("level", WORDS), Labels),
        (pd.DataFrame({"level": WORDS}), Labels),
        (WORDS == "low", Labels),
        (np.arange(N_ROWS) % 3, Labels),
        (np.arange(N_ROWS) % 3.0, Labels),
        (pd.Series(np.arange(N_ROWS) % 30).astype("category"), Labels),
        (PRICES, Numbers),
        (PRICES.astype(float), Numbers),
        (Y["a"], Numbers),
        (Y["a"].astype(object), Numbers),
        (Y[["a"]], Numbers),
        (np.arange(N_ROWS)[:, None] % 3, Numbers),
    ],
)
def test_what_y_holds_is_told_by_its_type_and_its_values(y, expected):
    est = quick(max_epochs=1).fit(X, y)
    assert isinstance(est._context_, expected)
    assert np.isfinite(est.score_samples(X, y)).all()


@pytest.mark.parametrize(("n_labels", "expected"), [(25, "labels"), (60, "numbers")])
def test_doubt_is_said_and_a_parameter_ends_it(n_labels, expected):
    y = np.arange(N_ROWS) % n_labels
    other = {"labels": "numbers", "numbers": "labels"}[expected]
    with pytest.warns(ConditionWarning, match=f"takes them for {expected}.*condition_type"):
        est = quick(max_epochs=1).fit(X, y)
    kinds = {"labels": Labels, "numbers": Numbers}
    assert isinstance(est._context_, kinds[expected])
    est = quick(max_epochs=1, condition_type=other).fit(X, y)
    assert isinstance(est._context_, kinds[other])


def test_messages_show_few_labels():
    est = quick(max_epochs=1, condition_type="labels").fit(X, np.arange(N_ROWS))
    with pytest.raises(ContextError) as error:
        est.sample(y=-1)
    assert len(str(error.value)) < 300
    assert "(300 in all)" in str(error.value)


def test_labels_that_were_drawn_are_returned():
    rows, labels = quick(max_epochs=30).fit(X, WORDS).sample(500, random_state=0, return_y=True)
    assert set(labels) == {"high", "low"}
    assert rows[labels == "high"].mean() > rows[labels == "low"].mean() + 0.5
    rows, given = quick().fit(X, Y).sample(3, y=Y[:1], return_y=True)
    np.testing.assert_array_equal(given, np.repeat(Y[:1].to_numpy(), 3, axis=0))
    with pytest.raises(ContextError, match="return_y"):
        quick(conditional=False).fit(X).sample(3, return_y=True)


def test_rows_and_conditions_of_other_numbers_are_told_what_to_do():
    est = quick().fit(X, Y)
    with pytest.raises(ContextError, match=r"n_samples=5 and y with 3 rows.*repeat"):
        est.sample(5, y=Y[:3])
    assert est.sample(4, y=[0.0, 5.0]).shape == (4, 1)
    assert est.sample(y=Y[:3]).shape == (3, 1)


def test_a_label_that_is_missing_in_a_fold_leaves_a_grid_search_its_scores():
    y = np.where(np.arange(N_ROWS) == 7, "rare", WORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConditionWarning)
        search = GridSearchCV(quick(max_epochs=1), {"n_layers": [1, 2]}, cv=3).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_an_unknown_label_gets_the_marginal():
    est = quick().fit(X, WORDS)
    y = WORDS.copy()
    y[0] = "new"
    with pytest.warns(ConditionWarning, match="new"):
        found = est.score_samples(X, y)
    assert found[0] == est.score_samples(X)[0]
    np.testing.assert_array_equal(found[1:], est.score_samples(X, WORDS)[1:])


BITS = np.arange(N_ROWS) % 2
KINDS = {
    "number": BITS,
    "number as fraction": BITS.astype(float),
    "number object": BITS.astype(object),
    "boolean": BITS == 1,
    "boolean object": (BITS == 1).astype(object),
    "text": BITS.astype(str),
    "text object": BITS.astype(str).astype(object),
}


@pytest.mark.parametrize("fitted", KINDS)
def test_a_label_of_another_kind_is_refused(fitted):
    est = quick(max_epochs=1).fit(X, KINDS[fitted])
    for name, y in KINDS.items():
        if name.partition(" ")[0] == fitted.partition(" ")[0]:
            assert np.isfinite(est.score_samples(X, y)).all()
            continue
        for call in (est.score_samples, est.transform, lambda x, y: est.sample(y=y[0])):
            with pytest.raises(ContextError, match="as a label, but was fitted with"):
                call(X, y)


@pytest.mark.parametrize(
    "y", [[True, 1], [1, "1"], [1.0, np.nan], ["a", None], [np.True_, np.int64(1)], [b"a", "a"]]
)
def test_labels_of_several_kinds_are_refused(y):
    values = np.empty(2, dtype=object)
    values[:] = y
    with pytest.raises(ContextError, match="several types"):
        quick(condition_type="labels").fit(X, np.resize(values, N_ROWS))


@pytest.mark.parametrize(
    ("first", "then"),
    [(WORDS, Y["a"]), (WORDS, Y), (BITS, Y["a"]), (Y[["a"]], WORDS), (Y, Y["a"])],
)
def test_a_warm_start_says_that_it_keeps_to_the_kind_of_y(first, then):
    est = quick(max_epochs=1, warm_start=True).fit(X, np.asarray(first))
    before = est.score_samples(X, np.asarray(first))
    with pytest.raises(ContextError, match=r"warm_start=True goes on.*whose y were (labels|num)"):
        est.fit(X, np.asarray(then))
    np.testing.assert_array_equal(est.score_samples(X, np.asarray(first)), before)


@pytest.mark.parametrize("wild", [1e6, -1e30, 1e300])
def test_one_wild_condition_changes_little(wild):
    est = quick(NSFEstimator, max_epochs=80, n_layers=3)
    given, held_out = Y[["a"]].to_numpy()[:200], Y[["a"]].to_numpy()[200:]
    expected = est.fit(X[:200], given).score(X[200:], held_out)
    given = given.copy()
    given[0] = wild
    found = est.fit(X[:200], given).score(X[200:], held_out)
    assert found > expected - 0.3
    assert expected > -0.5  # or it would not be conditional


@pytest.mark.parametrize("factor", [1e-200, 1e-20, 1e20, 1e200])
def test_units_of_conditions_are_of_no_effect(factor):
    est = quick(MAFEstimator)
    expected = est.fit(X, Y).score_samples(X, Y)
    found = est.fit(X, factor * Y).score_samples(X, factor * Y)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_whole_numbers_come_back_where_they_are_asked_for():
    frame = pd.DataFrame({"n": RNG.integers(0, 9, N_ROWS), "is": WORDS == "low", "x": X[:, 0]})
    est = quick(conditional=False, support={"n": (0, 8)}).fit(frame)
    assert set(map(str, est.sample(9).dtypes)) == {"float64"}
    found = est.sample(500, round=True)
    assert found.dtypes.equals(frame.dtypes)
    assert found["n"].between(0, 8).all()
