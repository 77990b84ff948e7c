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

from densekit import AnomalyDetector, MADEEstimator, RealNVPEstimator
from densekit.data.columns import Columns
from densekit.data.frames import as_numbers
from densekit.errors import ColumnTypeError, SupportError, TableError

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
    "intervals": pd.interval_range(0, 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_models_take_frames_whose_names_are_no_text(kind):
    frame = pd.DataFrame(VALUES, columns=KINDS[kind])
    model = quick().fit(frame)
    np.testing.assert_array_equal(
        model.score_samples(frame), quick().fit(VALUES).score_samples(VALUES)
    )
    assert list(model.sample(2).columns) == list(frame.columns)


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
