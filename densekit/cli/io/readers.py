"""Tables in files, whole or in chunks: CSV, Parquet, Feather and numpy's own files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from densekit.cli.io.csv_format import CsvOptions
from densekit.cli.io.csv_table import CsvTable
from densekit.cli.io.json_table import JsonTable
from densekit.cli.io.table import STANDARD_INPUT, Table
from densekit.cli.io.text_source import COMPRESSED, is_pipe
from densekit.data.cells import check_array
from densekit.exceptions import MissingExtraError, TableError, shorten

READ_BUFFER_BYTES = 1 << 20  # of a column chunk of Parquet, which may be larger than memory


def open_table(path: str | Path, options: CsvOptions | None = None) -> Table:
    """Open a table by the ending of its name.

    Parameters
    ----------
    path : str or Path
        A file ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` or ``.json``, also with ``.gz``, ``.bz2``,
        ``.xz``, ``.zip`` or ``.zst`` behind; ``.parquet``, ``.feather``, ``.npy`` or ``.npz``; or
        ``-`` for CSV on standard input, as which pipes without an ending count. The first line of
        CSV holds the columns' names.
    options : CsvOptions, optional
        How a table in text is written; by default its first lines tell.

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
        return CsvTable(path, options)
    ending = table_format(path)
    if is_text(path):
        base = ending.removesuffix(path.suffix.lower()) if _is_packed(path) else ending
        return _TEXT_READERS.get(base, CsvTable)(path, options)
    reader = _READERS.get(ending)
    if reader is None:
        raise TableError(
            f"{path} has the ending {ending!r}, expected one of "
            f"{', '.join([*_TEXT_READERS, *_READERS])}, or - for CSV on standard input."
        )
    if options is not None and options != CsvOptions():
        raise TableError(
            f"{path} is no table in text; leave out what is said about separator, decimal mark, "
            "encoding and header."
        )
    return reader(path)


def is_text(path: str | Path) -> bool:
    """Whether a file is a table in text, by the ending of its name."""
    path = Path(path)
    ending = table_format(path).removesuffix(path.suffix.lower() if _is_packed(path) else "")
    return str(path) == STANDARD_INPUT or ending in _TEXT_READERS or _is_nameless_pipe(path)


def _is_nameless_pipe(path: Path) -> bool:
    """Whether a path is a pipe whose name says nothing, such as ``/dev/fd/63``."""
    return not path.suffix and path.exists() and is_pipe(path)


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in COMPRESSED


def table_format(path: Path) -> str:
    """The ending that says what a file is, such as ``.csv`` or ``.csv.gz``."""
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    is_packed = bool(endings) and endings[-1] in COMPRESSED
    return "".join(endings if is_packed else endings[-1:])


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


class ParquetTable(Table):
    """Parquet, batch by batch: memory does not grow with the file, whatever its row groups."""

    def __init__(self, path: Path):
        super().__init__(path)
        import_pyarrow(path)
        with _arrow_explained(self.source, "Parquet"), self._open() as file:
            self.columns = _without_index(file.schema_arrow)
            self.n_rows = file.metadata.num_rows

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        names = list(columns if columns is not None else self.columns or ())
        self.check_not_empty(self.n_rows or 0)
        with _arrow_explained(self.source, "Parquet"), self._open() as file:
            size = min(n_rows, self.n_rows or 1)
            for batch in file.iter_batches(batch_size=size, columns=names):
                if batch.num_rows > 0:
                    yield _to_frame(batch, names)

    def _open(self) -> Any:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(
            self.path, buffer_size=READ_BUFFER_BYTES, pre_buffer=False
        )


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
                batch.validate(full=True)  # or damaged offsets would be followed outside the file
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
            raise TableError(
                f"{path} cannot be read as a file of numpy: {shorten(error)}"
            ) from error
        self._values = check_array(values, source=self.source)
        self.n_rows = len(values)

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self._values), n_rows):
            yield np.array(self._values[start : start + n_rows])  # a copy, which may be written to


_TEXT_READERS: dict[str, Callable[[Path, CsvOptions | None], Table]] = {
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".txt": CsvTable,
    ".jsonl": JsonTable,
    ".ndjson": JsonTable,
    ".json": JsonTable,
}
_READERS: dict[str, Callable[[Path], Table]] = {
    ".parquet": ParquetTable,
    ".feather": FeatherTable,
    ".npy": ArrayTable,
    ".npz": ArrayTable,
}


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
        raise TableError(f"{source} cannot be read as {what}: {shorten(error)}") from error
