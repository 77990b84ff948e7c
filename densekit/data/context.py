"""Conditions: what a conditional density is given, as rows of context for its networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray

from densekit.data.frames import is_missing, shown_cell
from densekit.data.rows import to_tensor
from densekit.exceptions import ConditionWarning, ContextError, shorten

# Whole numbers are labels where they are so few, and numbers where there are more. Up to the second
# limit it is in doubt.
FEW_LABELS, MOST_LABELS = 20, 100
ROWS_PER_LABEL = 10  # that speak for labels where it is in doubt
MOST_SHOWN = 8  # labels that a message shows


class Condition(NamedTuple):
    """What came as `y`.

    Attributes
    ----------
    values : ndarray
        1-D, 2-D, or images.
    names : tuple of str or None
        Column names of a data frame, or the name of a series.
    is_text : bool
        Whether its type says that it is of labels: text, categories or booleans.
    """

    values: NDArray[Any]
    names: tuple[str, ...] | None
    is_text: bool


@dataclass(frozen=True)
class Labels:
    """Class labels, one-hot encoded.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    log_prior : ndarray of shape (n_classes,)
        Log of the (weighted) share of each class in the training data.
    """

    classes: NDArray[Any]
    log_prior: NDArray[np.float64]

    @property
    def size(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row of context."""
        return (self.size,)

    def is_known(self, y: NDArray[Any], source: str) -> NDArray[np.bool_]:
        """Whether each label was fitted, (n,); labels of another kind are a ContextError."""
        if y.size != len(y):
            raise ContextError(
                f"{source} got y of shape {y.shape}, but was fitted with labels; give one a row."
            )
        values = y.ravel()
        fitted, given = _kinds(self.classes), _kinds(values)
        for kind in given.keys() - fitted.keys():
            raise ContextError(
                f"{source} got the {kind} {shown_cell(given[kind])} as a label, but was fitted "
                f"with {shortened(self.classes.tolist())}, each a {' or '.join(fitted)}; give "
                "labels of the type that they had in fit."
            )
        return np.isin(values, self.classes)

    def encode(self, y: Any, source: str) -> NDArray[np.float64]:
        """One-hot rows; a label that was not fitted is a ContextError."""
        y = np.asarray(y)
        values, is_known = y.ravel(), self.is_known(y, source)
        if not is_known.all():
            unknown = list(dict.fromkeys(values[~is_known].tolist()))
            raise ContextError(
                f"{source} got the labels {shortened(unknown)}, but was fitted with "
                f"{shortened(self.classes.tolist())}."
            )
        return np.eye(len(self.classes))[np.searchsorted(self.classes, values)]

    def decode(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """The labels of one-hot rows."""
        return self.classes[rows.argmax(1)]

    def draw(self, n_samples: int, rng: np.random.Generator, source: str) -> NDArray[np.float64]:
        """One-hot rows of labels drawn by their frequency in the training data."""
        chosen = rng.choice(self.size, n_samples, p=np.exp(self.log_prior))
        return np.eye(self.size)[chosen]


@dataclass(frozen=True)
class Numbers:
    """Numbers, brought to a common scale by fixed maps of each column.

    Attributes
    ----------
    loc, scale : ndarray of shape (n_columns,)
        Of the first step.
    steps : tuple of Transform
        Fitted to the training data; without any, location and scale standardise.
    """

    loc: NDArray[np.float64]
    scale: NDArray[np.float64]
    steps: tuple[Any, ...] = ()

    @property
    def size(self) -> int:
        return len(self.loc)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row of context."""
        return (self.size,)

    def encode(self, y: Any, source: str) -> NDArray[np.float64]:
        values = np.asarray(y)
        if values.ndim == 1:  # many conditions of one number, or one of many
            is_one = values.shape == (self.size,) and self.size > 1
            values = values.reshape((1, -1) if is_one else (-1, 1))
        values = _finite_numbers(values, source)
        if values.shape[1] != self.size:
            raise ContextError(
                f"{source} got y with {values.shape[1]} columns, but was fitted with {self.size}."
            )
        if not self.steps:
            return np.asarray((values - self.loc) / self.scale)
        rows = to_tensor(np.ascontiguousarray(values))
        with torch.no_grad():
            for step in self.steps:
                rows = step(rows)[0]
        return rows.numpy()

    def draw(self, n_samples: int, rng: np.random.Generator, source: str) -> NDArray[np.float64]:
        raise ContextError(
            f"{source} was fitted with numbers as y, whose distribution it does not know; give `y`."
        )


Context = Labels | Numbers  # or what another room makes of arrays


def read_condition(y: Any, source: str) -> Condition:
    """What came as `y`: a frame or a series of any library, an array or a sequence.

    Raises
    ------
    ContextError
        It holds dates.
    """
    frame = nw.from_native(y, eager_only=True, allow_series=True, pass_through=True)
    names: tuple[str, ...] | None = None
    if isinstance(frame, nw.DataFrame):
        names = tuple(map(str, frame.columns))
        columns = list(frame.iter_columns())
    elif isinstance(frame, nw.Series):
        names = None if frame.name in (None, "") else (str(frame.name),)
        columns = [frame]
    else:
        try:
            values = np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)
        except (ValueError, TypeError) as error:
            raise ContextError(
                f"{source} got a y that is no array ({shorten(error)}); give a label or a row of "
                "numbers for each row of X."
            ) from None
        _refuse_dates(values.dtype.kind in "mM", None, source)
        return Condition(values, None, _is_text(values))
    for i, column in enumerate(columns):
        _refuse_dates(column.dtype.is_temporal(), None if names is None else names[i], source)
    arrays = [column.to_numpy() for column in columns]
    # Categories are labels even where they are numbers.
    is_text = any(
        not column.dtype.is_numeric() and (column.dtype != nw.Object or _is_text(array))
        for column, array in zip(columns, arrays, strict=True)
    )
    values = np.stack(arrays, 1) if isinstance(frame, nw.DataFrame) else arrays[0]
    return Condition(values, names, is_text)


def check_condition(y: Any, n_rows: int, names: Sequence[str] | None, source: str) -> Condition:
    """Return y, which has a row for each row of X.

    Parameters
    ----------
    y : array-like
    n_rows : int
    names : sequence of str or None
        Names that were fitted, which those of a frame or series must be, in the same order.
    source : str
        The estimator, for messages.

    Raises
    ------
    ContextError
        There is no y, its length is not that of X, or its names are others.
    """
    if y is None:
        raise ContextError(f"{source} has conditional=True and got no y; give labels or numbers.")
    found = read_condition(y, source)
    n_given = len(found.values) if found.values.ndim else 0
    if n_given != n_rows:
        raise ContextError(f"{source} got y with {n_given} rows, expected {n_rows}.")
    check_names(found.names, names, source)
    return found


def check_names(found: Sequence[str] | None, fitted: Sequence[str] | None, source: str) -> None:
    """Raise a ContextError where conditions have other names, or another order, than in `fit`."""
    if found is None or fitted is None or list(found) == list(fitted):
        return
    is_order = sorted(found) == sorted(fitted)
    what = "in another order than in fit" if is_order else "of other names than in fit"
    raise ContextError(
        f"{source} got y with the columns {shortened(found)}, {what}: expected "
        f"{shortened(fitted)}; give y[{list(fitted)!r}]."
    )


def fit_context(
    condition: Condition,
    weight: NDArray[np.float64],
    *,
    condition_type: str,
    fit_steps: Callable[[NDArray[np.float64]], tuple[Any, ...]],
    fit_arrays: Callable[[NDArray[Any], str], Any],
    source: str,
) -> Any:
    """Choose the encoding by y: labels, numbers, or arrays of more axes, which images know.

    Parameters
    ----------
    condition : Condition
        Of the rows that have weight.
    weight : ndarray of shape (n,)
    condition_type : {"auto", "labels", "numbers"}
    fit_steps : callable
        Fits the maps of numbers (n, n_columns) to the training data.
    fit_arrays : callable
        Describes conditions of more than two axes, or refuses them.
    source : str
        The estimator, for messages.

    Warns
    -----
    ConditionWarning
        Whether whole numbers are labels or numbers is in doubt; it says what was chosen.

    Raises
    ------
    ContextError
        y cannot be read as what it is meant to be.
    """
    y = condition.values
    if y.ndim > 2:
        return fit_arrays(y, source)
    is_column = y.ndim == 1 or y.shape[1] == 1
    wants_labels = condition_type == "labels"
    if condition_type == "auto" and is_column:
        wants_labels = condition.is_text or (y.ndim == 1 and _are_labels(y, source))
    if not wants_labels:
        return _fit_numbers(y if y.ndim == 2 else y[:, None], fit_steps, source)
    if not is_column:
        raise ContextError(
            f"{source} got y with {y.shape[1]} columns as labels, expected one; join them into one "
            "label for each row."
        )
    labels = y.ravel()
    kinds = _kinds(labels)
    if len(kinds) > 1:
        shown = ", ".join(f"the {kind} {shown_cell(label)}" for kind, label in kinds.items())
        raise ContextError(
            f"{source} got labels of several types as y, such as {shown}; give each row a label of "
            "one type."
        )
    try:
        classes, index = np.unique(labels, return_inverse=True)
    except TypeError:
        raise ContextError(
            f"{source} got labels as y that have no order, such as {shown_cell(labels[0])}; give "
            "text or numbers."
        ) from None
    share = np.bincount(index, weights=weight)
    return Labels(classes, np.log(share / share.sum()))


def _fit_numbers(
    y: NDArray[Any], fit_steps: Callable[[NDArray[np.float64]], tuple[Any, ...]], source: str
) -> Numbers:
    values = _finite_numbers(y, source)
    steps = fit_steps(values)
    return Numbers(steps[0].loc.numpy().copy(), steps[0].scale.numpy().copy(), steps)


def _finite_numbers(y: NDArray[Any], source: str) -> NDArray[np.float64]:
    """Conditions (n, n_columns) as finite numbers, or a ContextError that names the first that is
    none."""
    if y.ndim != 2 or y.dtype.kind == "c":
        raise ContextError(
            f"{source} got y of {y.dtype} and shape {y.shape}, expected real numbers, a row of "
            "them for each row of X."
        )
    for i, column in enumerate(y.T):
        try:
            numbers = column.astype(np.float64)
            is_wrong = ~np.isfinite(numbers)
        except (TypeError, ValueError):
            is_wrong = np.array([not isinstance(v, int | float | np.number) for v in column])
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise ContextError(
                f"{source} got {column[row]!r:.50} in row {row}, column {i} of y (the first is 0), "
                "expected finite numbers (labels are 1-D)."
            )
    return np.ascontiguousarray(y, dtype=np.float64)


def _kinds(labels: NDArray[Any]) -> dict[str, Any]:
    """An example of each kind of label: True is no 1, nor is "1"."""
    words = {"b": "boolean", "i": "number", "u": "number", "f": "number", "U": "text"}
    word = words.get(labels.dtype.kind)
    has_missing = labels.dtype.kind == "f" and np.isnan(labels).any()
    if word is not None and not has_missing:
        return {word: labels[0]} if len(labels) else {}
    return {_kind(label): label for label in labels.tolist()[::-1]}


def _kind(label: Any) -> str:
    if is_missing(label):
        return "missing value"
    if isinstance(label, bool | np.bool_):
        return "boolean"
    if isinstance(label, int | float | np.number):
        return "number"
    return "text" if isinstance(label, str) else type(label).__name__


def _is_text(y: NDArray[Any]) -> bool:
    """Whether an array holds anything that is no number."""
    if y.dtype.kind != "O":
        return y.dtype.kind in "bUS"
    return not all(isinstance(value, int | float | np.number) for value in y.ravel().tolist())


def _are_labels(y: NDArray[Any], source: str) -> bool:
    """Whether numbers (n,) are labels, as few whole numbers are."""
    if y.dtype.kind == "c":
        return False  # and no numbers that a density could be given, as is then said
    numbers = np.asarray(y, dtype=np.float64)
    if not np.isfinite(numbers).all() or (numbers != np.floor(numbers)).any():
        return False
    n_labels, n_rows = len(np.unique(numbers)), len(numbers)
    if n_labels <= FEW_LABELS and (n_rows >= 2 * n_labels or n_labels <= 2):
        return True
    if n_labels > MOST_LABELS:
        return False
    are_labels = n_labels <= FEW_LABELS or n_rows >= ROWS_PER_LABEL * n_labels
    what, other = ("labels", "numbers") if are_labels else ("numbers", "labels")
    warnings.warn(
        f"{source} got y with {n_labels} different whole numbers in {n_rows} rows and takes them "
        f"for {what}; if they are {other}, set condition_type={other!r}, and if not, "
        f"condition_type={what!r}.",
        ConditionWarning,
        stacklevel=6,
    )
    return are_labels


def _refuse_dates(is_date: bool, name: str | None, source: str) -> None:
    if is_date:
        where = "y" if name is None else f"the column {name!r} of y"
        raise ContextError(
            f"{source} got dates in {where}, expected labels or numbers; give them as numbers, "
            "such as days since the first."
        )


def shortened(values: Sequence[Any]) -> str:
    """Values for a message: the first few, and how many there are."""
    shown = [str(value) if isinstance(value, np.generic) else repr(value) for value in values]
    if len(shown) <= MOST_SHOWN:
        return f"[{', '.join(shown)}]"
    return f"[{', '.join(shown[:MOST_SHOWN])}, ...] ({len(shown)} in all)"
