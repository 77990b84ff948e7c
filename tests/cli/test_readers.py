"""Tables in files: what is written is read back, in chunks or whole; what is wrong is named."""

import gzip
import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from densekit.cli.io import readers, writers
from densekit.cli.io.readers import open_table
from densekit.cli.io.writers import open_writer
from densekit.cli.rows import model_rows
from densekit.data.cells import check_cells
from densekit.exceptions import MissingExtraError, TableError

FORMATS = ("csv", "csv.gz", "parquet", "feather")


def frame(n_rows=23, seed=0):
    rng = np.random.default_rng(seed)
    values = {
        "a": rng.normal(size=n_rows),
        "b": rng.integers(0, 9, n_rows),
        "c d": rng.random(n_rows),
    }
    return pd.DataFrame(values)


def write(rows, path):
    if path.suffixes[-1] == ".parquet":
        rows.to_parquet(path, row_group_size=7)
    elif path.suffix == ".feather":
        pa.feather.write_feather(rows, str(path), chunksize=5)
    else:
        rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", FORMATS)
def test_chunks_are_the_rows_in_order(tmp_path, ending):
    rows = frame()
    table = open_table(write(rows, tmp_path / f"rows.{ending}"))
    assert table.columns == ("a", "b", "c d")
    assert table.n_rows in (None, len(rows))
    chunks = list(table.chunks(4))
    assert max(map(len, chunks)) <= 4
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), rows)


@pytest.mark.parametrize("ending", FORMATS)
def test_read_gives_the_columns_that_are_wanted(tmp_path, ending):
    rows = frame()
    table = open_table(write(rows, tmp_path / f"rows.{ending}"))
    pd.testing.assert_frame_equal(table.read(["c d", "a"]), rows[["c d", "a"]])


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_is_read_as_often_as_is_asked(tmp_path, ending):
    table = open_table(write(frame(), tmp_path / f"rows.{ending}"))
    for _ in range(2):
        pd.testing.assert_frame_equal(table.read(), frame())


@pytest.mark.parametrize("shape", [(9, 2), (9, 4, 4), (9, 4, 4, 3)])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays_and_images_go_through(tmp_path, shape, ending):
    values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    path = tmp_path / f"rows.{ending}"
    np.save(path, values) if ending == "npy" else np.savez(path, X=values, other=values[:1])
    table = open_table(path)
    assert table.columns is None
    assert table.n_rows == 9
    np.testing.assert_array_equal(np.concatenate(list(table.chunks(2))), values)
    np.testing.assert_array_equal(table.read(), values)


def test_standard_input_is_csv(monkeypatch):
    rows = frame()
    text = io.TextIOWrapper(io.BytesIO(rows.to_csv(index=False).encode()))
    monkeypatch.setattr(sys, "stdin", text)
    pd.testing.assert_frame_equal(open_table("-").read(), rows)


def test_the_index_of_a_frame_is_no_column(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = frame()
    rows.set_index(rows.index * 2).rename_axis("id").to_parquet(path)
    assert open_table(path).columns == ("a", "b", "c d")


CSV_FAULTS = {
    "no rows": ("a,b\n", "no rows"),
    "nothing": ("", "no rows"),
    "no header": ("1.5,2\n3,4\n", "numbers in its first line"),
    "a name twice": ("a,a\n1,2\n", "several columns named 'a'"),
    "a wide first row": ("a,b\n1,2,3\n4,5\n", "Row 0 of .* more than the 2 cells"),
    "a wide row": ("a,b\n1,2\n3,4\n5,6\n7,8,9\n", "Row 3 of .* more than the 2 cells"),
    "a very wide row": ("a,b\n1,2\n3,4,5,6\n", "cannot be read as CSV"),
    "a short row": ("a,b\n1,2\n3\n", "'b' of .* missing cell in row 1"),
    "text": ("a,b\n1,2\n3,4\n5,x\n", "'b' of .* holds 'x' in row 2"),
    "text before a gap": ("a,b\nx,2\n,4\n", "'a' of .* holds 'x' in row 0"),
    "a gap before text": ("a,b\n,2\nx,4\n", "'a' of .* missing cell in row 0"),
    "a gap": ("a,b\n1,2\n3,4\n5,\n", "'b' of .* missing cell in row 2"),
    "infinity": ("a,b\n1,2\n3,inf\n", "'b' of .* holds inf in row 1"),
    "a blank line in one column": ("a\n1\n\n3\n", "'a' of .* missing cell in row 1"),
    "a quote that stays open": ('a,b\n1,"2\n3,4\n', "."),
}


@pytest.mark.parametrize("fault", CSV_FAULTS)
def test_faults_of_csv_are_named(tmp_path, fault):
    text, message = CSV_FAULTS[fault]
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        list(model_rows(None, open_table(path)))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.Series(["u", "v", "w"]), "holds 'u' in row 0"),
        (pd.Series([1, None, 2], dtype="Int64"), "missing cell in row 1"),
        (pd.Series(pd.to_datetime(["2024-01-01"] * 3)), "holds Timestamp"),
        (pd.Series(["u", "v", "u"], dtype="category"), "holds 'u' in row 0"),
        (pd.Series([1.0, 2.0, -np.inf]), "holds -inf in row 2"),
    ],
)
def test_cells_that_are_no_numbers_are_named(tmp_path, column, message):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"a": [1, 2, 3], "odd": column}).to_parquet(path)
    with pytest.raises(TableError, match=f"column 'odd' of .*{message}"):
        check_cells(open_table(path).read(), source="rows")


