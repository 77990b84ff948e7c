"""CSV: what pandas would pass over in silence is an error here."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from densekit.data.table import STANDARD_INPUT, Table
from densekit.errors import TableError

ENCODING = "utf-8-sig"  # of CSV; the mark that some programs write in front is skipped
_SURPLUS = "\0surplus"  # takes the cells beyond the header's, which would be dropped in silence


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


def _standard_input() -> TextIO:
    return io.TextIOWrapper(sys.stdin.buffer, encoding=ENCODING, newline="")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text) is not None
