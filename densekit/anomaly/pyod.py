"""A detector as PyOD's: high scores are strange, labels are 0 and 1. Importing this needs PyOD."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pyod.models.base import BaseDetector

DEFAULT_CONTAMINATION = 0.1  # PyOD's own


class PyODDetector(BaseDetector):
    """What PyOD's combination and evaluation functions take.

    `decision_scores_`, `labels_` and `threshold_` are of the rows that were fitted.

    Parameters
    ----------
    detector : AnomalyDetector
        A fitted one.
    contamination : float, optional
        The detector's by default, and 0.1 where that is "auto".
    training_scores : array, optional
        The detector's scores of its training rows, those that it keeps by default.
    """

    def __init__(
        self,
        detector: Any,
        contamination: float | None = None,
        training_scores: NDArray[np.float64] | None = None,
    ):
        share = detector.contamination if contamination is None else contamination
        super().__init__(contamination=DEFAULT_CONTAMINATION if share == "auto" else share)
        self.detector = detector
        self._take(-(detector.training_scores_ if training_scores is None else training_scores))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the detector anew; `y` is ignored."""
        self.detector.fit(X)
        self._take(self.decision_function(X))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores, high for strange rows."""
        scores: NDArray[np.float64] = -self.detector.score_samples(X)
        return scores

    def _take(self, scores: NDArray[np.float64]) -> None:
        self.decision_scores_ = scores
        self._set_n_classes(None)
        self._process_decision_scores()
