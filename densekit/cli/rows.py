"""DATA as a model wants it: which columns are features, which are the condition, in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from densekit.data.cells import check_cells, check_complete
from densekit.data.table import Table
from densekit.errors import TableError

BYTES_OF_A_CHUNK = 2**23  # what a model makes of a chunk takes several times that
MAX_ROWS_OF_A_CHUNK = 100_000
_SHOWN = 5  # names in a message


class Chunk(NamedTuple):
    """Rows in the order of the file: features, and the condition where there is one."""

    X: Any
    y: Any


def training_rows(table: Table, target: Sequence[str] | None, drop: Sequence[str] | None) -> Chunk:
    """Read all of DATA to fit a model to it.

    The condition is labels if it is one column of text, booleans or whole numbers, and numbers if
    it is one of fractions, or several columns.
    """
    names = _features(table, target, drop)
    rows = table.read(None if names is None else [*names, *(target or ())])
    return next(_split(table, [rows], names, target, None))


def model_rows(
    model: Any, table: Table, target: Sequence[str] | None = None, drop: Sequence[str] | None = None
) -> Iterator[Chunk]:
    """Go through DATA in chunks, with the columns of a model in its order.

    Raises
    ------
    TableError
        A ValueError: DATA lacks columns of the model, or has others, or a cell is no number.
    """
    names = _features(table, target, drop)
    known = getattr(model, "feature_names_in_", None)
    if names is not None and known is not None:
        _compare(table, type(model).__name__, names, list(known))
        names = list(known)
    is_labelled = hasattr(model, "classes_")
    if names is None:
        first = next(table.chunks(1))
        n_rows = _chunk_rows(first[0].size)
        chunks = table.chunks(n_rows)
    else:
        columns = [*names, *(target or ())]
        chunks = table.chunks(_chunk_rows(len(columns)), columns)
    for chunk in _split(table, chunks, names, target, is_labelled):
        yield Chunk(_like_training(chunk.X, known), chunk.y)


def all_model_rows(
    model: Any, table: Table, target: Sequence[str] | None = None, drop: Sequence[str] | None = None
) -> Chunk:
    """All of what `model_rows` goes through, at once."""
    chunks = list(model_rows(model, table, target, drop))
    Xs, ys = [chunk.X for chunk in chunks], [chunk.y for chunk in chunks]
    is_frame = isinstance(Xs[0], pd.DataFrame)
    X = pd.concat(Xs, ignore_index=True) if is_frame else np.concatenate(Xs)
    return Chunk(X, None if ys[0] is None else np.concatenate(ys))


def _chunk_rows(n_numbers: int) -> int:
    return max(1, min(MAX_ROWS_OF_A_CHUNK, BYTES_OF_A_CHUNK // (8 * max(1, n_numbers))))


def _features(
    table: Table, target: Sequence[str] | None, drop: Sequence[str] | None
) -> list[str] | None:
    """Names of the columns that are neither condition nor left out; None for an array."""
    taken = [*(target or ()), *(drop or ())]
    if table.columns is None:
        if taken:
            raise TableError(
                f"{table.source} is an array without names, so there is no column {taken[0]!r}; "
                "give a table, such as CSV or Parquet."
            )
        return None
    for name in taken:
        if name not in table.columns:
            raise TableError(
                f"{table.source} has no column {name!r}; its columns are {_listed(table.columns)}."
            )
    names = [name for name in table.columns if name not in taken]
    if not names:
        raise TableError(f"{table.source} has no column left; --target and --drop take them all.")
    return names


def _compare(table: Table, who: str, names: list[str], known: list[str]) -> None:
    """Refuse a table whose columns are not those of the model; their order may differ."""
    missing = [name for name in known if name not in names]
    if missing:
        raise TableError(
            f"{table.source} lacks {_listed(missing)}, which {who} was fitted on; its columns are "
            f"{_listed(names)}."
        )
    surplus = [name for name in names if name not in known]
    if surplus:
        raise TableError(
            f"{table.source} has {_listed(surplus)}, which {who} was not fitted on; leave columns "
            f"out by --drop {surplus[0]}, or name a condition by --target."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    n_more = len(names) - _SHOWN
    return f"{shown} and {n_more} more" if n_more > 0 else shown


def _split(
    table: Table,
    chunks: Any,
    names: list[str] | None,
    target: Sequence[str] | None,
    is_labelled: bool | None,
) -> Iterator[Chunk]:
    """Take chunks apart into features and condition, once their cells are known to be good."""
    n_done = 0
    for rows in chunks:
        if names is None:
            yield Chunk(rows, None)
        else:
            where: dict[str, Any] = {"source": table.source, "first_row": n_done}
            y = _condition(rows[list(target)], is_labelled, where) if target else None
            yield Chunk(check_cells(rows[names], **where), y)
        n_done += len(rows)


def _condition(columns: pd.DataFrame, is_labelled: bool | None, where: dict[str, Any]) -> Any:
    for name in columns.columns:
        check_complete(columns[name], **where)
    first = columns.iloc[:, 0]
    if is_labelled is None:
        is_labelled = columns.shape[1] == 1 and not pd.api.types.is_float_dtype(first.dtype)
    if is_labelled:
        if columns.shape[1] > 1:
            raise TableError(f"Labels are one column, got --target {_listed(list(columns))}.")
        return np.asarray(first)
    return check_cells(columns, **where).to_numpy(np.float64)


def _like_training(X: Any, known: Any) -> Any:
    """Rows in the container that a model was fitted on: a frame if it has names, else an array."""
    if known is None:
        return np.asarray(X)
    is_flat = isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == len(known)
    return pd.DataFrame(X, columns=list(known)) if is_flat else X
