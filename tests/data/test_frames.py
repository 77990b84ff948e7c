"""Frames and arrays at the door: names of any kind are kept, and what is no number is named."""

import datetime
import decimal
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.neighbors import KernelDensity

import densekit
from densekit import AnomalyDetector, MADEEstimator, RealNVPEstimator
from densekit.data.columns import Columns
from densekit.data.frames import as_numbers
from densekit.exceptions import (
    ColumnTypeError,
    DensekitError,
    SupportError,
    TableError,
    WeightError,
)

N_ROWS = 12
VALUES = np.random.default_rng(0).normal(size=(N_ROWS, 3))
DAYS = st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 1, 1))
NAMES = {
    "text": st.text(max_size=5),
    "whole numbers": st.integers(-3000, 3000),
    "fractions": st.floats(allow_nan=False, allow_infinity=False),
    "tuples": st.tuples(st.sampled_from("ab"), st.integers(0, 50)),
    "dates": DAYS,
    "moments": DAYS.map(pd.Timestamp),
    "intervals": st.integers(-50, 50).map(lambda low: pd.Interval(low, low + 1)),
}
CONTAINERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
DTYPES = st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_])


def quick(**params):
    return RealNVPEstimator(
        max_epochs=1, n_layers=1, hidden_sizes=(4,), random_state=0, gaussianize=False, **params
    )


@st.composite
def frames(draw):
    """A frame in one of the containers, its names and the types of its columns."""
    kind, container = draw(st.sampled_from(sorted(NAMES))), draw(st.sampled_from(list(CONTAINERS)))
    if container != "pandas":
        kind = "text"  # the others know no other names
    names = draw(st.lists(NAMES[kind], min_size=1, max_size=6, unique=True))
    dtypes = draw(st.lists(DTYPES, min_size=len(names), max_size=len(names)))
    columns = [(np.arange(4) % 2).astype(dtype) for dtype in dtypes]
    if container != "pandas":
        return CONTAINERS[container](dict(zip(names, columns, strict=True))), names, dtypes
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = names
    return frame, names, dtypes


@given(frames())
def test_names_and_types_are_those_of_columns_whatever_the_names_are(case):
    frame, names, dtypes = case
    assert as_numbers(frame, source="X") is frame
    columns = Columns.of(frame)
    assert columns.names == tuple(names)
    assert columns.dtypes == tuple(map(np.dtype, dtypes))
    bounds = np.tile([[-np.inf], [np.inf]], len(names))
    found = columns.restore(np.zeros((2, len(names))), bounds, is_discrete=True)
    assert type(found) is type(frame)
    assert Columns.of(found) == columns


