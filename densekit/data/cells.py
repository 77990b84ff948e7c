"""What a cell of a table must be: a finite number, or the error names its column and row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_array as as_array
from sklearn.utils.validation import validate_data

from densekit.data.frames import column_names
from densekit.errors import TableError


def check_cells(frame: pd.DataFrame, *, source: str, first_row: int = 0) -> pd.DataFrame:
    """Return the frame, once every cell of it is known to be a finite number.

    Parameters
    ----------
    frame : DataFrame of shape (n, n_columns)
        A piece of a table. Booleans count as numbers.
    source : str
        The table's name, for the error.
    first_row : int, default=0
        Place in the whole table of the piece's first row.

    Returns
    -------
    DataFrame
        The same object.

    Raises
    ------
    TableError
        A ValueError that names the column, the first row that is at fault (rows are counted from
        0), what stands there, and what to do.
    """
    for name in frame.columns:
        column = frame[name]
        kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else "O"
        if kind not in "biuf":
            _refuse_text(column, f"column {name!r} of {source}", first_row)
        values = column.to_numpy()
        if kind == "f" and not np.isfinite(values).all():
            _refuse_not_finite(values, f"column {name!r} of {source}", first_row)
    return frame


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
    ValueError
        Names the column and the first row with NaN or infinity, or is scikit-learn's own.
    """
    options = {"dtype": np.float64, "order": "C"} | options
    try:
        table: NDArray[np.float64] = validate_data(estimator, X, **options)
    except ValueError as error:
        if "NaN" in str(error) or "infinity" in str(error):
            _name_the_cell(X, type(estimator).__name__)
        raise
    return table


def _name_the_cell(X: Any, who: str) -> None:
    values = as_array(X, dtype=np.float64, ensure_all_finite=False)
    is_wrong = ~np.isfinite(values)
    if not is_wrong.any():
        return
    row, column = np.argwhere(is_wrong)[0]
    name = column_names(X, values.shape[1])[column]
    value = "NaN" if np.isnan(values[row, column]) else values[row, column]
    raise ValueError(
        f"{who} got {value} in row {row}, column {name!r} ({is_wrong.any(1).sum()} such rows), "
        "expected finite numbers; fill it in, or leave the rows or the column out."
    ) from None


def _refuse_text(column: pd.Series, where: str, first_row: int) -> None:
    """Raise the error of a column that holds something else than numbers, where it first does."""
    missing = column.isna().to_numpy()
    parsed = pd.to_numeric(column.astype(object), errors="coerce")
    wrong = np.asarray(pd.isna(parsed)) & ~missing
    if missing.any() and not (wrong.any() and wrong.argmax() < missing.argmax()):
        _refuse_missing(where, first_row + int(missing.argmax()))
    place = int(wrong.argmax())  # the first row where a whole column is of another type
    raise TableError(
        f"The {where} holds {column.iloc[place]!r} in row {first_row + place} (the first is 0), "
        "expected numbers; encode the column as numbers, or leave it out with --drop."
    )


def _refuse_not_finite(values: NDArray[Any], where: str, first_row: int) -> None:
    place = int((~np.isfinite(values)).argmax())
    if np.isnan(values[place]):
        _refuse_missing(where, first_row + place)
    raise TableError(
        f"The {where} holds {values[place]} in row {first_row + place} (the first is 0), expected "
        "finite numbers; replace it, or leave the row or the column out."
    )


def _refuse_missing(where: str, row: int) -> None:
    raise TableError(
        f"The {where} has a missing cell in row {row} (the first is 0); fill it in, or leave the "
        "row or the column out."
    )
