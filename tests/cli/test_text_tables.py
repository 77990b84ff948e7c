"""Tables in text as people have them: read to the same numbers, and what was found is said."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import sys
import threading
import time
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from densekit.cli.io import csv_names
from densekit.cli.io.csv_format import CsvOptions
from densekit.cli.io.readers import open_table
from densekit.cli.io.writers import open_writer
from densekit.data.cells import check_cells
from densekit.exceptions import PrecisionWarning, TableError

ROWS = pd.DataFrame({"größe": [1.5, -2.25, 1234.5], "n": [3, 12345, 7]})


def written(tmp_path, content, name="rows.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.csv", content)
    return file.getvalue()


COMPRESSORS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1")
WORDS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "", " ": "blanks"}
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(-999, 2**53)), min_size=2, max_size=9),
    separator=st.sampled_from(list(WORDS)),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(ENCODINGS),
    packed=st.sampled_from(["", *COMPRESSORS]),
    comment=st.sampled_from(["", "# measured by ø\n#\n"]),
)
def test_what_is_written_in_any_way_is_read_to_the_same_numbers(
    tmp_path, values, separator, decimal, encoding, packed, comment
):
    assume(not (separator == decimal == ","))
    rows = pd.DataFrame(values, columns=["größe", "b", "n"])
    seen = rows[["größe", "b"]].map(repr).to_numpy().ravel()
    assume(decimal == "." or any("e" not in cell for cell in seen))
    text = comment + rows.to_csv(sep=separator, decimal=decimal, index=False)
    content = COMPRESSORS.get(packed, bytes)(text.encode(encoding))
    path = written(tmp_path, content, "rows.csv" + (packed and f".{packed}"))
    try:
        table = open_table(path)
    except TableError:  # 1,234 alone tells nothing: the option says it
        table = open_table(path, CsvOptions(decimal=decimal))
    np.testing.assert_allclose(table.read().to_numpy(np.float64), rows.to_numpy(), rtol=1e-15)
    assert table.columns == tuple(rows.columns)
    note = " ".join(table.notes)
    assert WORDS[separator] in note
    assert ("begin with #" in note) == bool(comment)
    assert bool(note) == (
        bool(comment) or separator != "," or encoding not in ("utf-8", "utf-8-sig")
    )


@pytest.mark.parametrize("packed", COMPRESSORS)
def test_compression_is_known_without_an_ending_and_on_standard_input(
    tmp_path, monkeypatch, packed
):
    content = COMPRESSORS[packed](ROWS.to_csv(index=False).encode())
    pd.testing.assert_frame_equal(open_table(written(tmp_path, content)).read(), ROWS)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    pd.testing.assert_frame_equal(open_table("-").read(), ROWS)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_pipe_that_has_a_path_is_read_once(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    os.mkfifo(path)
    if ending == "csv":
        content = ROWS.to_csv(index=False, sep=";")
    else:
        content = ROWS.to_json(orient="records", lines=True)
    writer = threading.Thread(target=path.write_text, args=(content,))
    writer.start()
    table = open_table(path)
    pd.testing.assert_frame_equal(table.read(), ROWS)
    writer.join()


def test_a_pipe_without_an_ending_is_csv():
    source, target = os.pipe()
    os.write(target, ROWS.to_csv(index=False).encode())
    os.close(target)
    pd.testing.assert_frame_equal(open_table(f"/dev/fd/{source}").read(), ROWS)
    os.close(source)


def test_standard_input_longer_than_the_sample_is_read_whole(monkeypatch):
    content = b"a;b\n" + b"1,5;2\n" * 300_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    chunks = list(open_table("-").chunks(100_000))
    assert sum(map(len, chunks)) == 300_000
    assert all((chunk["a"] == 1.5).all() for chunk in chunks)


FORMATS = {
    "semicolons": ("a;b\n1.5;2\n2.5;3\n", [[1.5, 2], [2.5, 3]]),
    "decimal commas": ("a;b\n1,5;2\n2,5;3\n", [[1.5, 2], [2.5, 3]]),
    "German thousands": ("a;b\n1.234,5;2\n12,25;3\n", [[1234.5, 2], [12.25, 3]]),
    "Swiss thousands": ("a;b\n1'234.5;2\n12.25;3\n", [[1234.5, 2], [12.25, 3]]),
    "French thousands": ("a;b\n1 234,5;2\n12,25;3\n", [[1234.5, 2], [12.25, 3]]),
    "English thousands": ('a,b\n"1,234.5",2\n12.25,3\n', [[1234.5, 2], [12.25, 3]]),
    "percentages": ("a,b\n12%,2\n3.5 %,3\n", [[0.12, 2], [0.035, 3]]),
    "a declared separator": ("sep=|\na|b\n1|2\n3|4\n", [[1, 2], [3, 4]]),
    "blanks around": (" a , b \n 1 , 2 \n3,4\n", [[1, 2], [3, 4]]),
    "an index": (",a,b\n0,1,2\n1,3,4\n", [[1, 2], [3, 4]]),
    "an index read again": ("Unnamed: 0,a,b\n0,1,2\n1,3,4\n", [[1, 2], [3, 4]]),
    "separators at the end": ("a,b,\n1,2,\n3,4,\n", [[1, 2], [3, 4]]),
    "comments between rows": ("#x\na,b\n1,2\n# y\n3,4\n", [[1, 2], [3, 4]]),
    "a header in a comment": ("# a b\n1 2\n3 4\n", [[1, 2], [3, 4]]),
    "ends of old Macs": ("a,b\r1,2\r3,4\r", [[1, 2], [3, 4]]),
    "quoted names": ('"a", "b"\n1, 2\n3, 4\n', [[1, 2], [3, 4]]),
}


@pytest.mark.parametrize("ending", ["csv", "tsv", "txt"])
@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_found_by_the_first_lines(tmp_path, kind, ending):
    text, expected = FORMATS[kind]
    table = open_table(written(tmp_path, text, f"rows.{ending}"))
    assert table.columns == ("a", "b")
    np.testing.assert_allclose(table.read().to_numpy(float), expected, rtol=1e-15)
    is_plain = kind in (
        "blanks around",
        "ends of old Macs",
        "separators at the end",
        "quoted names",
    )
    assert bool(table.notes) != is_plain


def test_a_format_holds_for_every_chunk_or_the_cell_is_named(tmp_path):
    text = "a;b\n" + "1,5;50%\n" * 60 + "1.234,5;7\n" + "2.5;8%\n"
    path = written(tmp_path, "a;b\n1.234,5;50%\n" + "1,5;50%\n" * 60 + "2;7%\n")
    rows = pd.concat(open_table(path).chunks(7))
    assert rows["a"].tolist() == [1234.5, *[1.5] * 60, 2]
    np.testing.assert_allclose(rows["b"], [*[0.5] * 61, 0.07])
    table = open_table(written(tmp_path, text))
    with pytest.raises(TableError, match=r"'a' holds '1.234,5' in row 60.*'b' holds '7' in row 60"):
        check_cells(table.read(), source="rows")
    told = open_table(written(tmp_path, text), CsvOptions(decimal=",")).read()
    assert told["a"].tolist()[-2:] == [1234.5, "2.5"]


def test_a_number_that_may_be_two_things_asks(tmp_path):
    path = written(tmp_path, "a;b\n1,234;2\n2,345;3\n")
    with pytest.raises(TableError, match=r"'1,234', which may be.*--decimal , or --decimal \."):
        open_table(path)
    assert open_table(path, CsvOptions(decimal=",")).read()["a"].tolist() == [1.234, 2.345]
    assert open_table(path, CsvOptions(decimal=".")).read()["a"].tolist() == [1234, 2345]


def test_options_say_what_the_first_lines_do_not(tmp_path):
    path = written(tmp_path, "a;b\n1;2\n")
    assert open_table(path, CsvOptions(separator=",")).columns == ("a;b",)
    path = written(tmp_path, "ö\x80\n1\n".encode("cp1252", "replace"))
    assert open_table(path, CsvOptions(encoding="cp1252")).columns == ("ö?",)
    path = written(tmp_path, "1.5,2\n3,4\n")
    assert open_table(path, CsvOptions(has_header=False)).columns == ("x0", "x1")
    assert open_table(path, CsvOptions(has_header=False)).read().shape == (2, 2)
    assert open_table(path, CsvOptions(has_header=True)).columns == ("1.5", "2")
    for wrong, message in (
        ({"separator": ";;"}, "one character"),
        ({"decimal": ";"}, "expected '.' or ','"),
        ({"encoding": "klingon"}, "no encoding 'klingon'"),
    ):
        with pytest.raises(TableError, match=message):
            open_table(path, CsvOptions(**wrong))
    ROWS.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(TableError, match="no table in text"):
        open_table(tmp_path / "rows.parquet", CsvOptions(separator=";"))


@pytest.mark.parametrize(
    ("text", "is_header"),
    [
        ("400,405,410\n0.5,0.6,0.7\n0.1,0.2,-0.7\n", True),
        ("2019,2020\n0.5,0.6\n", True),
        ("0,1,2\n4,5,6\n", True),
        ("1,2\n3,4\n", False),
        ("1,2,3\n4,5,6\n7,8,9\n", False),
        ("3,2,1\n0.5,0.6,0.7\n", False),
        ("1.5,2.5\n0.5,0.6\n", False),
    ],
)
def test_numbers_are_names_only_where_they_are_unlike_the_rows(tmp_path, text, is_header):
    path = written(tmp_path, text)
    if is_header:
        assert open_table(path).columns == tuple(text.splitlines()[0].split(","))
        return
    with pytest.raises(TableError, match=r"numbers in its first line.*--header.*--no-header"):
        open_table(path)


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"a,b\n1,\x00\n", b"\x93NUMPY\x01\x00v"])
def test_bytes_that_are_no_text_are_refused(tmp_path, content):
    with pytest.raises(TableError, match="no text"):
        open_table(written(tmp_path, content))


def test_text_that_leaves_its_encoding_later_says_what_to_do(tmp_path):
    path = written(tmp_path, b"a,b\n" + b"1,2\n" * 300_000 + b"3,\xf6\n")
    with pytest.raises(TableError, match="--encoding latin-1"):
        open_table(path).read()


def test_a_column_without_a_name_is_an_error_unless_it_is_blank_or_an_index(tmp_path):
    with pytest.raises(TableError, match=r"Column 1 of .* has no name"):
        open_table(written(tmp_path, "a,,b\n1,2,3\n"))
    with pytest.raises(TableError, match=r"Row 1 of .* more than the 2 cells"):
        open_table(written(tmp_path, "a,b,\n1,2,\n3,4,5\n")).read()


JSON = {
    "lines": '{"a": 1, "b": "x"}\n\n{"b": "y", "a": 2.5}\n',
    "an array": '[{"a": 1, "b": "x"}, {"a": 2.5, "b": "y"}]',
}


@pytest.mark.parametrize("kind", JSON)
@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "json", "jsonl.gz"])
def test_json_is_read_in_lines_and_arrays(tmp_path, kind, ending):
    content = JSON[kind].encode()
    content = gzip.compress(content) if ending.endswith("gz") else content
    table = open_table(written(tmp_path, content, f"rows.{ending}"))
    assert table.columns == ("a", "b")
    rows = pd.concat(table.chunks(1), ignore_index=True)
    assert rows.to_dict("list") == {"a": [1, 2.5], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("[]", "no rows"),
        ('{"a": 1}\n{"a": 1', "cannot be read as JSON"),
        ('{"a": 1}\n{"a": 1, "b": 2}\n', "Row 1 of .* has 'b'"),
        ("[1, 2]", "expected an object"),
        ('{"a": 1}\n{}\n', "'a' of .* missing cell in row 1"),
        ('{"a": {"b": 1}}\n', "'a' of .* holds"),
        ('{"a": ' * 20_000, "cannot be read as JSON"),
    ],
)
def test_faults_of_json_are_named(tmp_path, text, message):
    path = written(tmp_path, text, "rows.jsonl")
    with pytest.raises(TableError, match=message):
        check_cells(open_table(path).read(), source=str(path))


def test_all_bad_columns_stand_in_one_message(tmp_path):
    rows = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", "y"], "c": [1, 2], "d e": [np.inf, 0.0]})
    with pytest.raises(TableError) as caught:
        check_cells(rows, source="rows.csv", first_row=100)
    message = str(caught.value)
    for part in (
        "3 columns of rows.csv",
        "'a' has a missing cell in row 101",
        "'b' holds 'x' in row 100",
        "'d e' holds inf in row 100",
        "--drop a --drop b --drop 'd e'",
    ):
        assert part in message


def test_long_integers_and_decimals_are_numbers_and_lost_digits_are_said(tmp_path):
    path = written(tmp_path, f"wei,a\n{10**25},1\n{10**25 + 1},2\n")
    with pytest.warns(PrecisionWarning, match="'wei' of rows"):
        found = check_cells(open_table(path).read(), source="rows")
    assert found["wei"].tolist() == [1e25, 1e25]
    exact = pd.DataFrame({"n": [2**60, 2**53], "m": [2**53 - 1, -5]})
    pd.testing.assert_frame_equal(check_cells(exact, source="rows"), exact)
    with pytest.warns(PrecisionWarning, match="'n' of rows"):
        check_cells(pd.DataFrame({"n": [2**53 + 1, 3]}), source="rows")
    with pytest.raises(TableError, match="'n' of rows holds 1000"):
        check_cells(pd.DataFrame({"n": [10**400, 1]}), source="rows")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1),
        min_size=2,
        max_size=5,
        unique=True,
    )
)
def test_names_come_back_from_csv_and_are_inert_in_it(tmp_path, names):
    assume(names[0] != "Unnamed: 0")
    path = tmp_path / "rows.csv"
    with open_writer(path) as writer:
        writer.write(pd.DataFrame(np.ones((2, len(names))), columns=names))
    header = path.read_text().rpartition("\n1.0")[0]
    assert not any(ord(c) < 32 for c in header.replace("\n", ""))
    assert open_table(path, CsvOptions(separator=",", has_header=True)).columns == tuple(names)


@given(st.text())
def test_texts_in_csv_are_no_formulas_and_names_come_back(text):
    found = csv_names.as_written(text)
    assert csv_names.as_read(found) == text
    is_number = all(c in "0123456789.+-eE" for c in found)
    assert found[:1] not in tuple("=+-@\t\r") or is_number
    assert not any(ord(c) < 32 for c in found)


def test_text_cells_in_csv_are_no_formulas(tmp_path):
    with open_writer(tmp_path / "rows.csv") as writer:
        writer.write(pd.DataFrame({"=1+1": ["=cmd|x", "-5"], "b": [-1.0, 2.0]}))
    assert (tmp_path / "rows.csv").read_text() == "'=1+1,b\n'=cmd|x,-1.0\n-5,2.0\n"


def test_time_grows_with_the_number_of_columns_and_not_its_square(tmp_path):
    seconds = []
    for n_columns in (2_000, 20_000):
        rows = pd.DataFrame(np.zeros((3, n_columns)), columns=[f"c{i}" for i in range(n_columns)])
        path = tmp_path / f"{n_columns}.csv"
        rows.to_csv(path, index=False)
        start = time.perf_counter()
        check_cells(open_table(path).read(), source="rows")
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 30 * seconds[0] + 1


def test_json_numbers_are_exact(tmp_path):
    values = [0.1 + 0.2, 1 / 3, 1e-300, 12345678.901234567]
    text = "\n".join(json.dumps({"a": value}) for value in values)
    assert open_table(written(tmp_path, text, "a.jsonl")).read()["a"].tolist() == values


def test_every_pair_of_candidates_is_told_apart(tmp_path):
    """Texts with other separators inside their cells, or names, are cut where rows agree."""
    for separator, other in itertools.permutations(";\t|", 2):
        text = separator.join(["a", f'"b{other}c"']) + "\n"
        text += separator.join(["1", f'"x{other}y{other}z"']) + "\n"
        table = open_table(written(tmp_path, text))
        assert len(table.columns) == 2, (separator, other)