@pytest.mark.parametrize("ending", ["csv.gz", "parquet", "feather", "npy", "npz"])
def test_files_that_are_cut_short_or_something_else_are_refused(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    if ending.startswith("np"):
        np.save(tmp_path / "rows.npy", frame().to_numpy())
        np.savez(tmp_path / "rows.npz", frame().to_numpy())
    else:
        write(frame(), path)
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], b"", b"hello", content[10:]):
        path.write_bytes(wrong)
        with pytest.raises(TableError, match="rows"):
            open_table(path).read()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), "shape"),
        (np.zeros((2, 2, 2, 2, 2)), "shape"),
        (np.zeros((0, 2)), "no rows"),
        (np.array([["a"]]), "type"),
        (np.array([[1j]]), "type"),
        (np.array([[None]], dtype=object), "numpy"),
    ],
)
def test_arrays_that_are_no_rows_are_refused(tmp_path, values, message):
    np.save(tmp_path / "rows.npy", values)
    with pytest.raises(TableError, match=message):
        open_table(tmp_path / "rows.npy")


def test_an_unknown_ending_and_a_missing_file(tmp_path):
    with pytest.raises(TableError, match=r"'\.xlsx'.*\.parquet"):
        open_table("rows.xlsx")
    for ending in (*FORMATS, "npy"):
        with pytest.raises(FileNotFoundError):
            open_table(tmp_path / f"none.{ending}")


def test_without_pyarrow_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (open_table, writers.check_output):
        with pytest.raises(MissingExtraError, match=r"pip install 'densekit\[io\]'"):
            call(tmp_path / "rows.parquet")


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_what_is_written_in_pieces_is_read_back(tmp_path, ending):
    path, rows = tmp_path / f"rows.{ending}", frame()
    with open_writer(path) as writer:
        for start in range(0, len(rows), 5):
            writer.write(rows.iloc[start : start + 5])
    pd.testing.assert_frame_equal(open_table(path).read(), rows)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5), width=st.integers(0, 3))
def test_arrays_are_written_in_pieces(tmp_path, sizes, width):
    path = tmp_path / "rows.npy"
    shape = (2,) * width
    pieces = [np.full((n, *shape), i, dtype=np.float32) for i, n in enumerate(sizes)]
    with open_writer(path) as writer:
        for piece in pieces:
            writer.write(piece)
    found = np.load(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.concatenate(pieces))


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), open_writer(path) as writer:  # noqa: PT012
        writer.write(frame())
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import sys, time
import numpy as np
from densekit.cli.io.writers import open_writer
with open_writer(sys.argv[1]) as writer:
    writer.write(np.zeros((3, 1)))
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.kill()
    assert path.read_text() == "old"
    with open_writer(path) as writer:
        writer.write(frame())
    pd.testing.assert_frame_equal(open_table(path).read(), frame())


@pytest.mark.parametrize("name", ["none/rows.csv", "rows.txt", "folder.csv"])
def test_places_that_cannot_be_written_are_refused_before_any_work(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError), open_writer(tmp_path / name):
        pass


def test_images_do_not_fit_into_a_table(tmp_path):
    with pytest.raises(TableError, match="npy"), open_writer(tmp_path / "rows.csv") as writer:
        writer.write(np.zeros((2, 4, 4)))


def test_a_large_row_group_does_not_come_into_memory_whole(tmp_path):
    path = tmp_path / "rows.parquet"
    n_rows = 2_000_000
    table = pa.table({"a": np.random.default_rng(0).normal(size=n_rows)})
    pq.write_table(table, path, row_group_size=n_rows)
    del table
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in open_table(path).chunks(10_000))
    assert most < 8 * n_rows / 2


def test_gzip_is_known_by_its_ending(tmp_path):
    assert readers.table_format(tmp_path / "a.b.CSV.GZ") == ".csv.gz"
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n2\n"))
    assert open_table(path).read()["a"].tolist() == [1, 2]
