"""Pictures, as scikit-learn's `Display` objects. They need matplotlib: ``densekit[plots]``."""

from densekit.plots.anomaly_report import AnomalyReport
from densekit.plots.image_grid import ImageGrid

__all__ = ["AnomalyReport", "ImageGrid"]
