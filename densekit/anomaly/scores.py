"""What makes a row normal: scores of rows by densities; higher is more normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing

from densekit.anomaly import orientation
from densekit.anomaly.adaptive import AdaptiveImageDensity
from densekit.anomaly.kernel_rows import KernelRows
from densekit.estimators.maf import MAFEstimator
from densekit.exceptions import ScorerError

Array = NDArray[np.float64]
Part = dict[str, Any]

SCORES = ("log_density", "typicality", "likelihood_ratio", "orientation", "ensemble")
# What the default trains on at most: it keeps fits to seconds, and those of a thousand columns to a
# minute.
MAX_ROWS_OF_THE_DEFAULT, MAX_ROWS_OF_ITS_FLOW = 20_000, 9_000
MAX_VALUES_OF_ITS_FLOW = 1_500_000
MAX_ROWS_OF_ENTROPY = 2000  # whose mean log-density is that of typical rows
SHARE_OF_CORRUPTION = 0.3  # of the numbers of a row, in the background's training rows
MAX_NATS = 1e9  # of a log-density that is infinite, so that contributions still add up


@dataclass(frozen=True)
class Recipe:
    """How one part of a detector is fitted: what the detector's parameters say.

    Attributes
    ----------
    score : str
        One of ``SCORES``.
    estimator, background : estimator or None
    n_orders : int
    trimmed : float
        Share of the training rows that a second fit leaves out, the lowest first.
    """

    score: str
    estimator: Any
    background: Any
    n_orders: int
    trimmed: float


def default_estimator() -> MAFEstimator:
    """The flow that a detector holds by default.

    A hundred epochs with noise of a tenth of a column's spread: it is smooth, and done in seconds.
    """
    return MAFEstimator(noise=0.1, max_epochs=100, n_iter_no_change=12)


def fit_part(recipe: Recipe, X: Any, rng: np.random.RandomState, y: Any = None) -> Part:
    """Fit what scores rows: estimators, and by the score a background, a kernel density.

    With `trimmed` the fit is repeated without the lowest rows of the first. A conditional
    estimator gets `y`.
    """
    if recipe.estimator is None:
        X = some(X, MAX_ROWS_OF_THE_DEFAULT, rng)
    part = _fit_once(recipe, X, rng, y)
    n_trimmed = round(recipe.trimmed * _n_rows(X))
    if n_trimmed > 0:
        kept = np.sort(np.argsort(score_part(recipe.score, part, X, y))[n_trimmed:])
        part = _fit_once(recipe, _safe_indexing(X, kept), rng, take(y, kept))
    return part


def take(y: Any, index: NDArray[np.intp]) -> Any:
    """Conditions of some rows, where there are any."""
    return None if y is None else _safe_indexing(y, index)


def is_conditional(estimator: Any) -> bool:
    """Whether an estimator's density is one of rows given conditions."""
    return bool(getattr(estimator, "conditional", False))


def score_part(score: str, part: Part, X: Any, y: Any = None) -> Array:
    """Scores of rows by a fitted part, (n,) in nats, higher is more normal."""
    if score == "orientation":
        orientation.check_images(X, "AnomalyDetector")
        return orientation.log_ratio(lambda images: log_density(part, images, y), np.asarray(X))
    nats = log_density(part, X, y)
    if score == "typicality":
        return -np.abs(nats - part["typical"])
    if score == "likelihood_ratio":
        return nats - _finite(_scored(part["background"], X, y))
    if score == "ensemble":
        # Both are normalised and in the units of X, so their nats compare.
        lower: Array = np.minimum(nats, part["kernel"].log_density(X))
        return lower
    return nats


def log_density(part: Part, X: Any, y: Any = None) -> Array:
    """Mean log-density by the estimators of a part, one for each order of the columns."""
    total = np.zeros(_n_rows(X))
    for estimator, order in zip(part["estimators"], part["orders"], strict=True):
        total += _finite(_scored(estimator, reorder(X, order), y))
    return total / len(part["estimators"])


def _scored(estimator: Any, X: Any, y: Any) -> Any:
    if y is not None and is_conditional(estimator):
        return estimator.score_samples(X, y)
    return estimator.score_samples(X)


def reorder(X: Any, order: NDArray[np.intp] | None) -> Any:
    """X with its columns in another order; None leaves it."""
    return X if order is None else _safe_indexing(X, order, axis=1)


