"""What the rows of X look like, so that samples can look the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from densekit.data.support import parse_support
from densekit.exceptions import ContextError, TableError


@dataclass(frozen=True)
class Columns:
    """Container, column names and number types of the training data.

    Attributes
    ----------
    names : tuple or None
        Column names of a data frame, of any type that its container knows; None for an array.
    backend : str or None
        "pandas", "polars" and so on; None for an array.
    dtypes : tuple of numpy dtype
        Type of each column; one entry for an array.
    """

    names: tuple[Any, ...] | None
    backend: str | None
    dtypes: tuple[np.dtype[Any], ...]

    @classmethod
    def of(cls, X: Any) -> Columns:
        """Describe an array or a data frame."""
        frame = nw.from_native(X, eager_only=True, pass_through=True)
        if not isinstance(frame, nw.DataFrame):
            return cls(None, None, (np.asarray(X).dtype,))
        names = tuple(frame.columns)
        # In order: `frame[name]` reads rows where names are whole numbers. One row tells types.
        dtypes = tuple(column.to_numpy().dtype for column in frame.head(1).iter_columns())
        return cls(names, frame.implementation.value, dtypes)

    def table(self, X: Any, *, source: str) -> Any:
        """X itself, which is a table already; `Images` has more to do.

        scikit-learn compares names that are text; others are compared here.
        """
        if self.names is None or isinstance(X, np.ndarray):
            return X
        frame = nw.from_native(X, eager_only=True, pass_through=True)
        if not isinstance(frame, nw.DataFrame):
            return X
        names = tuple(frame.columns)
        are_text = all(isinstance(name, str) for name in names)
        if not are_text and names != self.names and set(names) == set(self.names):
            raise TableError(
                f"{source} got X with the columns in another order than in fit: "
                f"{', '.join(map(repr, names[:5]))}, expected "
                f"{', '.join(map(repr, self.names[:5]))}; reorder them."
            )
        return X

    def rows(self, table: NDArray[Any], *, source: str) -> NDArray[Any]:
        """The rows of a validated table, which need no other shape."""
        return table

    def bounds(self, support: Any, n_features: int, *, source: str) -> NDArray[np.float64]:
        """Bounds of the columns, (2, n_features), by the parameter `support`."""
        return parse_support(support, n_features, self.names, source=source)

    def describe_condition(self, y: NDArray[Any], source: str) -> Any:
        """Refuse arrays of more than two axes as conditions: only images are given images."""
        raise ContextError(
            f"{source} got y of shape {y.shape} for a table, expected a label or a row of "
            "numbers for each row of X; only images can be given images."
        )

    def restore(self, rows: NDArray[Any], bounds: NDArray[np.float64], *, is_discrete: bool) -> Any:
        """Give rows the container and the number types of the training data.

        A density over real numbers gives fractions, so columns of integers and booleans come back
        as float64, unless the rows are to be discrete.
        Rounding to a narrower type never leaves the bounds (2, n_features).
        """
        rows = np.clip(rows, bounds[0], bounds[1])
        types = [_sample_type(dtype, is_discrete) for dtype in self.dtypes]
        if self.names is None or self.backend is None:
            return _narrow(rows, bounds, types[0])
        columns = [_narrow(rows[:, i], bounds[:, i], kind) for i, kind in enumerate(types)]
        if self.backend == nw.Implementation.PANDAS.value:  # whose names may be of any type
            frame = pd.DataFrame(dict(enumerate(columns)))
            frame.columns = _pandas_index(self.names)
            return frame
        backend: Any = self.backend
        values = dict(zip(self.names, columns, strict=True))
        return nw.from_dict(values, backend=backend).to_native()


def _pandas_index(names: tuple[Any, ...]) -> pd.Index:
    """Names as an index of pandas, which has levels where all names are tuples."""
    has_levels = len({len(name) if isinstance(name, tuple) else None for name in names}) == 1
    if has_levels and isinstance(names[0], tuple):
        return pd.MultiIndex.from_tuples(names)
    return pd.Index(names)


def _sample_type(dtype: np.dtype[Any], is_discrete: bool) -> np.dtype[Any]:
    is_kept = dtype.kind == "f" or (is_discrete and dtype.kind in "iub")
    return dtype if is_kept else np.dtype(np.float64)


def _narrow(rows: NDArray[Any], bounds: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "b":
        return rows > 0.5
    if dtype.kind in "iu":
        # Floats next to the limits of 64 bits are beyond them.
        limits = np.iinfo(dtype)
        least, most = max(limits.min, -(2**53)), min(limits.max, 2**53)
        whole = np.clip(np.rint(rows), np.ceil(bounds[0]), np.floor(bounds[1]))
        return np.clip(whole, least, most).astype(dtype)
    if dtype == np.float64:
        return rows.astype(dtype)
    limit = np.finfo(dtype).max
    low, high = np.clip(bounds, -limit, limit).astype(dtype)
    low = np.where(low < bounds[0], np.nextafter(low, dtype.type(np.inf)), low)
    high = np.where(high > bounds[1], np.nextafter(high, dtype.type(-np.inf)), high)
    narrow = np.clip(rows, -limit, limit).astype(dtype)
    return np.clip(narrow, low, high).astype(dtype)


def row_labels(X: Any) -> Any:
    """The index of a data frame that has one; None for other rows."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return nw.maybe_get_index(frame) if isinstance(frame, nw.DataFrame) else None
