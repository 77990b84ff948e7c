"""DATA as a model wants it: which columns are features, which are the condition, in chunks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import typer

from densekit.cli.io.table import Table
from densekit.cli.models import conditional_part
from densekit.data.cells import check_cells, check_complete
from densekit.exceptions import TableError

BYTES_OF_A_CHUNK = 2**23  # what a model makes of a chunk takes several times that
MAX_ROWS_OF_A_CHUNK = 100_000
_SHOWN = 5  # names in a message


class Chunk(NamedTuple):
    """Rows in the order of the file: features, and the condition where there is one."""

    X: Any
    y: Any


@dataclass(frozen=True)
class Choice:
    """Which columns of DATA are what, as the options of a command say it.

    Attributes
    ----------
    target : sequence of str
        Columns of the condition.
    drop : sequence of str
        Columns that are left out.
    keep : sequence of str
        Columns that are features; all others are left out. Empty: all are.
    condition_type : {"auto", "labels", "numbers"}
        What the condition is taken for in a fit.
    """

    target: Sequence[str] = ()
    drop: Sequence[str] = ()
    keep: Sequence[str] = ()
    condition_type: str = "auto"

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for option in ("keep", "drop", "target"):
            for name in getattr(self, option):
                if name in seen:
                    before = seen[name]
                    fault = (
                        f"--{option} {name} stands twice"
                        if before == option
                        else f"the column {name!r} stands under --{before} and --{option}"
                    )
                    raise typer.BadParameter(f"{fault}; give it once.")
                seen[name] = option


def training_rows(table: Table, choice: Choice) -> Chunk:
    """Read all of DATA to fit a model to it.

    The condition is a Series of labels, or a frame of numbers: those of several columns, of one
    column of fractions, or what `choice` says.
    """
    names = _features(table, choice)
    rows = table.read(None if names is None else [*names, *choice.target])
    return next(_split(table, [rows], names, choice.target, choice.condition_type))


def model_rows(model: Any, table: Table, choice: Choice | None = None) -> Iterator[Chunk]:
    """Go through DATA in chunks, with the columns of a model in its order.

    Raises
    ------
    TableError
        A ValueError: DATA lacks columns of the model, or has others, or a cell is no number.
    """
    choice = choice or Choice()
    names = _features(table, choice)
    known = getattr(model, "feature_names_in_", None)
    conditional = conditional_part(model)
    target = _in_the_order_of_the_model(conditional, choice.target)
    if names is not None and known is not None:
        _compare(table, model, names, list(known))
        names = list(known)
    if names is None:
        first = next(table.chunks(1))
        chunks = table.chunks(_chunk_rows(first[0].size))
    else:
        columns = [*names, *target]
        chunks = table.chunks(_chunk_rows(len(columns)), columns)
    classes = getattr(conditional, "classes_", None)
    condition_type = "numbers" if classes is None else "labels"
    for chunk in _split(table, chunks, names, target, condition_type):
        y = chunk.y if classes is None else _like_labels(chunk.y, classes)
        yield Chunk(_like_training(chunk.X, known), y)


def all_model_rows(model: Any, table: Table, choice: Choice | None = None) -> Chunk:
    """All of what `model_rows` goes through, at once."""
    chunks = list(model_rows(model, table, choice))
    Xs, ys = [chunk.X for chunk in chunks], [chunk.y for chunk in chunks]
    is_frame = isinstance(Xs[0], pd.DataFrame)
    X = pd.concat(Xs, ignore_index=True) if is_frame else np.concatenate(Xs)
    return Chunk(X, None if ys[0] is None else pd.concat(ys, ignore_index=True))


def check_names(table: Table, names: Iterable[str]) -> None:
    """Refuse names that no column has; one error names them all.

    Raises
    ------
    TableError
        A ValueError: there is no such column, or the table is an array without names.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return
    if table.columns is None:
        raise TableError(
            f"{table.source} is an array without names, so there is no column {wanted[0]!r}; "
            "give a table, such as CSV or Parquet."
        )
    known = set(table.columns)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise TableError(
            f"{table.source} has no column {listed(unknown)}; {_hint(unknown[0], table.columns)}"
            f"its columns are {listed(table.columns)}."
        )


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    n_more = len(names) - _SHOWN
    return f"{shown} and {n_more} more" if n_more > 0 else shown


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _chunk_rows(n_numbers: int) -> int:
    return max(1, min(MAX_ROWS_OF_A_CHUNK, BYTES_OF_A_CHUNK // (8 * max(1, n_numbers))))


def _features(table: Table, choice: Choice) -> list[str] | None:
    """Names of the columns that are neither condition nor left out; None for an array."""
    check_names(table, [*choice.target, *choice.drop, *choice.keep])
    if table.columns is None:
        return None
    taken, kept = {*choice.target, *choice.drop}, set(choice.keep or table.columns)
    names = [name for name in table.columns if name in kept and name not in taken]
    if not names:
        raise TableError(f"{table.source} has no column left; --target and --drop take them all.")
    return names


def _in_the_order_of_the_model(model: Any, target: Sequence[str]) -> list[str]:
    """The condition's columns as the model knows them, by name, whatever order they are given in.

    Raises
    ------
    TableError
        A ValueError: they are not those that the model was fitted on.
    """
    known = getattr(model, "condition_names_in_", None)
    if known is None or not target:
        return list(target)
    names = [str(name) for name in known]
    if sorted(names) != sorted(target):
        raise TableError(
            f"The condition is {listed(list(target))}, but {type(model).__name__} was fitted with "
            f"{listed(names)}; give {' '.join(f'--target {name}' for name in names[:_SHOWN])}."
        )
    return names


def _compare(table: Table, model: Any, names: list[str], known: list[str]) -> None:
    """Refuse a table whose columns are not those of the model; their order may differ."""
    source = type(model).__name__
    given, fitted = set(names), set(known)
    missing = [name for name in known if name not in given]
    if missing:
        raise TableError(
            f"{table.source} lacks {listed(missing)}, which {source} was fitted on; "
            f"{_hint(missing[0], names)}its columns are {listed(names)}."
        )
    surplus = [name for name in names if name not in fitted]
    if surplus:
        names_of_condition = getattr(conditional_part(model), "condition_names_in_", ())
        condition = {str(name) for name in names_of_condition}
        advice = (
            f"give its condition by --target {surplus[0]}, or leave it out by --drop {surplus[0]}."
            if surplus[0] in condition
            else f"leave columns out by --drop {surplus[0]}, or name a condition by --target."
        )
        raise TableError(
            f"{table.source} has {listed(surplus)}, which {source} was not fitted on; {advice}"
        )


def _split(
    table: Table,
    chunks: Any,
    names: list[str] | None,
    target: Sequence[str],
    condition_type: str,
) -> Iterator[Chunk]:
    """Take chunks apart into features and condition, once their cells are known to be good."""
    n_done = 0
    for rows in chunks:
        if names is None:
            yield Chunk(rows, None)
        else:
            where: dict[str, Any] = {"source": table.source, "first_row": n_done}
            X = check_cells(rows[names], **where)
            y = _condition(rows[list(target)], condition_type, where) if target else None
            yield Chunk(X, y)
        n_done += len(rows)


def _condition(columns: pd.DataFrame, condition_type: str, where: dict[str, Any]) -> Any:
    """A Series of labels or a frame of numbers, with the names of the columns."""
    for name in columns.columns:
        check_complete(columns[name], **where)
    first = columns.iloc[:, 0]
    if condition_type == "auto":
        is_one = columns.shape[1] == 1 and not pd.api.types.is_float_dtype(first.dtype)
        condition_type = "labels" if is_one else "numbers"
    if condition_type == "labels":
        if columns.shape[1] > 1:
            raise TableError(f"Labels are one column, got --target {listed(list(columns))}.")
        return first
    return check_cells(columns, **where).astype(np.float64)


def _like_labels(y: Any, classes: Any) -> Any:
    """Labels as text where those of the model are: a chunk of numbers is read as numbers."""
    are_text = len(classes) > 0 and isinstance(classes[0], str)
    return y.map(str) if y is not None and are_text else y


def _like_training(X: Any, known: Any) -> Any:
    """Rows in the container that a model was fitted on: a frame if it has names, else an array."""
    if known is None:
        return np.asarray(X)
    is_flat = isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == len(known)
    return pd.DataFrame(X, columns=list(known)) if is_flat else X