def are_images(estimator: Any, X: Any) -> bool:
    """Whether rows are images of levels: by their shape, or flat by what the estimator says."""
    if np.ndim(X) > 2:
        values = np.asarray(X)
        return values.dtype.kind in "biuf" and bool(((values >= 0) & (values % 1 == 0)).all())
    return getattr(estimator, "image_shape", None) is not None


def _fit_once(recipe: Recipe, X: Any, rng: np.random.RandomState, y: Any) -> Part:
    estimator = recipe.estimator
    rows = X
    if estimator is None:
        estimator = default_estimator()
        n_rows = max(1000, MAX_VALUES_OF_ITS_FLOW // int(np.shape(X)[1]))
        rows = some(X, min(MAX_ROWS_OF_ITS_FLOW, n_rows), rng)
    is_quiet = recipe.estimator is None
    n_more = recipe.n_orders - 1
    orders = [None, *[rng.permutation(np.shape(X)[1]) for _ in range(n_more)]]
    part: Part = {
        "estimators": [
            _fitted(estimator, reorder(rows, order), rng, y, is_quiet=is_quiet) for order in orders
        ],
        "orders": orders,
    }
    if recipe.score == "likelihood_ratio":
        part["background"] = _fitted_background(recipe, estimator, rows, rng, y)
    if recipe.score == "ensemble":
        part["kernel"] = KernelRows.fit(X, rng)
    if recipe.score == "typicality":  # the mean is the negative entropy (Nalisnick 2019, eq. 3)
        index = rng.permutation(_n_rows(X))[:MAX_ROWS_OF_ENTROPY]
        typical = log_density(part, _safe_indexing(X, index), take(y, index))
        part["typical"] = float(typical.mean())
    return part


def _fitted_background(
    recipe: Recipe, estimator: Any, X: Any, rng: np.random.RandomState, y: Any
) -> Any:
    if recipe.background is not None:
        return _fitted(recipe.background, X, rng, y)
    if are_images(estimator, X):
        return AdaptiveImageDensity.of(X, estimator)
    return _fitted(estimator, corrupted(X, rng), rng, y)


def _fitted(
    estimator: Any, X: Any, rng: np.random.RandomState, y: Any, *, is_quiet: bool = False
) -> Any:
    """A fitted clone, with a seed of its own where it takes one and has none; or a frozen one.

    A quiet fit is one of the default, which nobody could change on a warning.
    """
    if isinstance(estimator, FrozenEstimator):
        return estimator  # which is fitted already, on other rows
    own = clone(estimator)
    seed = int(rng.randint(np.iinfo(np.int32).max))
    if own.get_params(deep=False).get("random_state", seed) is None:
        own.set_params(random_state=seed)
    if is_quiet:
        own._fit(X)
        return own
    return own.fit(X, y) if is_conditional(own) else own.fit(X)


def corrupted(X: Any, rng: np.random.RandomState) -> Any:
    """X with some of its numbers replaced by those of other rows.

    The background of a likelihood ratio learns from it what numbers look like, but not how they
    belong together (Ren 2019, section 3).
    """
    values = np.array(X, order="C")  # so that the columns below are views
    is_replaced = rng.uniform(size=values.shape) < SHARE_OF_CORRUPTION
    columns = (array.reshape(len(values), -1).T for array in (values, is_replaced))
    for column, mask in zip(*columns, strict=True):
        column[mask] = column[rng.randint(len(column), size=mask.sum())]
    if hasattr(X, "iloc"):
        return type(X)(values, columns=X.columns, index=X.index).astype(dict(X.dtypes))
    return values


def some(X: Any, n_rows: int, rng: np.random.RandomState) -> Any:
    """At most so many rows, drawn at random."""
    if _n_rows(X) <= n_rows:
        return X
    return _safe_indexing(X, rng.permutation(_n_rows(X))[:n_rows])


def _n_rows(X: Any) -> int:
    return int(np.shape(X)[0])


def _finite(scores: Any) -> Array:
    """Scores as float64; outside a support, where they are minus infinity, very low but finite.

    Raises
    ------
    ScorerError
        A score is NaN.
    """
    nats = np.asarray(scores, dtype=np.float64)
    if np.isnan(nats).any():
        raise ScorerError("AnomalyDetector got NaN from its estimator's score_samples.")
    return np.clip(nats, -MAX_NATS, MAX_NATS)
