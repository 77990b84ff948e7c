"""Scores of a detector against labels of anomalies."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from densekit.exceptions import ScorerError


def anomaly_auc(detector: Any, X: Any, y: Any) -> float:
    """Area under the ROC curve for anomalies, by labels of scikit-learn or of PyOD.

    A scorer, for `GridSearchCV` and `cross_val_score`: ``scoring=densekit.anomaly_auc``. The name
    "roc_auc" takes the greater label for what high scores mean, which is right for scikit-learn's
    labels only.

    Parameters
    ----------
    detector : estimator with `score_samples`
        Fitted; low scores are strange.
    X : array or data frame
    y : array of int of shape (n_samples,)
        -1 for anomalies and 1 for normal rows, or 1 for anomalies and 0 for normal rows.

    Returns
    -------
    float
        1 where every anomaly scores below every normal row.

    Raises
    ------
    ScorerError
        A ValueError: labels are others than these, or of one kind only.

    Examples
    --------
    >>> import numpy as np
    >>> from densekit import anomaly_auc
    >>> from sklearn.neighbors import KernelDensity
    >>> X = np.array([[0.0], [0.1], [9.0]])
    >>> anomaly_auc(KernelDensity().fit(X[:2]), X, [0, 0, 1])
    1.0
    >>> anomaly_auc(KernelDensity().fit(X[:2]), X, [1, 1, -1])
    1.0
    """
    labels = np.asarray(y)
    kinds = set(np.unique(labels).tolist())
    if kinds not in ({-1, 1}, {0, 1}):
        raise ScorerError(
            f"anomaly_auc got the labels {sorted(kinds)[:8]}, expected -1 for anomalies and 1 for "
            "normal rows, or 1 for anomalies and 0 for normal rows, and both kinds among the rows."
        )
    is_anomaly = labels == (-1 if -1 in kinds else 1)
    return float(roc_auc_score(is_anomaly, -np.asarray(detector.score_samples(X))))
