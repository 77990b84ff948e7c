"""Tables in files, whole or in chunks: CSV, Parquet, Feather and numpy's own files."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from densekit.data.tables import check_array
from densekit.errors import MissingExtraError, TableError

STANDARD_INPUT = "-"
ENCODING = "utf-8-sig"  # of CSV; the mark that some programs write in front is skipped
READ_BUFFER_BYTES = 1 << 20  # of a column chunk of Parquet, which may be larger than memory


class Table(ABC):
    """Rows in a file.

    Attributes
    ----------
    source : str
        The file's name, for messages.
    columns : tuple of str or None
        Names of the columns; None where the file holds an array.
    n_rows : int or None
        Number of rows; None where only reading to the end would tell.
    """

    columns: tuple[str, ...] | None = None
    n_rows: int | None = None

    def __init__(self, path: Path):
        self.path = path
        self.source = "standard input" if str(path) == STANDARD_INPUT else str(path)

    @abstractmethod
    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Go through the rows in order.

        Parameters
        ----------
        n_rows : int
            Most rows of a chunk.
        columns : sequence of str, optional
            The columns that are wanted, in this order; all by default. Ignored for an array.

        Yields
        ------
        DataFrame or ndarray
            At least one row, with the columns as they stand in the file: `check_cells` says
            whether they are numbers.

        Raises
        ------
        TableError
            A ValueError: the file is not what its name says, is cut short, or has no rows.
        """

    def read(self, columns: Sequence[str] | None = None) -> Any:
        """All rows at once, as `chunks` gives them."""
        pieces = list(self.chunks(sys.maxsize, columns))
        return pieces[0] if len(pieces) == 1 else pd.concat(pieces, ignore_index=True)

    def check_not_empty(self, n_rows: int) -> None:
        """Raise the error of a table without rows."""
        if n_rows == 0:
            raise TableError(f"{self.source} has no rows; give at least one.")


def open_table(path: str | Path) -> Table:
    """Open a table by the ending of its name.

    Parameters
    ----------
    path : str or Path
        A file ``.csv``, ``.csv.gz``, ``.parquet``, ``.feather``, ``.npy`` or ``.npz``, or ``-`` for
        CSV on standard input. The first line of CSV holds the columns' names.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        A ValueError: the ending is another one, or the file is not what its name says.
    MissingExtraError
        An ImportError: Parquet and Feather need pyarrow, ``pip install 'densekit[io]'``.
    OSError
        The file cannot be opened.
    """
    path = Path(path)
    if str(path) == STANDARD_INPUT:
        return CsvTable(path)
    reader = _READERS.get(table_format(path))
    if reader is None:
        raise TableError(
            f"{path} has the ending {path.suffix!r}, expected one of {', '.join(_READERS)}, or - "
            "for CSV on standard input."
        )
    return reader(path)


def table_format(path: Path) -> str:
    """The ending that says what a file is, such as ``.csv`` or ``.csv.gz``."""
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(endings) if endings[-1:] == [".gz"] else "".join(endings[-1:])


