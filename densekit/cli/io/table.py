"""What a file of rows is, whatever its format."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from densekit.exceptions import TableError

STANDARD_INPUT = "-"


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
    is_once : bool
        Whether the rows can be read only once, as those on standard input.
    notes : list of str
        How the file was read, where it is not plain, for whoever wants to know.
    """

    columns: tuple[str, ...] | None = None
    n_rows: int | None = None
    is_once: bool = False

    def __init__(self, path: Path):
        self.path = path
        self.source = "standard input" if str(path) == STANDARD_INPUT else str(path)
        self.notes: list[str] = []

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


class HeldTable(Table):
    """All rows of a table that can be read only once, held in memory."""

    def __init__(self, table: Table):
        super().__init__(table.path)
        self.columns = table.columns
        self._rows = table.read()
        self.n_rows = len(self._rows)

    def chunks(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
        rows = self._rows if columns is None else self._rows[list(columns)]
        for start in range(0, len(rows), n_rows):
            yield rows.iloc[start : start + n_rows]
