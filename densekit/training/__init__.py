"""The one optimisation loop."""

from densekit.training.history import History
from densekit.training.trainer import Trainer

__all__ = ["History", "Trainer"]
