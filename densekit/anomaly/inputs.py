"""What comes in at a detector's door: estimators and rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
)

from densekit.data.cells import validate
from densekit.data.columns import Columns
from densekit.data.frames import as_numbers
from densekit.data.rows import MAX_ROWS_TO_SORT, check_weight, index_of_weights
from densekit.exceptions import (
    ContextError,
    LabelWarning,
    ParameterError,
    ScorerError,
    ShapeError,
)

MIN_ROWS = 4  # to fit and to calibrate
Index = NDArray[np.intp]


def check_scorer(estimator: Any, name: str, source: str) -> None:
    """Refuse what is no density estimator.

    Raises
    ------
    ScorerError
        A ValueError and TypeError: it has no `fit` or no `score_samples`, or is a class.
    """
    if estimator is None:
        return
    missing = [m for m in ("fit", "score_samples") if not callable(getattr(estimator, m, None))]
    if missing or isinstance(estimator, type):
        raise ScorerError(
            f"{source} got {name}={estimator!r}, expected an instance with fit and score_samples "
            "whose high scores are normal: a density estimator of densekit, KernelDensity, "
            "GaussianMixture."
        )


def allows_nan(estimator: Any) -> bool:
    """Whether an estimator says that it takes missing cells, as estimators of tables do."""
    return estimator is not None and bool(get_tags(estimator).input_tags.allow_nan)


def check_rows(detector: Any, X: Any, *, reset: bool) -> Any:
    """Check rows once, at the door.

    Numbers come back as an array, or as a data frame where the estimator may go by the names of
    its columns. What an estimator of tables or images takes is left to its own checks.
    """
    source = type(detector).__name__
    if not allows_nan(detector.estimator):
        X = as_numbers(X, source=source)
    if reset:
        detector._form_ = Columns.of(X)
    form = detector._form_
    X = form.table(X, source=source)
    if allows_nan(detector.estimator) or _n_axes(X) > 2:
        return _leave_to_the_estimator(detector, X, reset, source)
    table = validate(detector, X, ensure_min_samples=MIN_ROWS if reset else 1, reset=reset)
    if detector.estimator is None or form.names is None:
        return table
    return pd.DataFrame(table, columns=list(form.names))


def check_condition(X: Any, y: Any, name: str, *, is_needed: bool) -> Any:
    """Refuse conditions of another number of rows, or none where they are needed.

    Frames and series stay as they are, since the estimator goes by their names.
    """
    if y is None and not is_needed:
        return None  # the estimator knows whether it can do without
    given = (
        None if y is None else y if hasattr(y, "columns") or hasattr(y, "name") else np.asarray(y)
    )
    n_rows, n_given = int(np.shape(X)[0]), 0 if given is None else len(given)
    if n_given != n_rows:
        what = "no y" if given is None else f"y with {n_given} rows"
        raise ContextError(
            f"{name} got {what}, but its estimator is conditional: expected {n_rows} conditions, "
            "one for each row of X."
        )
    return given


def warn_of_labels(y: Any, name: str) -> None:
    """Warn of labels that scikit-learn's scorers would read the wrong way round."""
    values = np.asarray(y)
    if values.ndim == 1 and values.dtype.kind in "iuf" and set(np.unique(values)) == {0, 1}:
        warnings.warn(
            f"{name}.fit takes no notice of y, whose 0 and 1 look like PyOD's labels, 1 for "
            "anomalies. scikit-learn's scorers take high scores for class 1, so scoring='roc_auc' "
            "would choose the worst model: give 1 for normal rows and -1 for anomalies, or "
            "scoring=densekit.anomaly_auc, which knows both.",
            LabelWarning,
            stacklevel=5,
        )


def rows_by_weight(X: Any, y: Any, sample_weight: Any, name: str) -> Index:
    """Rows to fit and to calibrate by, each as often as it weighs; tables of numbers in order.

    Weights whose ratios are whole numbers repeat rows; by others as many rows are drawn as have
    weight, systematically.
    """
    n_rows = int(np.shape(X)[0])
    index = np.arange(n_rows)
    if sample_weight is not None:
        weight = check_weight(sample_weight, n_rows, least=MIN_ROWS, source=name)
        index = index[weight > 0]
        index = index[index_of_weights(weight[index])]
    values = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
    if values.dtype.kind not in "biuf" or len(index) > MAX_ROWS_TO_SORT:
        return index
    # In an order of their own, so that rows and their weights mean the same in any order.
    rows = values[index].reshape(len(index), -1)
    order: Index = np.lexsort([index, *rows.T[::-1]])
    return index[order]


def folds(
    n_rows: int, n_held_out: int | None, n_folds: int, rng: np.random.RandomState
) -> Iterator[tuple[Index, Index]]:
    """Rows to fit and rows to calibrate by: one split, or every row in one of the folds."""
    order = rng.permutation(n_rows)
    if n_held_out is not None:
        yield np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
        return
    for part in np.array_split(order, min(n_folds, n_rows)):
        yield np.setdiff1d(order, part), np.sort(part)


def _n_axes(X: Any) -> int:
    return int(getattr(X, "ndim", None) or np.asarray(X).ndim)


def _leave_to_the_estimator(detector: Any, X: Any, reset: bool, source: str) -> Any:
    if detector.estimator is None:
        raise ShapeError(
            f"{source} got X of shape {np.shape(X)}, expected a table (n, n_features); for images "
            "give an estimator of images: AnomalyDetector(PixelCNNEstimator())."
        )
    if detector.n_orders > 1 and _n_axes(X) > 2:
        raise ParameterError(
            f"{source} got n_orders={detector.n_orders} for images, expected 1: their pixels have "
            "one order."
        )
    if detector._score_name == "ensemble" and _n_axes(X) > 2:
        raise ParameterError(
            f"{source} got score='ensemble' and X of shape {np.shape(X)}, expected a table: a "
            "kernel density means little among images; 'auto' is 'likelihood_ratio' for them."
        )
    n_rows = np.shape(X)[0]
    if n_rows < (MIN_ROWS if reset else 1):
        raise ShapeError(f"{source} got n_samples={n_rows}, expected at least {MIN_ROWS}.")
    if np.ndim(X) == 2:
        _check_feature_names(detector, X, reset=reset)
        _check_n_features(detector, X, reset=reset)
    return X
