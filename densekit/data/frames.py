"""Tables as callers give them: containers that hold numbers, or an error that names the columns."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse
import torch
from numpy.typing import NDArray

from densekit.exceptions import ColumnTypeError, TableError

MAX_COLUMNS_SHOWN = 20
MAX_CHARACTERS_OF_A_CELL = 60
# What pandas' `infer_dtype` calls object arrays that are numbers throughout.
_NUMERIC_KINDS = ("floating", "integer", "mixed-integer-float", "decimal", "boolean")
_WORDS = (
    (("String",), "text"),
    (("Categorical", "Enum"), "categories"),
    (("Datetime", "Date"), "dates"),
    (("Time",), "times of day"),
    (("Duration",), "durations"),
    (("List", "Array", "Struct"), "lists or records"),
    (("Int128", "UInt128"), "whole numbers of 128 bits"),
)
_ROWS = "expected rows of numbers (n, n_features), as an array, a data frame or a list of lists"
_ADVICE = (
    "expected numbers; encode as numbers what belongs to the rows (text and categories by "
    "OneHotEncoder or OrdinalEncoder, dates as days since a date), or leave it out"
)


def as_numbers(X: Any, *, source: str) -> Any:
    """Return X in a container that scikit-learn's checks take, once its columns hold numbers.

    Parameters
    ----------
    X : array, tensor, data frame or nested lists
    source : str
        Who got X, for the error.

    Returns
    -------
    array or data frame
        X itself where it can be taken as it is. Tensors and masked arrays become arrays.

    Raises
    ------
    ColumnTypeError
        A ValueError and TypeError: columns hold text, categories, dates, or are sparse; the message
        names every one.
    TableError
        A ValueError: a cell is masked, the frame is lazy, or X is no table at all.
    """
    if scipy.sparse.issparse(X):
        raise ColumnTypeError(
            f"{source} got a sparse {type(X).__name__}, expected dense numbers; make it dense, as "
            "by X.toarray()."
        )
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    if isinstance(X, np.ma.MaskedArray):
        return _unmasked(X, source)
    try:
        frame = X if isinstance(X, np.ndarray) else nw.from_native(X, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        twice = " ".join(str(error).split())
        raise TableError(
            f"{source} got X with two columns of the same name; rename one: {twice}"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        raise TableError(
            f"{source} got a lazy frame ({_class_of(X)}), expected rows in memory; call its "
            "collect() (compute() of Dask) first."
        )
    if isinstance(frame, nw.DataFrame):
        refuse(list(_frame_faults(frame)), source)
        return X
    values = _as_array(X, source)
    refuse(list(_array_faults(values)), source)
    if values.ndim < 2:
        raise TableError(
            f"{source} got X of shape {values.shape}, {_ROWS}. Reshape your data: one column is "
            "X.reshape(-1, 1), one row X.reshape(1, -1)."
        )
    return X


def refuse(faults: list[str], source: str) -> None:
    """Raise one error about all columns that are at fault, if any."""
    if not faults:
        return
    n_more = len(faults) - MAX_COLUMNS_SHOWN
    shown = "; ".join(faults[:MAX_COLUMNS_SHOWN])
    more = f"; and {n_more} more columns" if n_more > 0 else ""
    raise ColumnTypeError(f"{source} got X whose {shown}{more}; {_ADVICE}.")


def shown_cell(cell: Any) -> str:
    """A cell as an error shows it, however long it is."""
    text = repr(cell.item() if isinstance(cell, np.number | np.bool_) else cell)
    if len(text) > MAX_CHARACTERS_OF_A_CELL:
        return text[:MAX_CHARACTERS_OF_A_CELL] + "..."
    return text


def column_names(X: Any, n_columns: int) -> list[Any]:
    """Names of the columns of a data frame, or the numbers of those of an array."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return list(frame.columns) if isinstance(frame, nw.DataFrame) else list(range(n_columns))


def is_missing(cell: Any) -> bool:
    """Whether a cell is None, NaN, pandas' NA or NaT."""
    return bool(np.isscalar(pd.isna(cell)) and pd.isna(cell))


def is_number(cell: Any) -> bool:
    """Whether a cell of an object column is a real number."""
    if isinstance(cell, bool | np.bool_ | decimal.Decimal):
        return True
    return isinstance(cell, numbers.Real) and not isinstance(cell, np.timedelta64)


def first_wrong_cell(cells: NDArray[Any]) -> int | None:
    """Index of the first cell of an object array that is no number; None where all are."""
    if pd.api.types.infer_dtype(cells, skipna=False) in _NUMERIC_KINDS:
        return None
    return next((i for i, cell in enumerate(cells) if not is_number(cell)), None)


