"""Estimators that hold an estimator."""

from densekit.anomaly.base import MetaEstimator
from densekit.anomaly.detector import AnomalyDetector
from densekit.anomaly.labels import anomaly_auc

__all__ = ["AnomalyDetector", "MetaEstimator", "anomaly_auc"]
