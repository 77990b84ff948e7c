"""What a cell of a table must be: a finite number, or the error names its column and row."""

from __future__ import annotations

import decimal
import shlex
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_array as as_array
from sklearn.utils.validation import validate_data

from densekit.data.frames import (
    MAX_COLUMNS_SHOWN,
    column_names,
    first_wrong_cell,
    is_number,
    shown_cell,
)
from densekit.exceptions import ColumnTypeError, PrecisionWarning, TableError

MAX_EXACT_INTEGER = 2**53  # up to here float64 has every whole number


def check_cells(frame: pd.DataFrame, *, source: str, first_row: int = 0) -> pd.DataFrame:
    """Return the frame with numbers alone, once every cell is known to be a finite one.

    Parameters
    ----------
    frame : DataFrame of shape (n, n_columns)
        A piece of a table. Booleans count as numbers.
    source : str
        The table's name, for the error.
    first_row : int, default=0
        Index in the whole table of the piece's first row.

    Returns
    -------
    DataFrame
        The same object, or a copy in which decimal numbers and whole numbers of any length are
        float64.

    Raises
    ------
    TableError
        A ValueError that names every column at fault, the first such row of each (rows are
        counted from 0), what stands there, and what to do.

    Warns
    -----
    PrecisionWarning
        Numbers have more digits than float64 keeps.
    """
    faults: dict[Any, str] = {}
    converted: dict[int, NDArray[np.float64]] = {}
    for i, name in enumerate(frame.columns):
        column = frame.iloc[:, i]
        values: NDArray[Any] | None = None
        if column.dtype == object and first_wrong_cell(column.to_numpy()) is None:
            values = converted[i] = _as_floats(column.to_numpy())
        elif isinstance(column.dtype, np.dtype):
            values = column.to_numpy()
        fault = _fault(column, values, first_row)
        if fault is not None:
            faults[name] = fault
        elif values is not None:
            _warn_of_lost_digits(column.to_numpy(), values, f"column {name!r} of {source}")
    if faults:
        raise TableError(_in_words(faults, source))
    if not converted:
        return frame
    columns = [converted.get(i, frame.iloc[:, i].to_numpy()) for i in range(frame.shape[1])]
    found = pd.DataFrame(dict(enumerate(columns)), index=frame.index)
    found.columns = frame.columns
    return found


def check_complete(column: pd.Series, *, source: str, first_row: int = 0) -> pd.Series:
    """Return a column of any type, once it is known to have no missing cell."""
    missing = column.isna().to_numpy()
    if missing.any():
        _refuse_missing(f"column {column.name!r} of {source}", first_row + int(missing.argmax()))
    return column


def check_array(values: NDArray[Any], *, source: str) -> NDArray[Any]:
    """Return an array of rows or images, once it is known to be one of numbers.

    Raises
    ------
    TableError
        It holds something else than real numbers, or has not 2 to 4 dimensions, or no rows.
    """
    if values.dtype.kind not in "biuf":
        raise TableError(
            f"{source} holds an array of type {values.dtype}, expected real numbers; convert it, "
            "as by X.astype(float)."
        )
    if values.ndim not in (2, 3, 4):
        raise TableError(
            f"{source} holds an array of shape {values.shape}, expected rows (n, n_columns) or "
            "images (n, height, width[, channels]); one column is X.reshape(-1, 1)."
        )
    if len(values) == 0:
        raise TableError(f"{source} has no rows; give at least one.")
    return values


def validate(estimator: Any, X: Any, **options: Any) -> NDArray[np.float64]:
    """Do what scikit-learn's `validate_data` does, and name the cell that is no finite number.

    Raises
    ------
    TableError
        A ValueError: names the column and the first row with NaN or infinity, or says what
        scikit-learn found.
    """
    options = {"dtype": np.float64, "order": "C"} | options
    try:
        table: NDArray[np.float64] = validate_data(estimator, X, **options)
    except (ValueError, TypeError) as error:
        if "NaN" in str(error) or "infinity" in str(error):
            _name_the_cell(X, type(estimator).__name__)
        text = str(error)
        if text.startswith("Complex"):  # and then shows the whole table
            text = text.partition("\n")[0] + "; give real numbers."
        kind = ColumnTypeError if isinstance(error, TypeError) else TableError
        raise kind(f"{type(estimator).__name__} got X that it cannot take: {text}") from None
    return table