KINDS = {
    "more than rows": [30, 2020, 7],
    "fractions": [400.5, 401.0, 401.5],
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
    "dates": [datetime.date(2020, 1, day) for day in (1, 2, 3)],
    "moments": pd.date_range("2020", periods=3),
    "moments of a zone": pd.date_range("2020", periods=3, tz="Europe/Berlin").as_unit("s"),
    "levels of moments": pd.MultiIndex.from_product([["a"], pd.date_range("2020", periods=3)]),
    "months": pd.period_range("2020-01", periods=3, freq="M"),
    "durations": pd.timedelta_range("1h", periods=3, freq="90s"),
    "intervals": pd.interval_range(0, 3),
    "intervals of moments": pd.interval_range(pd.Timestamp("2020"), periods=3, closed="left"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_models_take_frames_whose_names_are_no_text(kind, tmp_path):
    frame = pd.DataFrame(VALUES, columns=KINDS[kind])
    model = quick().fit(frame)
    np.testing.assert_array_equal(
        model.score_samples(frame), quick().fit(VALUES).score_samples(VALUES)
    )
    names = model.sample(2).columns
    assert list(names) == list(frame.columns)
    model.save(tmp_path / "model.densekit")
    found = densekit.load(tmp_path / "model.densekit")
    pd.testing.assert_index_equal(found.sample(2).columns, names, exact=True)
    with pytest.raises(TableError, match="another order"):
        found.score_samples(frame.iloc[:, ::-1])


def test_types_are_those_of_columns_where_names_count_rows():
    X = pd.DataFrame(
        {0: np.tile([0.0, 1.0], 6), 1: np.tile([0, 1], 6), 2: np.tile([True, False], 6)}
    )
    model = MADEEstimator(likelihood="bernoulli", max_epochs=1, random_state=0).fit(X)
    assert list(model.sample(2).dtypes) == list(X.dtypes)


ODD = {
    "text": ["x"] * N_ROWS,
    "numbers as text": ["1.5", "2.5"] * 6,
    "categories": pd.Categorical(["x", "y"] * 6),
    "dates": pd.date_range("2020", periods=N_ROWS),
    "durations": pd.to_timedelta(range(N_ROWS)),
    "intervals": pd.interval_range(0, N_ROWS),
    "periods": pd.period_range("2020", periods=N_ROWS),
    "mixed": [1.0, "x"] * 6,
    "objects": [{}] * N_ROWS,
    "None": np.array([1.0, None] * 6, dtype=object),
    "complex": np.arange(N_ROWS) * 1j,
    "sparse": pd.arrays.SparseArray(np.arange(N_ROWS)),
    "bytes": [b"1"] * N_ROWS,
}


@pytest.mark.parametrize("make", [quick, AnomalyDetector])
@pytest.mark.parametrize("kind", ODD)
def test_columns_that_are_no_numbers_are_named(make, kind):
    frame = pd.DataFrame(VALUES, columns=list("abc")).assign(odd=ODD[kind])
    with pytest.raises(ColumnTypeError, match=r"column .odd. .*leave it out") as caught:
        make().fit(frame)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)


def test_scoring_names_them_too():
    model = quick().fit(pd.DataFrame(VALUES, columns=list("abc")))
    X = pd.DataFrame(VALUES, columns=list("abc")).astype({"b": object})
    X.iloc[2, 1] = "much"
    with pytest.raises(ColumnTypeError, match="column 'b' holds 'much' in row 2"):
        model.score_samples(X)


def test_all_of_them_stand_in_one_message():
    frame = pd.DataFrame({f"c{i}": ["x"] * N_ROWS for i in range(25)})
    with pytest.raises(ColumnTypeError, match=r"'c0'.*'c19'.*and 5 more columns") as caught:
        quick().fit(frame)
    assert "'c20'" not in str(caught.value)


@pytest.mark.parametrize("container", [pl.DataFrame, pa.table])
@pytest.mark.parametrize(
    "odd", [["x"] * N_ROWS, [datetime.date(2020, 1, 1)] * N_ROWS, [[1]] * N_ROWS]
)
def test_other_containers_too(container, odd):
    with pytest.raises(ColumnTypeError, match="column 'odd'"):
        quick().fit(container({"a": VALUES[:, 0], "odd": odd}))


ARRAYS = {
    "dates": np.full((N_ROWS, 1), "2020-01-01", dtype="M8[D]"),
    "durations": np.ones((N_ROWS, 2), dtype="m8[s]"),
    "text": np.full((N_ROWS, 2), "1.5"),
    "objects": np.array([[1.0, "x"]] * N_ROWS, dtype=object),
    "dates in objects": np.array([[1.0, datetime.date(2020, 1, 1)]] * N_ROWS, dtype=object),
    "lists": [[1.0, "x"]] * N_ROWS,
    "records": np.zeros(N_ROWS, dtype=[("a", float)]),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_are_no_numbers_are_refused(kind):
    with pytest.raises(ColumnTypeError, match=r"(column 1|array) holds"):
        quick().fit(ARRAYS[kind])


def test_masked_cells_are_missing_cells():
    model = quick().fit(np.ma.masked_array(VALUES))
    masked = np.ma.masked_array(VALUES, mask=np.tile(np.arange(3) == 1, (N_ROWS, 1)))
    for call in (quick().fit, model.score_samples):
        with pytest.raises(TableError, match=r"12 masked cells, the first at \(0, 1\)"):
            call(masked)


def test_tensors_are_taken_with_gradients_too():
    expected = quick().fit(VALUES).score_samples(VALUES)
    rows = torch.tensor(VALUES, requires_grad=True)
    np.testing.assert_array_equal(quick().fit(rows).score_samples(rows), expected)


def test_lazy_frames_and_columns_of_one_name_say_what_to_do():
    with pytest.raises(TableError, match=r"lazy frame \(polars.LazyFrame\).*collect\(\)"):
        quick().fit(pl.LazyFrame(VALUES))
    with pytest.raises(TableError, match="two columns of the same name; rename"):
        quick().fit(pd.DataFrame(VALUES, columns=list("aab")))


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_decimals_and_large_integers_are_numbers(container):
    rows = {"d": [decimal.Decimal(i) / 8 for i in range(N_ROWS)], "a": VALUES[:, 0]}
    if container is pd.DataFrame:
        rows["wei"] = [10**25 + i * 10**20 for i in range(N_ROWS)]
    assert np.isfinite(quick().fit(container(rows)).score_samples(container(rows))).all()


def test_bounds_are_given_by_names_that_are_numbers():
    frame = pd.DataFrame(np.abs(VALUES) - np.array([0, 0, 5]), columns=[1, 0, 2020])
    model = quick(support={2020: "real", 1: "positive"}).fit(frame)
    assert model.support_[0].tolist() == [0.0, -np.inf, -np.inf]
    with pytest.raises(SupportError, match=r"column 2; columns are \[1, 0, 2020\]"):
        quick(support={2: "real"}).fit(frame)


def test_time_grows_with_the_number_of_columns_and_not_its_square():
    seconds = []
    for n_columns in (1_000, 10_000):
        frame = pd.DataFrame(np.zeros((2, n_columns)), columns=range(7, 7 + n_columns))
        start = time.perf_counter()
        columns = Columns.of(as_numbers(frame, source="X"))
        bounds = np.tile([[-np.inf], [np.inf]], n_columns)
        columns.restore(np.zeros((2, n_columns)), bounds, is_discrete=False)
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 30 * seconds[0] + 1


def test_names_that_are_numbers_are_not_taken_in_another_order():
    frame = pd.DataFrame(VALUES, columns=[2019, 2020, 2021])
    model = quick().fit(frame)
    with pytest.raises(TableError, match=r"columns in another order.*2021, 2020, 2019"):
        model.score_samples(frame[[2021, 2020, 2019]])
    model.score_samples(VALUES)


TOO_LARGE = np.ones((N_ROWS, 2), dtype=object)
TOO_LARGE[3, 1] = 10**400
NO_TABLES = {
    "None": (None, "got None"),
    "set": ({1, 2}, "got {1, 2}"),
    "dict": ({"a": [1, 2]}, "dict"),
    "text": ("abc", "got 'abc'"),
    "number": (3, "shape"),
    "generator": ((i for i in range(3)), "generator"),
    "object": (object(), "object"),
    "one axis": (np.ones(N_ROWS), "X.reshape"),
    "nothing": ([], "shape"),
    "three axes": (np.ones((1, N_ROWS, 2)), "dim 3|n_samples=1"),
    "ragged": ([[1, 2], [3]], "unequal length"),
    "deeply ragged": ([[[1], [2]], [[3], [4, 5]]], "unequal length"),
    "sparse matrix": (sparse.csr_matrix(np.eye(9)), "X.toarray"),
    "sparse array": (sparse.coo_array(np.eye(9)), "X.toarray"),
    "too large": (TOO_LARGE, "column 1 holds 1000.* in row 3"),
    "too large in a list": (TOO_LARGE.tolist(), "column 1 holds 1000.* in row 3"),
    "too large in a frame": (pd.DataFrame(TOO_LARGE), "column 1 holds 1000.* in row 3"),
    "complex": (1j * np.ones((N_ROWS, 2)), "Complex"),
    "NaN": (np.full((N_ROWS, 2), np.nan), "NaN in row 0, column 0"),
    "no column": (np.ones((N_ROWS, 0)), "0 feature"),
}
WITH_FEW_ROWS = {
    "one row": (np.ones((1, 2)), "minimum of"),
    "no row": (np.ones((0, 2)), "0 sample"),
}


@pytest.mark.parametrize("name", NO_TABLES | WITH_FEW_ROWS)
@pytest.mark.parametrize("make", [MADEEstimator, lambda: AnomalyDetector(KernelDensity())])
def test_what_is_no_table_ends_in_an_error_of_densekit(make, name):
    X, match = (NO_TABLES | WITH_FEW_ROWS)[name]
    with pytest.raises(TableError if name != "three axes" else DensekitError, match=match) as error:
        make().fit(X)
    assert type(make()).__name__ in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", [name for name in NO_TABLES if name != "three axes"])
def test_and_in_scoring_too(name):
    X, match = NO_TABLES[name]
    with pytest.raises(TableError, match=match):
        MADEEstimator(max_epochs=1).fit(np.eye(9)[:, :2]).score_samples(X)


ODD_WEIGHTS = {
    "negative": (-np.ones(N_ROWS), "-1.0 in row 0"),
    "too few": (np.ones(N_ROWS - 1), "shape"),
    "NaN": (np.full(N_ROWS, np.nan), "nan in row 0"),
    "infinity": (np.full(N_ROWS, np.inf), "inf in row 0"),
    "two axes": (np.ones((N_ROWS, 1)), "shape"),
    "zeros": (np.zeros(N_ROWS), "n_samples=0"),
    "text": (["1"] * N_ROWS, "no array of numbers"),
    "text objects": (np.array(["1"] * N_ROWS, dtype=object), "'1' in row 0"),
    "a text": ("balanced", "no array of numbers"),
    "missing": ([None] * N_ROWS, "None in row 0"),
    "ragged": ([[1], [1, 2]], "no array of numbers"),
    "set": ({1}, "no array of numbers"),
    "sparse": (sparse.csr_matrix(np.ones((1, N_ROWS))), "no array of numbers"),
    "complex": (1j * np.ones(N_ROWS), "complex"),
    "dates": (np.full(N_ROWS, np.datetime64("2020-01-01")), "datetime"),
    "too large": ([10**400] + [1] * (N_ROWS - 1), "too large"),
}


@pytest.mark.parametrize("name", ODD_WEIGHTS)
def test_weights_that_are_none_end_in_an_error_of_densekit(name):
    weight, match = ODD_WEIGHTS[name]
    X = np.random.default_rng(0).normal(size=(N_ROWS, 2))
    est = MADEEstimator(max_epochs=1).fit(X)
    for call in (est.fit, est.score, AnomalyDetector(KernelDensity()).fit):
        with pytest.raises(WeightError, match=match):
            call(X, sample_weight=weight)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", [None, MADEEstimator(max_epochs=1)])
def test_a_detector_goes_by_the_names_of_the_frame(kind, estimator, tmp_path):
    frame = pd.DataFrame(VALUES, columns=KINDS[kind])
    detector = AnomalyDetector(estimator, random_state=0).fit(frame)
    detector.save(tmp_path / "detector.densekit")
    for each in (detector, densekit.load(tmp_path / "detector.densekit")):
        assert list(each.explain(frame[:2]).columns) == list(frame.columns)
        assert list(each.expected(frame[:2]).columns.get_level_values(0)[::2]) == list(frame)
        assert any(each.reasons(frame[:1])[0][0].startswith(f"{name} was") for name in frame)
        with pytest.raises(TableError, match="another order"):
            each.score_samples(frame.iloc[:, ::-1])
