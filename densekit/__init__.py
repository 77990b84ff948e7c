"""densekit: density estimators for tables and images, behind a scikit-learn API.

Public names are loaded when they are first used, so ``import densekit`` itself is quick and
imports no torch.

Examples
--------
>>> import densekit
>>> densekit.available("elementwise")
['affine', 'shift', 'spline']
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "anomaly_auc": "densekit.anomaly.labels",
    "available": "densekit.registry",
    "load": "densekit.persistence",
    "make_estimator": "densekit.registry",
    "plain": "densekit._kernels.switch",
    "plugins": "densekit.discovery",
    "register": "densekit.registry",
    "AnomalyDetector": "densekit.anomaly.detector",
    "FlowEstimator": "densekit.estimators.flow",
    "GlowEstimator": "densekit.estimators.glow",
    "ImageGlowEstimator": "densekit.images.glow",
    "ImageRealNVPEstimator": "densekit.images.realnvp",
    "IAFEstimator": "densekit.estimators.iaf",
    "MADEEstimator": "densekit.estimators.made",
    "MAFEstimator": "densekit.estimators.maf",
    "NICEEstimator": "densekit.estimators.nice",
    "NSFEstimator": "densekit.estimators.nsf",
    "PixelCNNEstimator": "densekit.images.pixelcnn",
    "RealNVPEstimator": "densekit.estimators.realnvp",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'densekit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