def _name_the_cell(X: Any, source: str) -> None:
    values = as_array(X, dtype=np.float64, ensure_all_finite=False)
    is_wrong = ~np.isfinite(values)
    if not is_wrong.any():
        return
    row, column = np.argwhere(is_wrong)[0]
    name = column_names(X, values.shape[1])[column]
    value = "NaN" if np.isnan(values[row, column]) else values[row, column]
    raise TableError(
        f"{source} got {value} in row {row}, column {name!r} ({is_wrong.any(1).sum()} such rows), "
        "expected finite numbers; fill it in, or leave the rows or the column out."
    ) from None


def _as_floats(cells: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers of any kind as float64; infinity where one is too large."""

    def as_float(cell: Any) -> float:
        try:
            return float(cell)
        except OverflowError:
            return float("inf")

    return np.array([as_float(cell) for cell in cells], dtype=np.float64)


def _fault(column: pd.Series, values: NDArray[Any] | None, first_row: int) -> str | None:
    """What is wrong with a column where it first is; None where all is well."""
    if values is not None and values.dtype.kind in "biu":
        return None
    if values is not None and values.dtype.kind == "f":
        wrong = ~np.isfinite(values)
        if not wrong.any():
            return None
    elif column.dtype == object:
        wrong = np.array([not is_number(cell) for cell in column])
    else:
        parsed = pd.to_numeric(column.astype(object), errors="coerce")
        wrong = np.asarray(pd.isna(parsed))
        if not wrong.any():  # a whole column is of another type, though its cells look like numbers
            wrong = np.ones(len(column), dtype=bool)
    missing = column.isna().to_numpy()
    wrong = wrong | missing
    if not wrong.any():
        return None
    row = int(wrong.argmax())
    if missing[row]:
        return f"has a missing cell in row {first_row + row}"
    return f"holds {shown_cell(column.iloc[row])} in row {first_row + row}"


def _in_words(faults: dict[Any, str], source: str) -> str:
    """One message about all columns that are at fault."""
    if len(faults) == 1:
        name, fault = next(iter(faults.items()))
        advice = (
            "; fill it in, or leave the row or the column out."
            if fault.startswith("has a missing cell")
            else ", expected finite numbers; replace it, encode the column as numbers, or leave it "
            "out with --drop."
        )
        return f"The column {name!r} of {source} {fault} (the first is 0){advice}"
    shown = [f"{name!r} {fault}" for name, fault in list(faults.items())[:MAX_COLUMNS_SHOWN]]
    n_more = len(faults) - len(shown)
    more = f"; and {n_more} more" if n_more else ""
    drops = " ".join(f"--drop {shlex.quote(str(name))}" for name in list(faults)[: len(shown)])
    return (
        f"{len(faults)} columns of {source} hold something else than finite numbers (the first row "
        f"is 0): {'; '.join(shown)}{more}; fill the cells in, encode the columns as numbers, or "
        f"leave them out: {drops}"
    )


def _warn_of_lost_digits(cells: NDArray[Any], values: NDArray[np.float64], where: str) -> None:
    """Warn where whole or decimal numbers have more digits than float64 keeps."""
    if cells.dtype.kind in "iu":
        is_long = (cells > MAX_EXACT_INTEGER) | (cells < -MAX_EXACT_INTEGER)
        cells = cells[is_long].astype(object)
    elif cells.dtype != object:
        return
    if any(_loses_digits(cell) for cell in cells):
        warnings.warn(
            f"The {where} holds numbers of more digits than floating-point numbers keep (about "
            "16); the last ones are lost.",
            PrecisionWarning,
            stacklevel=3,
        )


def _loses_digits(cell: Any) -> bool:
    if isinstance(cell, int):
        return abs(cell) > MAX_EXACT_INTEGER and int(float(cell)) != cell
    return isinstance(cell, decimal.Decimal) and decimal.Decimal(repr(float(cell))) != cell


def _refuse_missing(where: str, row: int) -> None:
    raise TableError(
        f"The {where} has a missing cell in row {row} (the first is 0); fill it in, or leave the "
        "row or the column out."
    )
