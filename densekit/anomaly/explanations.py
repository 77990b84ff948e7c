"""Why a row is strange: what each column adds to its score."""

from __future__ import annotations

import math
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from densekit.anomaly import orientation, scores
from densekit.anomaly.scores import Array
from densekit.data.context import Labels, check_condition
from densekit.densities.made import MADE
from densekit.estimators.base import DensityEstimator
from densekit.exceptions import CalibrationError, ScorerError

MAX_REFERENCES = 2000  # training rows that are kept to compare with
MAX_VALUES = 2_000_000
MAX_IMAGES = 200
N_NEIGHBOURS = 10
N_EXPECTED = 50  # rows whose quantiles say what was expected
MAX_HYBRIDS = 2048  # rows that are scored to explain one
SHARE_FORGIVEN = 0.2  # of the columns, the strangest, by which neighbours may differ
TAIL = 0.05  # share of a column, on each side, that has little say in its scale
FAR = 3.0  # spreads beyond which a difference is no larger


def reference(
    X: Any, y: Any, rng: np.random.RandomState
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Some training rows to compare with, and their conditions where there are any, as arrays."""
    rows = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
    most = min(MAX_REFERENCES, max(MAX_IMAGES, MAX_VALUES // max(1, rows[0].size)))
    if rows.ndim > 2:
        most = MAX_IMAGES
    index = rng.permutation(len(rows))[:most]
    return rows[index], None if y is None else _values(y)[index]


def explain(detector: Any, X: Any, y: Any, index: Any) -> Any:
    """Contributions that add up to ``score_samples(X) - typical_score_``; `index` names rows."""
    total = detector._score_checked(X, y) - detector.typical_score_
    if np.ndim(X) > 2 or _is_model_of_images(detector):
        return _settled(_maps(detector, X), total).reshape(np.shape(X))
    terms = _exact_terms(detector, X)
    if terms is None:
        terms = _by_replacement(detector, X, y)
    return pd.DataFrame(_settled(terms, total), columns=_names(detector), index=index)


def expected(detector: Any, X: Any, coverage: float, index: Any, y: Any = None) -> pd.DataFrame:
    """Quantiles of each column over the training rows that are nearest in the others, and in the
    condition where it is given."""
    if not 0 < coverage < 1:
        raise CalibrationError(f"expected got coverage={coverage!r}, expected one in (0, 1).")
    values, names = _flat(X), _names(detector)
    rows = _numbers(_flat(detector.reference_))
    from_condition, n_alike = _gaps_of_conditions(detector, y, len(values))
    bounds = np.empty((len(values), 2 * len(names)))
    edges = [(1 - coverage) / 2, (1 + coverage) / 2]
    for i, row in enumerate(_numbers(values)):
        gaps = _gaps(rows, row)
        others = gaps.sum(1, keepdims=True) - gaps + from_condition[i][:, None]
        n_near = min(N_EXPECTED, n_alike[i])
        near = np.argpartition(others, n_near - 1, axis=0)[:n_near]
        found = np.nanquantile(np.take_along_axis(rows, near, 0), edges, axis=0)
        bounds[i] = found.T.ravel()
    columns = pd.MultiIndex.from_product([names, ["low", "high"]])
    return pd.DataFrame(bounds, columns=columns, index=index)


def in_words(contributions: Any, bounds: pd.DataFrame, X: Any, n: int) -> list[list[str]]:
    """Sentences about the `n` strangest columns, or pixels, of each row."""
    names = bounds.columns.get_level_values(0)[::2]
    sentences = []
    for i, (own, row) in enumerate(zip(_flat(contributions), _flat(X), strict=True)):
        found = []
        for j in np.argsort(own)[:n]:
            name = names[j]
            low, high = bounds.iloc[i, 2 * j], bounds.iloc[i, 2 * j + 1]
            found.append(
                f"{name} was {_short(row[j])}, given the rest {_short(low)} to {_short(high)} was "
                f"expected ({own[j]:+,.1f} nats)"
            )
        sentences.append(found)
    return sentences


def _by_replacement(detector: Any, X: Any, y: Any) -> Array:
    """Shapley values between each row and its neighbours among training rows, by sampled orders."""
    values = _values(X)
    rows = _numbers(detector.reference_)
    n_features = values.shape[1]
    n_paths = int(np.clip(MAX_HYBRIDS // n_features, 2, 2 * N_NEIGHBOURS))
    contributions = np.zeros(values.shape, dtype=np.float64)
    rng = np.random.RandomState(0)  # the same orders for every row and call
    orders = np.array([rng.permutation(n_features) for _ in range(n_paths // 2)])
    orders = np.concatenate([orders, orders[:, ::-1]])  # antithetic
    for i, row in enumerate(_numbers(values)):
        near = detector.reference_[_neighbours(rows, row, len(orders) // 2)]
        near = near[np.arange(len(orders)) % len(near)]
        contributions[i] = _along(
            detector, X, values[i], near, orders, scores.take(y, np.array([i]))
        )
    return contributions


def _along(
    detector: Any,
    X: Any,
    row: NDArray[Any],
    near: NDArray[Any],
    orders: NDArray[np.intp],
    condition: Any,
) -> Array:
    """Mean changes of the score as the row's columns replace those of neighbours, in orders.

    All under the row's own condition, where there is one.
    """
    n_paths, n_features = orders.shape
    rank = np.argsort(orders, axis=1)  # when each column is replaced
    steps = np.arange(n_features + 1)
    is_own = rank[:, None, :] < steps[None, :, None]
    hybrids = np.where(is_own, row, near[:, None, :]).reshape(-1, n_features)
    given = scores.take(condition, np.zeros(len(hybrids), dtype=np.intp))
    found = detector._score_checked(_like(X, hybrids), given).reshape(n_paths, n_features + 1)
    changes = np.diff(found, axis=1)
    mean: Array = np.take_along_axis(changes, rank, 1).mean(0)
    return mean


def _neighbours(rows: Array, row: Array, n: int) -> NDArray[np.intp]:
    """Rows that are alike in all but the strangest columns, the nearest first."""
    gaps = _gaps(rows, row)
    n_features = gaps.shape[1]
    n_kept = max(1, n_features - max(1, round(SHARE_FORGIVEN * n_features)))
    distance = np.partition(gaps, n_kept - 1, axis=1)[:, :n_kept].sum(1)
    return np.argsort(distance, kind="stable")[: max(1, n)]


def _gaps(rows: Array, row: Array) -> Array:
    """Squared differences in spreads of each column, bounded; a missing cell is far from others."""
    spread = _spread(rows)
    with np.errstate(over="ignore"):
        gaps = np.minimum(np.abs(rows - row) / spread, FAR) ** 2
    both_missing = np.isnan(rows) & np.isnan(row)
    settled: Array = np.where(np.isnan(gaps), np.where(both_missing, 0.0, FAR**2), gaps)
    return settled


def _gaps_of_conditions(detector: Any, y: Any, n_rows: int) -> tuple[list[Array], list[int]]:
    """For each row how far its condition is from those of the reference rows, and of how many of
    them it is that: rows of other labels are further than any numbers are."""
    n_known = len(detector.reference_)
    if y is None:
        return [np.zeros(n_known)] * n_rows, [n_known] * n_rows
    estimator, source = detector.parts_[0]["estimators"][0], f"{type(detector).__name__}.expected"
    names = getattr(estimator, "condition_names_in_", None)
    found = check_condition(y, n_rows, names, source).values
    if isinstance(getattr(estimator, "_context_", None), Labels):
        is_same = detector.reference_condition_.ravel() == found.reshape(-1, 1)
        counts = np.where(is_same.any(1), is_same.sum(1), n_known)
        further = FAR**2 * (1 + detector.reference_[0].size)
        return list(np.where(is_same, 0.0, further)), counts.tolist()
    known, own = _numbers(_flat(detector.reference_condition_)), _numbers(_flat(found))
    return [_gaps(known, row).sum(1) for row in own], [n_known] * n_rows


def _spread(rows: Array) -> Array:
    """A scale of each column that no single number decides; one where there is none."""
    low, high = np.nanquantile(rows, [TAIL, 1 - TAIL], axis=0)
    spread = (high - low) / 2
    kept = np.clip(rows, low - FAR * spread, high + FAR * spread)
    found = np.nanstd(kept, axis=0)
    for i in np.flatnonzero(spread == 0):
        # Where nearly all are one value, the distances of the others from it say more.
        distance = np.abs(rows[:, i] - low[i])
        others = distance[distance > 0]
        found[i] = np.median(others) if len(others) else 1.0
    return np.where(found > 0, found, 1.0)


def _exact_terms(detector: Any, X: Any) -> Array | None:
    """Log-probability of each column given those before it, averaged over orders; only MADE's."""
    estimators = [part["estimators"][0] for part in detector.parts_]
    if detector.score_ != "log_density" or not all(_is_made(e) for e in estimators):
        return None
    own, typical = (_terms(detector, rows) for rows in (X, _like(X, detector.reference_)))
    return own - typical.mean(0)


def _terms(detector: Any, X: Any) -> Array:
    total = np.zeros(np.shape(X))
    for part in detector.parts_:
        for estimator, order in zip(part["estimators"], part["orders"], strict=True):
            rows = estimator._rows(scores.reorder(X, order))
            terms = estimator._evaluate(estimator.density_.log_prob_terms, rows).numpy()
            back = slice(None) if order is None else np.argsort(order)
            total += terms[:, back] / len(part["estimators"])
    return total / len(detector.parts_)


def _is_made(estimator: Any) -> bool:
    if not isinstance(estimator, DensityEstimator) or estimator.conditional:
        return False
    return isinstance(estimator.density_.model, MADE)


def _maps(detector: Any, X: Any) -> Array:
    """What each pixel adds, beside the mean over training images; (n, pixels)."""
    both = [_signed_terms(detector, rows) for rows in (X, detector.reference_)]
    return both[0] - both[1].mean(0)


def _signed_terms(detector: Any, X: Any) -> Array:
    n_images = len(X)
    total = np.zeros((n_images, int(np.prod(np.shape(X)[1:]))))
    for part in detector.parts_:
        model = part["estimators"][0]
        if detector.score_ == "orientation":
            terms = orientation.terms(partial(_pixel_terms, model), np.asarray(X))
        else:
            terms = _pixel_terms(model, X)
        if detector.score_ == "likelihood_ratio":
            terms = terms - _pixel_terms(part["background"], X)
        if detector.score_ == "typicality":
            sign = np.where(terms.sum(1) > part["typical"], -1.0, 1.0)
            terms = sign[:, None] * terms
        n_channels = total.shape[1] // terms.shape[1]
        total += np.repeat(terms / n_channels, n_channels, axis=1)
    return total / len(detector.parts_)


def _pixel_terms(estimator: Any, X: Any) -> Array:
    if not hasattr(estimator, "log_prob_terms"):
        raise ScorerError(
            f"AnomalyDetector.explain got images and a {type(estimator).__name__}, expected a "
            "model that tells the log-probability of each pixel: PixelCNNEstimator."
        )
    terms: Array = estimator.log_prob_terms(X)
    return terms.reshape(len(terms), -1)


def _is_model_of_images(detector: Any) -> bool:
    return hasattr(detector.parts_[0]["estimators"][0], "log_prob_terms")


def _settled(contributions: Array, total: Array) -> Array:
    """Contributions that add up exactly: what is missing is shared out evenly."""
    missing = total - contributions.sum(1)
    return contributions + (missing / contributions.shape[1])[:, None]


def _names(detector: Any) -> list[Any]:
    if detector._form_.names is not None:
        return list(detector._form_.names)
    shape = detector.reference_.shape[1:]
    kind = "x" if len(shape) == 1 else "pixel "
    return [kind + ", ".join(map(str, place)) for place in np.ndindex(shape)]


def _values(X: Any) -> NDArray[Any]:
    return X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)


