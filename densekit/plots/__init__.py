"""Pictures, as scikit-learn's `Display` objects. They need matplotlib: ``densekit[plots]``."""

from densekit.plots.anomaly_report import AnomalyReport
from densekit.plots.density import DensityDisplay
from densekit.plots.image_grid import ImageGrid
from densekit.plots.latents import LatentDisplay
from densekit.plots.pairs import PairDisplay
from densekit.plots.training import TrainingDisplay

__all__ = [
    "AnomalyReport",
    "DensityDisplay",
    "ImageGrid",
    "LatentDisplay",
    "PairDisplay",
    "TrainingDisplay",
]
