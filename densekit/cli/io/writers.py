"""Tables to files, chunk by chunk: a file is there whole, or not at all."""

from __future__ import annotations

import csv
import io
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from densekit.cli.io import csv_names
from densekit.cli.io.outputs import StandardOutput, check_place
from densekit.cli.io.readers import import_pyarrow, table_format
from densekit.cli.io.table import STANDARD_INPUT
from densekit.exceptions import OutputError, TableError
from densekit.persistence.replacing import replacing


class Writer(ABC):
    """Writes rows to an open file; made by `open_writer`."""

    def __init__(self, file: Any):
        self.file = file

    @abstractmethod
    def write(self, rows: Any) -> None:
        """Add rows: a data frame or an array, with the same columns at every call."""

    def close(self) -> None:
        """Write what a file has at its end, if anything."""
        return


@contextmanager
def open_writer(path: str | Path) -> Iterator[Writer]:
    """Open a writer by the ending of a file's name.

    Rows go to a draft, which takes the place of `path` when the block ends without an error and
    vanishes when it ends with one: see `densekit.persistence.replacing`.

    Parameters
    ----------
    path : str or Path
        A file ``.csv``, ``.parquet``, ``.feather`` or ``.npy``, or ``-`` for CSV on standard
        output.

    Raises
    ------
    TableError
        A ValueError: see `check_output`.
    MissingExtraError
        An ImportError: Parquet and Feather need pyarrow, ``pip install 'densekit[io]'``.
    """
    path = Path(path)
    check_output(path)
    if str(path) == STANDARD_INPUT:
        output = StandardOutput()
        yield CsvWriter(output)
        output.flush()
        return
    with replacing(path) as file:
        writer = _WRITERS[table_format(path)](file)
        yield writer
        writer.close()


def check_output(path: str | Path) -> None:
    """Check a file that is to be written, before any work is done for it.

    Raises
    ------
    TableError
        A ValueError: the ending is unknown, the folder does not exist, or something else than a
        file has this name.
    OutputError
        A ValueError: standard output is closed.
    MissingExtraError
        An ImportError: Parquet and Feather need pyarrow.
    """
    path = Path(path)
    if str(path) == STANDARD_INPUT:
        if sys.stdout is None:
            raise OutputError("Standard output is closed; open it, or give a file as --out.")
        return
    if table_format(path) not in _WRITERS:
        raise TableError(
            f"{path} has the ending {path.suffix!r}, expected one of {', '.join(_WRITERS)}, or - "
            "for CSV on standard output."
        )
    check_place(path)
    if path.suffix.lower() in (".parquet", ".feather"):
        import_pyarrow(path)


class CsvWriter(Writer):
    """CSV with a header; numbers in full, so that they are read back as they were."""

    def __init__(self, file: Any):
        super().__init__(file)
        self._is_first = True

    def write(self, rows: Any) -> None:
        frame = _without_formulas(as_frame(rows))
        text = frame.to_csv(index=False, header=False, lineterminator="\n")
        if self._is_first:
            text = _header(list(frame.columns)) + text
        self.file.write(text.encode())
        self._is_first = False


def _header(names: list[str]) -> str:
    """The first line, which would be a comment if it began with a #: all names are quoted then."""
    line = io.StringIO()
    is_comment = bool(names) and names[0].startswith("#")
    writer = csv.writer(
        line,
        quoting=csv.QUOTE_ALL if is_comment else csv.QUOTE_MINIMAL,
        lineterminator="\n",
    )
    writer.writerow(names)
    return line.getvalue()


def _without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with names and texts that no spreadsheet takes for formulas."""
    columns = {}
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        if not (pd.api.types.is_numeric_dtype(column.dtype) or column.dtype == bool):
            column = column.map(lambda c: csv_names.as_written(c) if isinstance(c, str) else c)
        columns[i] = column
    found = pd.DataFrame(columns, index=frame.index)
    found.columns = pd.Index([csv_names.as_written(str(name)) for name in frame.columns])
    return found


class ArrowWriter(Writer):
    """What the two formats of Arrow share: the schema is that of the first rows."""

    def __init__(self, file: Any):
        super().__init__(file)
        self._writer: Any = None
        self._schema: Any = None

    def write(self, rows: Any) -> None:
        import pyarrow

        frame = as_frame(rows)
        table = pyarrow.Table.from_pandas(frame, schema=self._schema, preserve_index=False)
        if self._writer is None:
            self._schema = table.schema
            self._writer = self._open(table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    @abstractmethod
    def _open(self, schema: Any) -> Any:
        """Open pyarrow's own writer."""


class ParquetWriter(ArrowWriter):
    """Parquet: one row group for each call of `write`."""

    def _open(self, schema: Any) -> Any:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetWriter(self.file, schema)


class FeatherWriter(ArrowWriter):
    """Feather, version 2."""

    def _open(self, schema: Any) -> Any:
        import pyarrow.ipc

        return pyarrow.ipc.new_file(self.file, schema)


class ArrayWriter(Writer):
    """One array in numpy's format; a frame of one column is written as (n,)."""

    def __init__(self, file: Any):
        super().__init__(file)
        self._n_rows = 0
        self._dtype: Any = None
        self._shape: tuple[int, ...] = ()

    def write(self, rows: Any) -> None:
        values = rows if isinstance(rows, np.ndarray) else as_frame(rows).to_numpy()
        if not isinstance(rows, np.ndarray) and values.shape[1] == 1:
            values = values[:, 0]
        if self._dtype is None:
            self._dtype, self._shape = values.dtype, values.shape[1:]
            self._write_header()
        self.file.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self._n_rows += len(values)

    def close(self) -> None:
        """Write the header again, now that the number of rows is known: it has room for it."""
        if self._dtype is not None:
            self.file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._n_rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self.file, header)


_WRITERS: dict[str, type[Writer]] = {
    ".csv": CsvWriter,
    ".parquet": ParquetWriter,
    ".feather": FeatherWriter,
    ".npy": ArrayWriter,
}


def as_frame(rows: Any) -> pd.DataFrame:
    """Rows as a pandas frame; the columns of an array are named x0, x1 and so on.

    Raises
    ------
    TableError
        A ValueError: the rows are images.
    """
    if isinstance(rows, pd.DataFrame):
        return rows
    if isinstance(rows, np.ndarray):
        return _name_columns(rows)
    frame = nw.from_native(rows, eager_only=True)
    columns = [column.to_numpy() for column in frame.iter_columns()]
    return pd.DataFrame(dict(zip(frame.columns, columns, strict=True)))


def _name_columns(rows: NDArray[Any]) -> pd.DataFrame:
    if rows.ndim != 2:
        raise TableError(
            f"An array of shape {rows.shape} does not fit into a table; write it to a .npy file."
        )
    return pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])