def _flat(X: Any) -> NDArray[Any]:
    """Rows of tables as they are, images as rows."""
    values = _values(X)
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _like(X: Any, values: NDArray[Any]) -> Any:
    """Rows of values as a data frame where X is one."""
    if not hasattr(X, "columns"):
        return values
    return pd.DataFrame(values, columns=X.columns).astype(dict(X.dtypes))


def _short(value: Any) -> str:
    """A number as people write it, in four digits or to the unit; anything else as it is."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return str(value)
    number, size = float(value), abs(float(value))
    if not 1e-4 <= size < 1e15:  # also zero, infinity and NaN
        return f"{number:.4g}"
    if size >= 9999.5:
        return f"{number:,.0f}"
    decimals = max(0, 3 - math.floor(math.log10(size)))
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _numbers(values: NDArray[Any]) -> Array:
    """Rows as numbers; a column of words as codes, whose differences say little but not nothing."""
    if values.dtype.kind != "O":
        return np.asarray(values, dtype=np.float64)
    columns = []
    for column in values.T:
        found = pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(np.float64)
        if np.isnan(found).mean() > np.mean(pd.isna(column)):
            found = np.array([crc32(str(cell).encode()) % 1000 for cell in column], np.float64)
        columns.append(found)
    return np.stack(columns, 1)
