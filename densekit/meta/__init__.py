"""Estimators that hold an estimator."""

from densekit.meta.anomaly import AnomalyDetector
from densekit.meta.base import MetaEstimator
from densekit.meta.labels import anomaly_auc

__all__ = ["AnomalyDetector", "MetaEstimator", "anomaly_auc"]
