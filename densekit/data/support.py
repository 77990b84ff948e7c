"""Declared bounds of the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.data.frames import column_index
from densekit.exceptions import SupportError

_NAMED = {"real": (-np.inf, np.inf), "positive": (0.0, np.inf), "unit": (0.0, 1.0)}
_EXPECTED = (
    "expected 'real', 'positive', 'unit' or (low, high) with low < high, "
    "inf where there is no bound"
)


def parse_support(
    support: Any, n_features: int, names: Sequence[str] | None, *, source: str
) -> NDArray[np.float64]:
    """Turn the parameter `support` into bounds of shape (2, n_features).

    Parameters
    ----------
    support : str, (low, high), list or dict
        One value for all columns, a list with a value for each, or a dict from column names or
        numbers to values, where columns that are not named are real.
    n_features : int
    names : sequence of str or None
        Column names of the training data.
    source : str
        The estimator, for the error.

    Raises
    ------
    SupportError
        A ValueError; it says which column is wrong and what was expected.
    """
    if isinstance(support, Mapping):
        values: list[Any] = ["real"] * n_features
        for key, value in support.items():
            place = column_index(key, names, n_features)
            if place is None:
                known = list(names) if names is not None else f"0 to {n_features - 1}"
                raise SupportError(
                    f"{source} got a support for the column {key!r}; columns are {known}."
                )
            values[place] = value
    elif isinstance(support, list):
        if len(support) != n_features:
            raise SupportError(
                f"{source} got a support for {len(support)} columns, but X has {n_features}."
            )
        values = support
    else:
        values = [support] * n_features
    return np.array([_bounds(value, source) for value in values], dtype=np.float64).T


def check_inside(X: NDArray[np.float64], bounds: NDArray[np.float64], *, source: str) -> None:
    """Raise a SupportError that names the first row and column outside the bounds."""
    is_outside = (bounds[0] > X) | (bounds[1] < X)
    if is_outside.any():
        row, column = np.argwhere(is_outside)[0]
        low, high = bounds[:, column]
        raise SupportError(
            f"{source} got {float(X[row, column])!r} in row {row}, column {column}, outside the "
            f"declared support [{low}, {high}] ({is_outside.any(1).sum()} such rows); remove these "
            "rows or widen `support`."
        )


def check_levels(X: NDArray[np.float64], levels: Sequence[float], *, source: str) -> None:
    """Raise a SupportError that names the first value that is none of the levels."""
    is_unknown = ~np.isin(X, levels)
    if is_unknown.any():
        row, column = np.argwhere(is_unknown)[0]
        raise SupportError(
            f"{source} got {float(X[row, column])!r} in row {row}, column {column}, expected one "
            f"of {', '.join(f'{level:g}' for level in levels)}."
        )


def _bounds(value: Any, source: str) -> tuple[float, float]:
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        raise SupportError(f"{source} got the support {value!r}, {_EXPECTED}.") from None
    if not low < high:
        raise SupportError(f"{source} got the support {value!r}, {_EXPECTED}.")
    return low, high
