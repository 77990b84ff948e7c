"""What a conditional density is given: labels or numbers, as rows of context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, column_or_1d

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


def fit_context(y: Any, weight: NDArray[np.float64], *, who: str) -> Labels | Numbers:
    """Choose the encoding by y: a 1-D y holds class labels, a 2-D one numbers.

    Raises
    ------
    ContextError
        There is no y, its length is not that of X, or a 1-D y holds continuous numbers.
    """
    if y is None:
        raise ContextError(f"{who} has conditional=True and got no y; give labels or numbers.")
    if np.ndim(y) == 2:
        values = check_array(y, dtype=np.float64, input_name="y", estimator=who)
        _check_length(len(values), len(weight), who)
        scale = values.std(0)
        return Numbers(values.mean(0), np.where(scale > 0, scale, 1.0))
    if np.ndim(y) == 1 and type_of_target(y, input_name="y") == "continuous":
        raise ContextError(
            f"{who} got a 1-D y of continuous numbers, but a 1-D y means class labels; "
            "give y.reshape(-1, 1) to condition on the numbers."
        )
    labels = column_or_1d(y)
    _check_length(len(labels), len(weight), who)
    classes, index = np.unique(labels[weight > 0], return_inverse=True)
    share = np.bincount(index, weights=weight[weight > 0])
    return Labels(classes, np.log(share / share.sum()))


def _check_length(n_y: int, n_rows: int, who: str) -> None:
    if n_y != n_rows:
        raise ContextError(f"{who} got y with {n_y} rows, but X has {n_rows}.")
