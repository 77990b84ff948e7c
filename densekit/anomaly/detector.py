"""The anomaly detector: thresholds with a guarantee, and reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from densekit.anomaly import conformal, drift, explanations
from densekit.anomaly.calibrated import AUTO_ALPHA, CalibratedScorer
from densekit.anomaly.scores import Array
from densekit.cases import Case, DetectorCase
from densekit.data.columns import row_labels
from densekit.exceptions import CalibrationError, MissingExtraError


@dataclass(eq=False, repr=False)
class AnomalyDetector(OutlierMixin, CalibratedScorer):
    """Tells which rows do not belong, how sure that is, and why.

    A detector in scikit-learn's sense (low scores are strange, `predict` gives -1 and 1) over any
    density estimator. A part of the training rows is held out to calibrate p-values: whatever the
    model, ``P(p_values(x) <= alpha) <= alpha`` for a new row x that is exchangeable with the
    training rows.

    Parameters
    ----------
    estimator : estimator with `score_samples`, optional
        A density estimator of densekit, of scikit-learn (KernelDensity, GaussianMixture) or of
        anyone else; inside scikit-learn's FrozenEstimator one that is fitted already, on other
        rows. None is a masked autoregressive flow that trains in seconds, beside a kernel density
        over the training rows. Over one that is conditional, `fit` and all that judges rows take
        the conditions as `y`.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training rows that `predict` calls strange. "auto" is a threshold by p-values
        instead: 5 % of normal rows are called strange. As in scikit-learn the share is of rows
        that the model was fitted on, which it remembers: of new normal rows more are below. Where
        those matter, `predict` takes an alpha.
    score : str, default="auto"
        What makes a row normal. "log_density": a high one. "typicality": one near that of typical
        rows (Nalisnick 2019). "likelihood_ratio": a high ratio to a background density (Ren 2019).
        "orientation", of images: a high ratio to their own density turned by quarters of a circle,
        which tells whether they stand as training images do. "ensemble": the lower of two
        log-densities is high, the estimator's and a kernel density's, which remembers training
        rows where a flow only has their shape. "auto" is "ensemble" for the default estimator,
        "likelihood_ratio" for images of integers, since plain images have high log-densities,
        foreign as they may be, and else "log_density".
    calibration : {"split", "cross"}, default="split"
        Rows that calibrate: a part that is held out; or all of them, each by a model of
        `n_folds` that has not seen it, where scores are means over the models. "cross" takes as
        many fits and uses every row; its guarantee is 2 alpha, and close to alpha in practice.
    calibration_fraction : "auto" or float in (0, 1), default="auto"
        Share of rows that "split" holds out; "auto" is a fifth, and more where more than 10,000
        rows are left to fit, up to a half.
    n_folds : int, default=5
    background : estimator with `score_samples`, optional
        Of the likelihood ratio. None is, for images of integers, one that learns from the image
        at hand alone, as a compressor does (Serrà 2020), so that the ratio tells what the
        estimator knows beyond how plain an image is; else the estimator itself, trained on
        rows of which 30 % of the numbers are replaced at random.
    robust : bool, default=False
        Whether the training rows may be contaminated: the model is fitted again without the lowest
        tenth, or without the share `contamination`.
    n_orders : int, default=1
        Fits of the estimator to as many orders of the columns, whose log-densities are averaged;
        worth it for autoregressive models, whose reasons depend on the order.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    offset_ : float
        Threshold: `decision_function` is `score_samples` minus it.
    calibration_scores_ : ndarray
        Sorted scores of calibration rows.
    typical_score_ : float
        Their median.
    training_scores_ : ndarray of shape (n_samples,)
        Scores of the rows of `fit` by the models that were fitted to them, in their order; only
        where there are up to 10,000.
    parts_ : tuple of dict
        What was fitted, for each fold.
    n_features_in_, feature_names_in_
        As in scikit-learn, of tables.

    Examples
    --------
    >>> import numpy as np
    >>> from densekit import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> detector = AnomalyDetector(random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, -9.0]], alpha=0.05)
    array([ 1, -1])
    """

    def decision_function(self, X: Any, y: Any = None) -> Array:
        """`score_samples` minus `offset_`: negative for strange rows.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.
        """
        return self.score_samples(X, y) - self.offset_

    def p_values(self, X: Any, y: Any = None) -> Array:
        """Conformal p-values, (n,); small is strange.

        A new row that is exchangeable with the training rows gets at most alpha with a probability
        of at most alpha, for every alpha and whatever the model (Vovk 2005); with
        ``calibration="cross"`` at most 2 alpha, and close to alpha in practice (Vovk 2015). Over a
        conditional estimator `y` is the condition of each row.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.
        """
        by_fold = self._scores_by_fold(X, y)
        return conformal.p_values(self._calibration_by_fold(), by_fold)

    def predict(self, X: Any, *, alpha: float | None = None, y: Any = None) -> NDArray[np.int_]:
        """1 for normal rows and -1 for strange ones, (n,).

        Parameters
        ----------
        X : array or data frame
        alpha : float, optional
            Share of normal rows that may be called strange: rows with p-values up to it are. None
            goes by `offset_`, which `contamination` sets.
        y : array-like, optional
            The condition of each row, over a conditional estimator.

        Raises
        ------
        CalibrationError
            A ValueError: there are too few calibration rows for alpha; it says how many would do.
        """
        if alpha is None:
            return np.where(self.decision_function(X, y) < 0, -1, 1)
        check_is_fitted(self)
        level = conformal.check_alpha(alpha, len(self.calibration_scores_), self._who("predict"))
        return np.where(self.p_values(X, y) <= level + 1e-12, -1, 1)

    def select(self, X: Any, *, fdr: float = 0.1, y: Any = None) -> NDArray[np.bool_]:
        """Strange rows among many, of which a share of at most `fdr` is normal on average, (n,).

        Benjamini and Hochberg's procedure on `p_values`, which holds the false discovery rate for
        split-conformal p-values (Bates 2023, theorem 2).

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        fdr : float, default=0.1
            Share of normal rows among those that are selected, at most and on average.
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.

        Warns
        -----
        CalibrationWarning
            There are so few calibration rows that it has little power, or none.
        """
        p = self.p_values(X, y)
        return conformal.select(p, fdr, len(self.calibration_scores_), self._who("select"))

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Calibrate on new normal rows as well; the first call fits.

        The model stays, so scores do. Rows that the model has not seen sharpen p-values, and
        thresholds follow them where they drift.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, y)
        by_fold = self._scores_by_fold(X, y)
        rows = np.arange(len(by_fold[0]))
        fold = (rows + len(self.calibration_scores_)) % len(by_fold)
        own = [s[fold == k] for k, s in enumerate(by_fold)]
        known = zip(self._calibration_by_fold(), own, strict=True)
        self._set_calibration([np.concatenate(pair) for pair in known])
        if self.contamination == "auto":
            self.offset_ = conformal.threshold(self.calibration_scores_, AUTO_ALPHA)
        return self

    def drift_test(self, X: Any, y: Any = None) -> drift.DriftTest:
        """Test whether new rows are distributed as the training rows, as far as scores tell.

        Rows that the model was fitted on are no new rows: it remembers them, and finds them more
        normal than others.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.

        Returns
        -------
        DriftTest
            With `statistic`, `p_value` and the direction.
        """
        by_fold = self._scores_by_fold(X, y)
        return drift.drift_test(self._calibration_by_fold(), by_fold)

    def explain(self, X: Any, y: Any = None) -> Any:
        """Why rows are strange: what each column adds to the score, in nats.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.

        Returns
        -------
        DataFrame of shape (n_samples, n_features)
            Each row adds up to ``score_samples - typical_score_``; the most negative column is
            the strangest. For images an array shaped as X, which adds up alike.

        Notes
        -----
        MADE and PixelCNN: the exact log-probability of each number given those before it, beside
        that of typical rows; with `n_orders` averaged over the orders. Other models: columns of
        the row replace those of a typical neighbour one after the other, and the changes of the
        score are averaged over orders and neighbours (Shapley values, Strumbelj 2014). Neighbours
        are training rows that are alike in all but the strangest columns.
        """
        check_is_fitted(self)
        rows = self._check(X)
        return explanations.explain(self, rows, self._check_condition(rows, y), row_labels(X))

    def expected(self, X: Any, *, coverage: float = 0.9, y: Any = None) -> pd.DataFrame:
        """What each number of a row was expected to be given the others: low and high.

        Over a conditional estimator `y` is the condition of each row: training rows of the same
        label are asked then, or those that are nearest in the numbers of y as well. Without it
        those of all conditions are.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        coverage : float, default=0.9
            Share of the rows alike that lie between low and high.
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.

        Returns
        -------
        DataFrame of shape (n_samples, 2 * n_features)
            Columns are pairs of a feature and "low" or "high": quantiles over the training rows
            that are nearest in the other columns, whatever the model. Of images the features are
            pixels: "pixel row, column", with the channel behind them.
        """
        check_is_fitted(self)
        rows = self._check(X)
        given = self._check_condition(rows, y)
        return explanations.expected(self, rows, coverage, row_labels(X), given)

    def reasons(self, X: Any, *, n: int = 3, y: Any = None) -> list[list[str]]:
        """The strangest columns, or pixels, of each row in words, the strangest first.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        n : int, default=3
            Reasons for each row.
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional.
        """
        return explanations.in_words(self.explain(X, y), self.expected(X, y=y), self._check(X), n)

    def as_pyod(self, contamination: float | None = None, *, X: Any = None) -> Any:
        """This fitted detector as PyOD's: high scores are strange, labels are 0 and 1.

        Parameters
        ----------
        contamination : float, optional
            Share of the training rows that its labels call strange; the detector's own by
            default, and PyOD's 0.1 where that is "auto".
        X : array or data frame, optional
            The training rows, whose scores are `decision_scores_`. Needed where there were more
            than 10,000, whose scores `fit` does not keep.

        Raises
        ------
        CalibrationError
            A ValueError: the scores of the training rows were not kept, and there is no X.
        MissingExtraError
            PyOD is not installed.
        """
        check_is_fitted(self)
        try:
            from densekit.anomaly.pyod import PyODDetector
        except ImportError as error:
            raise MissingExtraError(
                "AnomalyDetector.as_pyod needs PyOD: pip install 'densekit[pyod]'."
            ) from error
        kept = getattr(self, "training_scores_", None)
        if X is None and kept is None:
            raise CalibrationError(
                f"{self._who('as_pyod')} got no X, but the detector was fitted to so many rows "
                "that their scores were not kept; give the training rows as X."
            )
        return PyODDetector(self, contamination, kept if X is None else self.score_samples(X))

    def _who(self, method: str) -> str:
        return f"{type(self).__name__}.{method}"

    @classmethod
    def example_cases(cls) -> list[Case]:
        from sklearn.neighbors import KernelDensity

        def quick() -> Any:
            from densekit.estimators.maf import MAFEstimator

            return MAFEstimator(n_layers=2, hidden_sizes=(16,), max_epochs=10, noise=0.1)

        return [
            DetectorCase("AnomalyDetector", cls),
            DetectorCase(
                "AnomalyDetector(cross, ensemble)",
                lambda: cls(quick(), score="ensemble", calibration="cross", n_folds=2),
            ),
            DetectorCase(
                "AnomalyDetector(KernelDensity, robust)",
                lambda: cls(KernelDensity(), robust=True, contamination=0.1),
            ),
            DetectorCase(
                "AnomalyDetector(likelihood_ratio)",
                lambda: cls(KernelDensity(), score="likelihood_ratio"),
            ),
            DetectorCase(
                "AnomalyDetector(typicality)", lambda: cls(KernelDensity(), score="typicality")
            ),
        ]