def _unmasked(X: Any, source: str) -> NDArray[Any]:
    mask = np.ma.getmaskarray(X)
    if mask.any():
        where = ", ".join(map(str, np.argwhere(mask)[0]))
        raise TableError(
            f"{source} got a masked array with {int(mask.sum())} masked cells, the first at "
            f"({where}), expected finite numbers; masked cells are missing: fill them in, as by "
            "X.filled(value), or leave their rows or columns out."
        )
    return np.asarray(X)


def _frame_faults(frame: Any) -> Iterator[str]:
    """What is wrong with each column, which is not taken by its name: names may be numbers."""
    for name, column in zip(frame.columns, frame.iter_columns(), strict=True):
        dtype = column.dtype
        if (dtype.is_numeric() and "Int128" not in str(dtype)) or dtype == nw.Boolean:
            continue
        where = f"column {name!r}"
        native = column.to_native()
        if isinstance(getattr(native, "dtype", None), pd.SparseDtype):
            yield f"{where} is sparse (make it dense, as by X.sparse.to_dense())"
        elif dtype == nw.Object:
            yield from _object_faults(column.to_numpy(), where)
        else:
            yield _typed_fault(column, str(getattr(native, "dtype", dtype)), where)


def _typed_fault(column: Any, native_type: str, where: str) -> str:
    kind = str(column.dtype).partition("(")[0]
    word = next((word for kinds, word in _WORDS if kind in kinds), f"values of type {native_type}")
    cells = column.head(1).to_list() if word in ("text", "categories", "dates") else []
    example = f" ({shown_cell(cells[0])} in row 0)" if cells else ""
    return f"{where} holds {word}{example}"


def _object_faults(cells: NDArray[Any], where: str) -> Iterator[str]:
    row = first_wrong_cell(cells)
    row = _first_too_large(cells) if row is None else row
    if row is None:
        return
    cell = cells[row]
    if is_missing(cell):
        yield f"{where} has a missing cell in row {row} ({cell!r}; fill it in)"
        return
    try:
        float(cell)
        reason = f"a {type(cell).__name__}"
    except (TypeError, ValueError, OverflowError) as error:
        reason = str(error)[: 2 * MAX_CHARACTERS_OF_A_CELL]
    yield f"{where} holds {shown_cell(cell)} in row {row} ({reason})"


def _first_too_large(cells: NDArray[Any]) -> int | None:
    """Index of the first number that no float64 is near to; None where all fit."""
    try:
        cells.astype(np.float64)
    except OverflowError:
        return next(i for i in range(len(cells)) if _is_too_large(cells[i]))
    return None


def _is_too_large(cell: Any) -> bool:
    try:
        float(cell)
    except OverflowError:
        return True
    return False


def _as_array(X: Any, source: str) -> NDArray[Any]:
    """An array or nested lists as an array; what is neither is an error."""
    try:
        values = np.asarray(X)
    except (ValueError, TypeError) as error:
        raise TableError(f"{source} got rows of unequal length as X ({error}); {_ROWS}.") from None
    if values.ndim == 0 and values.dtype.kind not in "biufc":
        raise ColumnTypeError(f"{source} got {shown_cell(X)} ({type(X).__name__}) as X; {_ROWS}.")
    return values


def _array_faults(values: NDArray[Any]) -> Iterator[str]:
    """What is wrong with an array that holds no real numbers."""
    kind = values.dtype.kind
    if kind in "biufc":
        return
    if kind == "O":
        columns = [values] if values.ndim == 1 else np.moveaxis(values, 1, 0)
        for i, cells in enumerate(columns):
            yield from _object_faults(np.asarray(cells).reshape(-1), f"column {i}")
        return
    words = {"M": "dates", "m": "durations", "U": "text", "S": "text"}
    word = words.get(kind, "records")
    yield f"array holds {word} (of type {values.dtype})"


def _class_of(X: Any) -> str:
    return f"{type(X).__module__.partition('.')[0]}.{type(X).__qualname__}"


def column_index(key: Any, names: Sequence[Any] | None, n_features: int) -> int | None:
    """Index of a column given by name or by number; None when there is no such column.

    Where the names themselves are no text, as those of a frame of wavelengths, a number is a name.
    """
    if names is not None and key in names:
        return list(names).index(key)
    if isinstance(key, str) or (names is not None and not all(isinstance(n, str) for n in names)):
        return None
    is_number = isinstance(key, int | np.integer) and 0 <= key < n_features
    return int(key) if is_number else None
