"""Tables in text: CSV and its relatives; what pandas would pass over in silence is an error."""

from __future__ import annotations

import csv
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from densekit.cli.io import csv_names
from densekit.cli.io.csv_format import (
    BLANKS,
    COMMENT,
    INDEX_NAMES,
    CsvOptions,
    convert,
    find_format,
    read_header,
)
from densekit.cli.io.table import Table
from densekit.cli.io.text_source import TextSource
from densekit.exceptions import TableError

_SURPLUS = "\0surplus"  # takes the cells beyond the header's, which would be dropped in silence
_LEFT_OUT = "\0left out "


class CsvTable(Table):
    """Text with separators, compressed or not, in a file or on standard input.

    How it is written is found by its first lines, unless the options say it; `notes` tells what is
    not as in plain CSV.
    """

    def __init__(self, path: Path, options: CsvOptions | None = None):
        super().__init__(path)
        options = options or CsvOptions()
        with self._explained():
            self._text = TextSource(path, options.encoding)
            self._format = find_format(
                self._text.lines, self._text.encoding, options, source=self.source
            )
        self.is_once = self._text.is_once
        names = [csv_names.as_read(name) for name in self._format.names]
        self._names, self._blank = self._name_columns(names)
        self.columns = tuple(name for name in self._names if not name.startswith(_LEFT_OUT))
        if self._format.notes:
            self.notes.insert(0, f"read {self.source} with {', '.join(self._format.notes)}")

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        found, n_read = self._format, 0
        wanted = list(self.columns or ()) if columns is None else list(columns)
        with self._explained(), self._text.open() as file:
            self._skip_to_rows(file)
            # A blank line is a missing cell in a table of one column, and nothing in others.
            reader = pd.read_csv(
                file,
                sep=found.separator,
                decimal=found.decimal,
                comment=COMMENT if found.has_comments else None,
                names=[*self._names, _SURPLUS],
                header=None,
                dtype={self._names[i]: "str" for i in found.percentages},
                chunksize=min(n_rows, np.iinfo(np.int32).max),
                index_col=False,
                skip_blank_lines=len(self._names) > 1 or found.has_comments,
                skipinitialspace=found.separator != BLANKS,
                low_memory=False,
            )
            for chunk in reader:
                self._check_width(chunk, n_read)
                n_read += len(chunk)
                if len(chunk) > 0:
                    yield self._converted(chunk[wanted])
        self.check_not_empty(n_read)

    def _converted(self, chunk: pd.DataFrame) -> pd.DataFrame:
        """Numbers where pandas read text, of columns that are numbers in the format found."""
        if self._format.thousands is None and not self._format.percentages:
            return chunk
        position = {name: i for i, name in enumerate(self._names)}
        columns = {}
        for name in chunk.columns:
            i, column = position[name], chunk[name]
            is_percentage = i in self._format.percentages
            if i in self._format.numbers:
                column = convert(column, self._format, is_percentage=is_percentage)
            columns[name] = column
        return pd.DataFrame(columns)

    def _skip_to_rows(self, file: TextIO) -> None:
        for _ in range(self._format.n_lines_before):
            next(file, None)
        if self._format.header_follows:
            read_header(file, self._format.separator)

    def _name_columns(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Names for pandas; what is left out has one of its own, and is blank unless an index."""
        found, blank = list(names), []
        if names and names[0] in INDEX_NAMES and len(names) > 1:
            found[0] = f"{_LEFT_OUT}0"
            self.notes.append(
                f"left out the first column of {self.source}, which has no name: the index of a "
                "data frame"
            )
        for i in range(len(names) - 1, 0, -1):  # separators at the end of each line
            if names[i]:
                break
            found[i] = f"{_LEFT_OUT}{i}"
            blank.append(found[i])
        unnamed = [i for i, name in enumerate(found) if not name]
        if unnamed:
            raise TableError(f"Column {unnamed[0]} of {self.source} has no name; give it one.")
        twice = sorted(name for name, count in Counter(found).items() if count > 1)
        if twice:
            raise TableError(f"{self.source} has several columns named {twice[0]!r}; rename them.")
        return found, blank

    def _check_width(self, chunk: pd.DataFrame, n_read: int) -> None:
        for name in (_SURPLUS, *self._blank):
            has_more = chunk[name].notna().to_numpy()
            if has_more.any():
                row = n_read + int(has_more.argmax())
                n_columns = len(self._names) - len(self._blank)
                raise TableError(
                    f"Row {row} of {self.source} (the first is 0) has more than the {n_columns} "
                    "cells of the header; mend that line, or say by --sep what stands between "
                    "cells."
                )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except TableError:
            raise
        except UnicodeDecodeError as error:
            raise TableError(
                f"{self.source} cannot be read as CSV: {error}; give its encoding, such as "
                "--encoding latin-1."
            ) from error
        except _FOREIGN as error:
            raise TableError(f"{self.source} cannot be read as CSV: {error}") from error
        except OSError as error:
            if error.filename is not None or error.errno is not None:
                raise
            raise TableError(f"{self.source} cannot be read as CSV: {error}") from error


# A gzip.BadGzipFile and pyarrow's errors are OSErrors that name no file.
_FOREIGN: tuple[Any, ...] = (
    *(ValueError, EOFError, csv.Error, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, NotImplementedError),
)
