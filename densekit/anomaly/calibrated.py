"""A scorer of rows with scores of rows that it has not seen to compare with."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from densekit.anomaly import conformal, explanations, inputs, scores
from densekit.anomaly.adaptive import AdaptiveImageDensity
from densekit.anomaly.base import MetaEstimator
from densekit.anomaly.kernel_rows import KernelRows
from densekit.anomaly.scores import SCORES, Array, Recipe
from densekit.data import seeds
from densekit.estimators.base import DensityEstimator
from densekit.estimators.parameters import (
    boolean,
    check_parameters,
    either,
    integer,
    number,
    one_of,
    parameter,
)
from densekit.exceptions import ParameterError

SHARE_OF_CALIBRATION = 0.2
ENOUGH_TO_FIT = 10_000  # rows; of what is beyond, calibration takes more
MAX_CALIBRATION = 20_000
MAX_ROWS_FOR_THE_SHARE = 50_000  # that say where a share of `contamination` lies
MAX_TRAINING_SCORES = 10_000  # rows; more would take longer than the fit
AUTO_ALPHA = 0.05
SHARE_TRIMMED = 0.1


def _share(value: Any) -> str | None:
    is_share = number(0.0)(value) is None and value <= 0.5
    return None if is_share or value == "auto" else "'auto', or a number above 0 and up to 0.5"


class _ScoreAttribute:
    """Stores the parameter `score`, and gives the method `score` that scikit-learn's tools call."""

    def __set__(self, detector: Any, value: Any) -> None:
        vars(detector)["score"] = value

    def __get__(self, detector: Any, owner: type) -> Any:
        return self if detector is None else detector._mean_score


