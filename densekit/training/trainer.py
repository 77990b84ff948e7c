"""The one optimisation loop, for every density."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from densekit.data.rows import Rows
from densekit.densities.base import Density
from densekit.exceptions import InterruptedFitWarning
from densekit.training.checkpoint import Checkpoint
from densekit.training.history import History
from densekit.training.progress import progress_bar
from densekit.training.run import LateObjective, Run

SECONDS_BETWEEN_CHECKPOINTS = 180.0  # little is lost, and writing costs nothing to speak of
BAR_FORMAT = "{desc} {n_fmt}/{total_fmt} |{bar:5}| {remaining} left{postfix}"


@dataclass
class Trainer:
    """Maximise the mean log-likelihood by Adam or Muon, with early stopping.

    Parameters
    ----------
    max_epochs : int
    batch_size : int or "auto"
        "auto" makes about twelve batches an epoch, of 32 to 512 rows each.
    learning_rate : float
        At the start. It is halved when a third of the patience passes without progress, once there
        is no noise.
    n_iter_no_change : int
        Patience: epochs without progress after which training stops.
    tol : float
        Least gain in nats that counts as progress.
    noise : float
        Standard deviation of normal numbers that are added to the training rows anew in each step,
        at the start. They smooth the density, as a kernel's bandwidth does (Bishop 1995; Rothfuss
        2019). The noise is halved when a third of the patience passes without progress, and the
        epoch that is best on validation rows decides how much of it was right.
    average_decay : float
        Per step, of the averaged weights, which are scored and kept.
    schedule : {"plateau", "linear"}
        With "linear" the learning rate also rises over the first steps, and then falls in a
        straight line, to zero after `max_epochs`.
    optimizer : {"adam", "muon"}
        Adam (Kingma 2015), or Muon (Jordan 2024) for the matrices inside perceptrons and Adam for
        all else.
    late_objective : callable, optional
        Makes, of the context of the training rows and a device, what is to be learned beside
        likelihood in the last part of training: a `LateObjective`.
    checkpoint_seconds : float
        After which the end of an epoch writes the checkpoint.
    verbose : int
        1 shows a progress bar.
    source : str
        Name of the estimator, for messages.

    Notes
    -----
    The weights of the best epoch are restored at the end. A non-finite loss sends training back
    to them with a lower learning rate, five times at most. An interrupt keeps them and warns.
    """

    max_epochs: int
    batch_size: int | str
    learning_rate: float
    n_iter_no_change: int
    tol: float
    noise: float = 0.0
    average_decay: float = 0.99
    schedule: str = "plateau"
    optimizer: str = "adam"
    late_objective: Callable[[Tensor | None, torch.device], LateObjective] | None = None
    checkpoint_seconds: float = SECONDS_BETWEEN_CHECKPOINTS
    verbose: int = 0
    source: str = "Trainer"

    def fit(
        self,
        density: Density,
        train: Rows,
        validation: Rows | None = None,
        *,
        generator: torch.Generator,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Train a density in place.

        Parameters
        ----------
        density : Density
        train : Rows
        validation : Rows, optional
            Held-out rows; without them the training rows are monitored.
        generator : torch.Generator
            Draws the order of the batches.
        checkpoint : Checkpoint, optional
            Training goes on from its state, if it has one.

        Raises
        ------
        DivergenceError
            A RuntimeError that names the epoch: losses stayed non-finite after all rollbacks.
        """
        run = Run(self, density, train, validation, generator)
        density.train()
        if checkpoint is not None and (state := checkpoint.take_run(run.state)) is not None:
            with checkpoint.guarded():
                run.restore(state)
        try:
            with progress_bar(
                is_shown=self.verbose > 0,
                total=self.max_epochs,
                initial=run.history.n_epochs,
                desc=self.source,
                bar_format=BAR_FORMAT,
            ) as bar:
                while not run.is_done():
                    run.epoch()
                    if checkpoint is not None and checkpoint.is_due(self.checkpoint_seconds):
                        checkpoint.write(run.state())
                    if bar is not None:
                        bar.set_postfix_str(run.summary(), refresh=False)
                        bar.update()
        except KeyboardInterrupt:
            run.history.interrupted = True
            warnings.warn(
                f"{self.source}: training was interrupted in epoch {run.history.n_epochs + 1}; "
                f"{run.kept()} are kept.",
                InterruptedFitWarning,
                stacklevel=2,
            )
        run.finish()
        density.eval()
        return run.history
