"""What a report is about: a fitted estimator, and rows in every form that the parts need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from densekit.data.columns import row_labels
from densekit.data.context import Labels, Numbers, check_condition
from densekit.estimators.base import DensityEstimator
from densekit.estimators.base_flow import BaseFlowEstimator
from densekit.exceptions import ContextError, ShapeError
from densekit.images.schema import Images

MAX_ROWS, MIN_ROWS = 5000, 4
MAX_NUMBERS = 4_000_000  # in all scored rows together: images are few
MAX_ROWS_FOR_PEERS = 5000
N_SAMPLES, N_IMAGE_SAMPLES = 2000, 48


MAX_REPEATED = 10  # columns that are named


@dataclass(frozen=True)
class Part:
    """Some rows of X.

    Attributes
    ----------
    X : as the estimator takes it
    y : its conditions, or None
    table : ndarray of shape (n, n_features)
        The same rows as flat numbers.
    places : ndarray of shape (n,)
        Where the rows stand in X.
    """

    X: Any
    y: Any
    table: NDArray[np.float64]
    places: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class Subject:
    """A fitted estimator, the rows it is judged by, and the rows its rivals are fitted on."""

    estimator: Any
    scored: Part
    for_peers: Part
    names: list[str]
    row_names: list[str]
    n_given: int
    has_own_training_rows: bool

    @property
    def images(self) -> Images | None:
        form = self.estimator._form_
        return form if isinstance(form, Images) else None

    @property
    def is_discrete(self) -> bool:
        return bool(self.estimator.density_.support == "discrete")

    @property
    def context(self) -> Any:
        """How conditions are encoded; None without conditions."""
        return getattr(self.estimator, "_context_", None)

    @property
    def has_labels(self) -> bool:
        return isinstance(self.context, Labels)

    @property
    def has_numbers(self) -> bool:
        return isinstance(self.context, Numbers)

    @property
    def repeated(self) -> dict[Any, tuple[Any, float]]:
        """Columns of which many rows share a value: the value and its share; none of levels."""
        if self.is_discrete:
            return {}
        found: dict[Any, tuple[Any, float]] = getattr(self.estimator, "repeated_values_", {})
        return found

    def repeated_in_words(self) -> str:
        """Which columns repeat values, and what that means for nats."""
        columns = [
            f"{column if isinstance(column, str) else f'column {column}'} "
            f"({value:.6g} in {share:.0%} of the rows)"
            if isinstance(value, int | float | np.number)
            else f"{column} ({value} in {share:.0%} of the rows)"
            for column, (value, share) in self.repeated.items()
        ]
        shown = ", ".join(columns[:MAX_REPEATED])
        more = f" and {len(columns) - MAX_REPEATED} more" if len(columns) > MAX_REPEATED else ""
        return (
            f"Values repeat in {shown}{more}. There a density has no finite height, so nats are no "
            "measure: any density can be made to score as high as one likes. Judge the fit by its "
            "samples, or model these columns by masses."
        )

    @property
    def has_latents(self) -> bool:
        """Whether rows can be mapped to latents here: a flow of a table, with what it asks for."""
        is_flow = isinstance(self.estimator, BaseFlowEstimator) and self.images is None
        return is_flow and not self.is_discrete and (self.context is None or self.is_given)

    @property
    def is_given(self) -> bool:
        """Whether there are conditions for the rows."""
        return self.scored.y is not None

    def scores(self, part: Part | None = None) -> NDArray[np.float64]:
        """Nats of rows; of conditional densities the marginal over labels, or given numbers."""
        part = self.scored if part is None else part
        y = None if self.has_labels else part.y
        found: NDArray[np.float64] = self.estimator.score_samples(part.X, y)
        return found

    def samples(self, random_state: int) -> tuple[Any, Any]:
        """Rows that the estimator drew, and their conditions where they have any to be scored."""
        n = N_SAMPLES if self.images is None else N_IMAGE_SAMPLES
        if self.context is None or self.has_labels:
            return self.estimator.sample(n, random_state), None
        y = _take(self.scored.y, np.arange(min(n, len(self.scored))))
        return self.estimator.sample(1 if len(y) > 1 else len(y), random_state, y=y), y


def make_subject(
    estimator: Any, X: Any, y: Any, X_train: Any, y_train: Any, rng: np.random.Generator
) -> Subject:
    """Check what was given, and draw the rows that are used.

    Raises
    ------
    TypeError, ContextError, ShapeError
        The estimator is not one of densekit, there is no `y` where it needs one, or there are
        fewer than four rows.
    """
    if not isinstance(estimator, DensityEstimator):
        raise TypeError(
            f"write_report got a {type(estimator).__name__}, expected a DensityEstimator."
        )
    check_is_fitted(estimator)
    y = _conditions(estimator, y, _length(X), "y")
    order = rng.permutation(_length(X))
    if len(order) < MIN_ROWS:
        raise ShapeError(f"write_report got X with {len(order)} rows, expected {MIN_ROWS} or more.")
    has_own = X_train is not None
    n_scored = len(order) if has_own else len(order) // 2
    most = max(200, min(MAX_ROWS, MAX_NUMBERS // estimator.n_features_in_))
    scored = _part(estimator, X, y, np.sort(order[: min(n_scored, most)]))
    if has_own:
        y_train = _conditions(estimator, y_train, _length(X_train), "y_train")
        chosen = np.sort(rng.permutation(_length(X_train))[:MAX_ROWS_FOR_PEERS])
        peers = _part(estimator, X_train, y_train, chosen)
    else:
        rest = order[n_scored:][: min(MAX_ROWS_FOR_PEERS, 2 * most)]
        peers = _part(estimator, X, y, np.sort(rest))
    names, row_names = _names(X, scored)
    return Subject(estimator, scored, peers, names, row_names, len(order), has_own)


def _conditions(estimator: Any, y: Any, n_rows: int, name: str) -> Any:
    """The conditions of rows, or None where there are none or none are needed."""
    context = getattr(estimator, "_context_", None)
    if context is None or (y is None and isinstance(context, Labels)):
        return None
    if y is None:
        raise ContextError(
            f"write_report got no {name}, but the {type(estimator).__name__} is conditioned on "
            f"{'numbers' if isinstance(context, Numbers) else 'images'}; give those of each row."
        )
    names = getattr(estimator, "condition_names_in_", None)
    return check_condition(y, n_rows, names, "write_report").values


def _part(estimator: Any, X: Any, y: Any, places: NDArray[np.intp]) -> Part:
    rows = _take(X, places)
    flat = np.asarray(rows, dtype=np.float64)
    table = flat.reshape(len(flat), math.prod(flat.shape[1:]))
    return Part(rows, None if y is None else y[places], table, places)


def _take(X: Any, places: NDArray[np.intp]) -> Any:
    return _safe_indexing(X, places)


def _length(X: Any) -> int:
    return len(X) if hasattr(X, "__len__") else len(np.asarray(X))


def _names(X: Any, scored: Part) -> tuple[list[str], list[str]]:
    """Names of columns and of rows: a data frame's own, or numbers."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    names = (
        [str(name) for name in frame.columns]
        if isinstance(frame, nw.DataFrame)
        else [f"column {i}" for i in range(scored.table.shape[1])]
    )
    index = row_labels(X)
    labels = scored.places if index is None else np.asarray(index)[scored.places]
    return names, [str(label) for label in labels]