@dataclass(eq=False, repr=False)
class CalibratedScorer(MetaEstimator, ABC):
    """What a detector stores and fits; `AnomalyDetector` says what its parameters mean."""

    estimator: Any = parameter(None)
    contamination: float | str = parameter("auto", _share)
    score: str = parameter("auto", one_of("auto", *SCORES))
    calibration: str = parameter("split", one_of("split", "cross"))
    calibration_fraction: float | str = parameter("auto", either(one_of("auto"), number(0.0, 1.0)))
    n_folds: int = parameter(5, integer(2))
    background: Any = parameter(None)
    robust: bool = parameter(False, boolean)
    n_orders: int = parameter(1, integer(1))
    random_state: Any = parameter(None)

    # In model files, beside what every estimator may hold.
    _stored_types = DensityEstimator._stored_types | {
        kind.__name__: kind for kind in (KernelRows, AdaptiveImageDensity)
    }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; `score` is the parameter here, and a method as an attribute.

        Parameters
        ----------
        deep : bool, default=True
            Whether to give those of the estimator inside as well.
        """
        return super().get_params(deep=deep) | {"score": vars(self)["score"]}

    def score_samples(self, X: Any, y: Any = None) -> Array:
        """How normal each row is, (n,) in nats; the mean over the models of cross-calibration.

        Over a conditional estimator `y` is the condition of each row.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.
        """
        check_is_fitted(self)
        X = self._check(X)
        return self._score_checked(X, self._check_condition(X, y))

    def __sklearn_is_fitted__(self) -> bool:
        return "calibration_scores_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = inputs.allows_nan(self.estimator)
        return tags

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        self._check_parameters()
        X = self._check(X, reset=True)
        y = self._check_condition(X, y, is_needed=True)
        rng = seeds.make_random_state(self.random_state)
        recipe = self._recipe(X)
        self.score_ = recipe.score
        index = inputs.rows_by_weight(X, y, sample_weight, type(self).__name__)
        rows, given = _safe_indexing(X, index), scores.take(y, index)
        parts, held_out = [], []
        n_rows = len(index)
        for train, rest in inputs.folds(n_rows, self._n_held_out(n_rows), self.n_folds, rng):
            part = scores.fit_part(
                recipe, _safe_indexing(rows, train), rng, scores.take(given, train)
            )
            parts.append(part)
            held_out.append(
                scores.score_part(
                    recipe.score, part, _safe_indexing(rows, rest), scores.take(given, rest)
                )
            )
        self.parts_ = tuple(parts)
        self._set_calibration(held_out)
        self.reference_, self.reference_condition_ = explanations.reference(rows, given, rng)
        self.offset_ = conformal.threshold(self.calibration_scores_, AUTO_ALPHA)
        if int(np.shape(X)[0]) <= MAX_TRAINING_SCORES:
            self.training_scores_ = self._score_checked(X, y)
        if not isinstance(self.contamination, str):
            chosen = rng.permutation(n_rows)[:MAX_ROWS_FOR_THE_SHARE]
            found = self._score_checked(_safe_indexing(rows, chosen), scores.take(given, chosen))
            self.offset_ = float(np.percentile(found, 100 * self.contamination))

    def _check_parameters(self) -> None:
        check_parameters(self)
        for name in ("estimator", "background"):
            inputs.check_scorer(getattr(self, name), name, type(self).__name__)
        if self.background is not None and self._score_name != "likelihood_ratio":
            raise ParameterError(
                f"{type(self).__name__} got a background and score={self._score_name!r}, expected "
                "score='likelihood_ratio' beside it."
            )

    def _recipe(self, X: Any) -> Recipe:
        score = self._score_name
        if score == "ensemble" and scores.is_conditional(self.estimator):
            raise ParameterError(
                f"{type(self).__name__} got score='ensemble' and a conditional estimator, expected "
                "score='log_density': the kernel density of the ensemble knows no conditions."
            )
        if score == "auto" and self.estimator is None:
            score = "ensemble"
        elif score == "auto":
            is_of_images = scores.are_images(self.estimator, X)
            score = "likelihood_ratio" if is_of_images else "log_density"
        share = SHARE_TRIMMED if self.contamination == "auto" else self.contamination
        trimmed = float(share) if self.robust else 0.0
        return Recipe(score, self.estimator, self.background, self.n_orders, trimmed)

    def _n_held_out(self, n_rows: int) -> int | None:
        """Rows that are held out for calibration; None for all of them, fold by fold."""
        if self.calibration == "cross":
            return None
        if not isinstance(self.calibration_fraction, str):
            return min(max(1, round(self.calibration_fraction * n_rows)), n_rows - 2)
        fifth = max(1, round(SHARE_OF_CALIBRATION * n_rows))
        beyond = min(n_rows - ENOUGH_TO_FIT, n_rows // 2)
        return min(max(fifth, beyond), MAX_CALIBRATION)

    def _check(self, X: Any, reset: bool = False) -> Any:
        return inputs.check_rows(self, X, reset=reset)

    def _check_condition(self, X: Any, y: Any, *, is_needed: bool = False) -> Any:
        """`y` where the estimator inside is conditional, and else None."""
        if not scores.is_conditional(self.estimator):
            if is_needed and y is not None:
                inputs.warn_of_labels(y, type(self).__name__)
            return None
        return inputs.check_condition(X, y, type(self).__name__, is_needed=is_needed)

    def _scores_by_fold(self, X: Any, y: Any = None) -> list[Array]:
        check_is_fitted(self)
        X = self._check(X)
        y = self._check_condition(X, y)
        return [scores.score_part(self.score_, part, X, y) for part in self.parts_]

    def _score_checked(self, X: Any, y: Any = None) -> Array:
        """`score_samples` of rows that have come through the door already."""
        mean: Array = np.mean(
            [scores.score_part(self.score_, part, X, y) for part in self.parts_], axis=0
        )
        return mean

    def _calibration_by_fold(self) -> list[Array]:
        ends = np.cumsum(self.fold_sizes_)[:-1]
        return [np.sort(part) for part in np.split(self.fold_scores_, ends)]

    def _set_calibration(self, by_fold: list[Array]) -> None:
        self.fold_sizes_ = np.array([len(part) for part in by_fold])
        self.fold_scores_ = np.concatenate(by_fold)
        self.calibration_scores_ = np.sort(self.fold_scores_)
        self.typical_score_ = float(np.median(self.calibration_scores_))

    @property
    def _score_name(self) -> str:
        return str(vars(self)["score"])

    def _mean_score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, as density estimators have it."""
        return float(self.score_samples(X, y).mean())


CalibratedScorer.score = _ScoreAttribute()  # type: ignore[assignment]  # after the dataclass's own
