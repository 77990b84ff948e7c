"""JSON: one object a line, or one array of objects, as pandas and databases write them."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from densekit.cli.io.csv_format import CsvOptions
from densekit.cli.io.table import Table
from densekit.cli.io.text_source import PLAIN_ENCODING, TextSource
from densekit.exceptions import TableError


class JsonTable(Table):
    """Objects with a value for each column; the first one's names are the columns."""

    def __init__(self, path: Path, options: CsvOptions | None = None):
        super().__init__(path)
        try:
            self._text = TextSource(path, None if options is None else options.encoding)
        except (EOFError, OSError) as error:
            if getattr(error, "filename", None) is not None:
                raise
            raise TableError(f"{self.source} cannot be read as JSON: {error}") from error
        if self._text.encoding != PLAIN_ENCODING:
            self.notes.append(f"read {self.source} with the encoding {self._text.encoding}")
        self._held: list[dict[str, Any]] | None = None  # of a stream, which is read once
        with contextlib.closing(self._objects()) as rows:
            first = next(rows, None)
            if self._text.is_once and first is not None:
                self.columns = tuple(first)
                self._held = [first, *rows]
        if first is None:
            raise TableError(f"{self.source} has no rows; give at least one.")
        self.columns = tuple(first)

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        names = list(self.columns or () if columns is None else columns)
        rows = self._objects() if self._held is None else iter(self._held)
        while part := list(itertools.islice(rows, n_rows)):
            yield pd.DataFrame({name: [row.get(name) for row in part] for name in names})

    def _objects(self) -> Generator[dict[str, Any], None, None]:
        known = set(self.columns or ())
        try:
            with self._text.open() as file:
                for i, row in enumerate(_parsed(file, self._text.lines)):
                    if not isinstance(row, dict):
                        raise TableError(
                            f"Row {i} of {self.source} (the first is 0) is {str(row)[:40]!r}, "
                            'expected an object such as {"a": 1.5}.'
                        )
                    more = [name for name in row if name not in known] if known else []
                    if more:
                        raise TableError(
                            f"Row {i} of {self.source} (the first is 0) has {more[0]!r}, which "
                            "the first row has not; give all rows the same names."
                        )
                    yield row
        except TableError:
            raise
        except (ValueError, EOFError, RecursionError) as error:
            raise TableError(f"{self.source} cannot be read as JSON: {error}") from error


def _parsed(file: Any, lines: Sequence[str]) -> Iterator[Any]:
    """Objects line by line, or those of one array, which must fit into memory."""
    start = next((line for line in lines if line.strip()), "")
    if start.lstrip().startswith("["):
        yield from json.load(file)
        return
    for line in file:
        if line.strip():
            yield json.loads(line)