def import_pyarrow(path: Path) -> ModuleType:
    """Import pyarrow; without it, say what to install.

    Raises
    ------
    MissingExtraError
        An ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError(
            f"{path.suffix} files need pyarrow: pip install 'densekit[io]'."
        ) from None
    return pyarrow


class CsvTable(Table):
    """CSV, compressed by gzip or not, in a file or on standard input, which is read once."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._input = _standard_input() if str(path) == STANDARD_INPUT else None
        with self._explained(), self._open() as file:
            self.columns = self._header(file)

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        names, n_read = list(self.columns or ()), 0
        with self._explained(), self._open() as file:
            if self._input is None:
                self._header(file)
            # A blank line is a missing cell in a table of one column, and nothing in others.
            reader = pd.read_csv(
                file,
                names=[*names, _SURPLUS],
                header=None,
                chunksize=min(n_rows, np.iinfo(np.int32).max),
                index_col=False,
                skip_blank_lines=len(names) > 1,
                low_memory=False,
            )
            for chunk in reader:
                self._check_width(chunk.pop(_SURPLUS), n_read)
                n_read += len(chunk)
                if len(chunk) > 0:
                    yield chunk if columns is None else chunk[list(columns)]
        self.check_not_empty(n_read)

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        """The text from its beginning; standard input from where it stands."""
        if self._input is not None:
            yield self._input
            return
        opener: Any = gzip.open if self.path.suffix.lower() == ".gz" else open
        with opener(self.path, "rt", encoding=ENCODING, newline="") as file:
            yield file

    def _header(self, file: TextIO) -> tuple[str, ...]:
        names = next(csv.reader(file), [])
        if not names:
            raise TableError(f"{self.source} has no rows; give at least one, below a header.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TableError(f"{self.source} has several columns named {twice[0]!r}; rename them.")
        is_counted = names == [str(i) for i in range(len(names))]
        if all(map(_is_number, names)) and not is_counted:
            raise TableError(
                f"{self.source} has numbers in its first line ({', '.join(names[:3])} ...), "
                "expected the columns' names; write them above the first row."
            )
        return tuple(names)

    def _check_width(self, surplus: pd.Series, n_read: int) -> None:
        if surplus.notna().any():
            row = n_read + int(surplus.notna().to_numpy().argmax())
            n_columns = len(self.columns or ())
            raise TableError(
                f"Row {row} of {self.source} (the first is 0) has more than the {n_columns} cells "
                "of the header; mend that line."
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except TableError:
            raise
        except (ValueError, EOFError, gzip.BadGzipFile, csv.Error, zlib.error) as error:
            raise TableError(f"{self.source} cannot be read as CSV: {error}") from error


class ParquetTable(Table):
    """Parquet, batch by batch: memory does not grow with the file, whatever its row groups."""

    def __init__(self, path: Path):
        super().__init__(path)
        import_pyarrow(path)
        import pyarrow.parquet

        with _arrow_explained(self.source, "Parquet"):
            self._file = pyarrow.parquet.ParquetFile(
                path, buffer_size=READ_BUFFER_BYTES, pre_buffer=False
            )
        self.columns = _without_index(self._file.schema_arrow)
        self.n_rows = self._file.metadata.num_rows

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        names = list(columns if columns is not None else self.columns or ())
        self.check_not_empty(self.n_rows or 0)
        with _arrow_explained(self.source, "Parquet"), self._file:
            size = min(n_rows, self.n_rows or 1)
            for batch in self._file.iter_batches(batch_size=size, columns=names):
                if batch.num_rows > 0:
                    yield _to_frame(batch, names)


class FeatherTable(Table):
    """Feather, version 2: the file format of Arrow, mapped into memory."""

    def __init__(self, path: Path):
        super().__init__(path)
        pyarrow = import_pyarrow(path)
        with _arrow_explained(self.source, "Feather (version 2)"):
            self._file = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))
        self.columns = _without_index(self._file.schema)

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        names, n_read = list(columns if columns is not None else self.columns or ()), 0
        with _arrow_explained(self.source, "Feather (version 2)"):
            for i in range(self._file.num_record_batches):
                batch = self._file.get_batch(i)
                for start in range(0, batch.num_rows, n_rows):
                    yield _to_frame(batch.slice(start, min(n_rows, batch.num_rows)), names)
                n_read += batch.num_rows
        self.check_not_empty(n_read)


class ArrayTable(Table):
    """An array in ``.npy``, mapped into memory, or in ``.npz``, which is read whole."""

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            is_archive = path.suffix.lower() == ".npz"
            values = _only_array(path) if is_archive else _mapped_array(path)
        except TableError:
            raise
        except (ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise TableError(f"{path} cannot be read as a file of numpy: {error}") from error
        self._values = check_array(values, source=self.source)
        self.n_rows = len(values)

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self._values), n_rows):
            yield np.array(self._values[start : start + n_rows])  # a copy, which may be written to


_SURPLUS = "\0surplus"  # takes the cells beyond the header's, which would be dropped in silence

_READERS: dict[str, type[Table]] = {
    ".csv": CsvTable,
    ".csv.gz": CsvTable,
    ".parquet": ParquetTable,
    ".feather": FeatherTable,
    ".npy": ArrayTable,
    ".npz": ArrayTable,
}


def _standard_input() -> TextIO:
    return io.TextIOWrapper(sys.stdin.buffer, encoding=ENCODING, newline="")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text) is not None


def _mapped_array(path: Path) -> NDArray[Any]:
    values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return values


def _only_array(path: Path) -> NDArray[Any]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
        name = "X" if "X" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise TableError(
                f"{path} holds the arrays {', '.join(names)}, expected one, or one named 'X'; "
                "save the rows by themselves."
            )
        values: NDArray[Any] = archive[name]
    return values


def _without_index(schema: Any) -> tuple[str, ...]:
    """Names of the columns; the index of a pandas frame is none of them."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    names = tuple(name for name in schema.names if name not in index)
    return names


def _to_frame(batch: Any, names: Sequence[str]) -> pd.DataFrame:
    frame = batch.select(list(names)).to_pandas(ignore_metadata=True)
    return frame.reset_index(drop=True)


@contextmanager
def _arrow_explained(source: str, what: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except FileNotFoundError:
        raise
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{source} cannot be read as {what}: {error}") from error
