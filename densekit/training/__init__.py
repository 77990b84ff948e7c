"""The one optimisation loop, and the choice between several runs of it."""

from densekit.training.checkpoint import Checkpoint
from densekit.training.history import History
from densekit.training.learner import OPTIMIZERS, Learner
from densekit.training.trainer import Trainer
from densekit.training.trials import fit_best

__all__ = ["OPTIMIZERS", "Checkpoint", "History", "Learner", "Trainer", "fit_best"]
