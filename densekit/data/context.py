"""What a conditional density is given: labels, numbers or images, as rows of context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from densekit.data.images import Images
from densekit.errors import ContextError


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

    def encode(self, y: Any, who: str) -> NDArray[np.float64]:
        """One-hot rows; a label that was not fitted is a ContextError."""
        values = column_or_1d(y)
        unknown = np.setdiff1d(values, self.classes)
        if len(unknown):
            raise ContextError(
                f"{who} got the labels {unknown.tolist()}, but was fitted with "
                f"{self.classes.tolist()}."
            )
        return np.eye(len(self.classes))[np.searchsorted(self.classes, values)]

    def draw(self, n_samples: int, rng: np.random.Generator, who: str) -> NDArray[np.float64]:
        """One-hot rows of labels drawn by their frequency in the training data."""
        chosen = rng.choice(self.size, n_samples, p=np.exp(self.log_prior))
        return np.eye(self.size)[chosen]


@dataclass(frozen=True)
class Numbers:
    """Numbers, standardised by the training data."""

    loc: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def size(self) -> int:
        return len(self.loc)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row of context."""
        return (self.size,)

    def encode(self, y: Any, who: str) -> NDArray[np.float64]:
        values = check_array(y, dtype=np.float64, input_name="y", estimator=who)
        if values.shape[1] != self.size:
            raise ContextError(
                f"{who} got y with {values.shape[1]} columns, but was fitted with {self.size}."
            )
        encoded: NDArray[np.float64] = (values - self.loc) / self.scale
        return encoded

    def draw(self, n_samples: int, rng: np.random.Generator, who: str) -> NDArray[np.float64]:
        raise ContextError(
            f"{who} was fitted with numbers as y, whose distribution it does not know; give `y`."
        )


@dataclass(frozen=True)
class Pictures:
    """Images, channels first and scaled to [-1, 1] by the levels of the training data.

    Attributes
    ----------
    images : Images
        What they look like.
    """

    images: Images

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row of context."""
        height, width, channels = self.images.shape
        return channels, height, width

    def encode(self, y: Any, who: str) -> NDArray[np.float64]:
        """Images (n, channels, height, width); another shape or level is an error."""
        table = check_array(self.images.table(y, who=f"{who}, as y,"), dtype=np.float64)
        rows = self.images.rows(table, who=f"{who}, as y,")
        return 2.0 * rows / (self.images.n_levels - 1) - 1.0

    def draw(self, n_samples: int, rng: np.random.Generator, who: str) -> NDArray[np.float64]:
        raise ContextError(
            f"{who} was fitted with images as y, whose distribution it does not know; give `y`."
        )


Context = Labels | Numbers | Pictures


def check_condition(y: Any, n_rows: int, who: str) -> NDArray[Any]:
    """Return y as an array with a row for each row of X.

    Raises
    ------
    ContextError
        There is no y, or its length is not that of X.
    """
    if y is None:
        raise ContextError(f"{who} has conditional=True and got no y; give labels or numbers.")
    values = np.asarray(y)
    n_given = len(values) if values.ndim else 0
    if n_given != n_rows:
        raise ContextError(f"{who} got y with {n_given} rows, expected {n_rows}.")
    return values


def fit_context(y: NDArray[Any], weight: NDArray[np.float64], *, who: str) -> Context:
    """Choose the encoding by y: labels are 1-D, numbers 2-D, images 3-D or 4-D.

    Raises
    ------
    ContextError
        A 1-D y holds continuous numbers.
    """
    if y.ndim > 2:
        return Pictures(Images.of(y, None, "auto", who=f"{who}, as y,"))
    if y.ndim == 2:
        try:
            values = check_array(y, dtype=np.float64, input_name="y", estimator=who)
        except ValueError as error:
            raise ContextError(
                f"{who} got a 2-D y, which means finite numbers (labels are 1-D): {error}"
            ) from None
        loc = np.average(values, axis=0, weights=weight)
        scale = np.sqrt(np.average((values - loc) ** 2, axis=0, weights=weight))
        return Numbers(loc, np.where(scale > 0, scale, 1.0))
    try:
        is_continuous = y.ndim == 1 and type_of_target(y, input_name="y") == "continuous"
        classes, index = np.unique(column_or_1d(y), return_inverse=True)
    except TypeError:  # labels of several types, None and NaN among them, have no order
        raise ContextError(
            f"{who} got labels of several types as y, such as text and NaN; give each row a label "
            "of one type."
        ) from None
    if is_continuous:
        raise ContextError(
            f"{who} got a 1-D y of continuous numbers, but a 1-D y means class labels; "
            "give y.reshape(-1, 1) to condition on the numbers."
        )
    share = np.bincount(index, weights=weight)
    return Labels(classes, np.log(share / share.sum()))
