"""Scores of an anomaly detector, and the strangest rows with their reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.data.columns import row_labels
from densekit.exceptions import MissingExtraError, ScorerError
from densekit.plots import tools

N_BINS = 60
OUTLIER_SHARE = 0.005  # of either end, that the histogram may cut off


class AnomalyReport:
    """Histogram of scores with the threshold, and the strangest rows with their reasons.

    Parameters
    ----------
    scores, calibration_scores : ndarray
        Of the rows in question, and of normal rows that the model has not seen.
    threshold : float
        `offset_` of the detector.
    rows : list of int
        Places of the strangest rows, the strangest first.
    p_values : ndarray
        Theirs.
    reasons : list of list of str
        Theirs, in words.
    labels : list, optional
        What the rows are called in the picture; their places by default. `from_estimator` takes a
        data frame's index.

    Attributes
    ----------
    figure_, axes_ : matplotlib's
        After `plot`.

    Examples
    --------
    >>> import numpy as np
    >>> from densekit import AnomalyDetector
    >>> from densekit.plots import AnomalyReport
    >>> from sklearn.mixture import GaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = AnomalyDetector(GaussianMixture(), random_state=0).fit(X)
    >>> X[17, 2] = 8.0
    >>> AnomalyReport.from_estimator(detector, X, n_rows=1).rows
    [17]
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        calibration_scores: NDArray[np.float64],
        threshold: float,
        rows: list[int],
        p_values: NDArray[np.float64],
        reasons: list[list[str]],
        labels: list[Any] | None = None,
    ):
        self.scores = scores
        self.calibration_scores = calibration_scores
        self.threshold = threshold
        self.rows = rows
        self.p_values = p_values
        self.reasons = reasons
        self.labels = rows if labels is None else labels

    @classmethod
    def from_estimator(
        cls, detector: Any, X: Any, *, n_rows: int = 5, n_reasons: int = 3, axes: Any = None
    ) -> AnomalyReport:
        """Score rows, explain the strangest, and draw.

        Parameters
        ----------
        detector : fitted AnomalyDetector
        X : array or data frame of shape (n_samples, n_features), or images
        n_rows, n_reasons : int, default=5 and 3
            Rows that are explained, and columns that are named for each.
        axes : pair of matplotlib Axes, optional
        """
        from sklearn.utils import _safe_indexing

        if not hasattr(detector, "reasons"):
            raise ScorerError(
                f"AnomalyReport got a {type(detector).__name__}, expected a fitted detector: "
                "AnomalyDetector(estimator).fit(X), of any density estimator."
            )
        scores = detector.score_samples(X)
        rows = np.argsort(scores, kind="stable")[:n_rows]
        strangest, index = _safe_indexing(X, rows), row_labels(X)
        return cls(
            scores,
            detector.calibration_scores_,
            detector.offset_,
            rows.tolist(),
            detector.p_values(strangest),
            detector.reasons(strangest, n=n_reasons),
            None if index is None else np.asarray(index)[rows].tolist(),
        ).plot(axes=axes)

    def plot(self, *, axes: Any = None) -> AnomalyReport:
        """Draw the report.

        Parameters
        ----------
        axes : pair of matplotlib Axes, optional
            For the histogram and the reasons; a new figure otherwise, not shown by itself.
        """
        try:
            from matplotlib import pyplot as plt
        except ImportError:
            raise MissingExtraError(
                "AnomalyReport needs matplotlib: pip install 'densekit[plots]'."
            ) from None
        n_lines = sum(1 + len(lines) for lines in self.reasons)
        if axes is None:
            heights = [2.6, max(0.6, 0.24 * n_lines)]
            _, axes = plt.subplots(
                2, 1, figsize=(7.5, sum(heights)), height_ratios=heights, layout="constrained"
            )
        self._draw_scores(axes[0])
        self._draw_reasons(axes[1], n_lines)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_scores(self, ax: Any) -> None:
        both = np.concatenate([self.scores, self.calibration_scores])
        low, high = np.quantile(both, [OUTLIER_SHARE, 1 - OUTLIER_SHARE])
        low = min(low, self.threshold - 0.1 * (high - low))
        bins = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
        options = {"bins": bins, "density": True}
        normal = np.clip(self.calibration_scores, bins[0], bins[-1])
        ax.hist(normal, color="0.75", label="normal rows, held out", **options)
        own = np.clip(self.scores, bins[0], bins[-1])
        ax.hist(own, histtype="step", color="C0", linewidth=1.5, label="these rows", **options)
        n_below = int((self.scores < self.threshold).sum())
        label = f"threshold: {n_below} of {len(self.scores)} rows are below"
        ax.axvline(self.threshold, color="C3", linestyle="--", label=label)
        ax.set_xlabel("score in nats; the ends take all that lies beyond")
        ax.set_ylabel("share of rows per nat")
        ax.legend(fontsize="small")

    def _draw_reasons(self, ax: Any, n_lines: int) -> None:
        ax.set_axis_off()
        ax.set_ylim(n_lines, 0)
        place = 0.5
        found = zip(self.rows, self.labels, self.p_values, self.reasons, strict=True)
        for row, label, p, lines in found:
            title = f"row {label}: score {self.scores[row]:.1f}, p = {p:.3g}"
            ax.text(0, place, tools.shown(title, 120), fontsize=9, weight="bold", va="center")
            for i, line in enumerate(lines, start=1):
                ax.text(0.02, place + i, tools.shown(line, 200), fontsize=8.5, va="center")
            place += 1 + len(lines)
