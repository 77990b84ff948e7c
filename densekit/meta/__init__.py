"""Estimators that hold an estimator."""

from densekit.meta.anomaly import AnomalyDetector
from densekit.meta.base import MetaEstimator

__all__ = ["AnomalyDetector", "MetaEstimator"]
