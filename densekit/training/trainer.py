"""The one optimisation loop, for every density."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from densekit.data.rows import Rows, in_chunks
from densekit.densities.base import Density
from densekit.errors import DivergenceError, InterruptedFitWarning
from densekit.training.history import History

MAX_GRADIENT_NORM = 5.0
MAX_ROLLBACKS = 5
ROLLBACK_FACTOR = 0.3  # of the learning rate, at each rollback
PLATEAU_FACTOR = 0.5  # of the learning rate, after a third of the patience without progress
ADAM_EPS = 1e-8


class _NonFiniteError(Exception):
    """A loss, a gradient or a score was not finite."""


@dataclass
class Trainer:
    """Maximise the mean log-likelihood by Adam (Kingma 2015) with early stopping.

    Parameters
    ----------
    max_epochs : int
    batch_size : int
    learning_rate : float
        At the start. It is halved when a third of the patience passes without progress.
    n_iter_no_change : int
        Patience: epochs without progress after which training stops.
    tol : float
        Least gain in nats that counts as progress.
    verbose : int
        1 shows a progress bar.
    who : str
        Name of the estimator, for messages.

    Notes
    -----
    The weights of the best epoch are restored at the end. A non-finite loss sends training back
    to them with a lower learning rate, five times at most. An interrupt keeps them and warns.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    n_iter_no_change: int
    tol: float
    verbose: int = 0
    who: str = "Trainer"

    def fit(
        self,
        density: Density,
        train: Rows,
        validation: Rows | None = None,
        *,
        generator: torch.Generator,
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

        Raises
        ------
        DivergenceError
            A RuntimeError that names the epoch: losses stayed non-finite after all rollbacks.
        """
        run = _Run(self, density, train, validation, generator)
        density.train()
        try:
            with tqdm(
                total=self.max_epochs, desc=self.who, unit="epoch", disable=not self.verbose
            ) as bar:
                while not run.is_done():
                    run.epoch()
                    bar.set_postfix(run.summary(), refresh=False)
                    bar.update()
        except KeyboardInterrupt:
            run.history.interrupted = True
            warnings.warn(
                f"{self.who}: training was interrupted in epoch {run.history.n_epochs + 1}; "
                f"the weights of epoch {run.history.best_epoch} are kept.",
                InterruptedFitWarning,
                stacklevel=2,
            )
        run.finish()
        density.eval()
        return run.history


class _Run:
    """One fit: the optimiser, the best weights so far and the record."""

    def __init__(
        self,
        trainer: Trainer,
        density: Density,
        train: Rows,
        validation: Rows | None,
        generator: torch.Generator,
    ):
        self.options, self.density = trainer, density
        self.train, self.validation, self.generator = train, validation, generator
        self.history = History()
        self._start = time.monotonic()
        self._rate = trainer.learning_rate
        self._best_score = -math.inf
        self._since_best = 0
        self._best_weights: dict[str, Tensor] = self._copy_weights()
        self._optimiser = self._new_optimiser()

    def is_done(self) -> bool:
        return (
            self.history.n_epochs >= self.options.max_epochs
            or self._since_best >= self.options.n_iter_no_change
        )

    def epoch(self) -> None:
        """Run an epoch to its end, rolling back and trying again where losses are not finite."""
        while True:
            try:
                train_nats = self._pass_over_batches() + self.train.offset
                validation_nats = self._score_validation()
                break
            except _NonFiniteError as error:
                self._roll_back(error)
        self.history.train_nats.append(train_nats)
        if validation_nats is not None:
            self.history.validation_nats.append(validation_nats)
        self.history.learning_rate.append(self._rate)
        self.history.seconds.append(time.monotonic() - self._start)
        self._keep_if_best(self.history.monitored[-1])

    def finish(self) -> None:
        """Restore the best weights; before the first epoch's end the present ones are the best."""
        if self.history.best_epoch or not self._weights_are_finite():
            self.density.load_state_dict(self._best_weights)

    def summary(self) -> dict[str, str]:
        history = self.history
        shown = {"train": f"{history.train_nats[-1]:.3f}"}
        if history.validation_nats:
            shown["validation"] = f"{history.validation_nats[-1]:.3f}"
        return shown | {"best": f"{self._best_score:.3f} nats"}

    def _pass_over_batches(self) -> float:
        order = torch.randperm(
            len(self.train), generator=self.generator, device=self.generator.device
        )
        total = 0.0
        for index in order.split(self.options.batch_size):
            batch = self.train.take(index)
            total += self._step(batch) * len(index)
        return total / len(self.train)

    def _step(self, batch: Rows) -> float:
        loss = -(self.density.log_prob(batch.x, batch.context) * batch.weight).mean()
        self._optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise _NonFiniteError(f"the loss was {value} and the gradient's norm {norm.item()}")
        self._optimiser.step()
        return -value

    def _score_validation(self) -> float | None:
        if self.validation is None:
            return None
        rows = self.validation
        self.density.eval()
        scores = in_chunks(self.density.log_prob, rows.x, rows.context).double()
        self.density.train()
        weight = rows.weight.double()
        mean = float((scores * weight).sum() / weight.sum())
        if not math.isfinite(mean):
            raise _NonFiniteError(f"the validation score was {mean}")
        return mean + rows.offset

    def _keep_if_best(self, score: float) -> None:
        if score > self._best_score + self.options.tol:
            self._since_best = 0
        else:
            self._since_best += 1
            if self._since_best % max(1, self.options.n_iter_no_change // 3) == 0:
                self._set_rate(self._rate * PLATEAU_FACTOR)
        if score > self._best_score:
            self._best_score = score
            self._best_weights = self._copy_weights()
            self.history.best_epoch = self.history.n_epochs

    def _roll_back(self, error: _NonFiniteError) -> None:
        self.history.n_rollbacks += 1
        if self.history.n_rollbacks > MAX_ROLLBACKS:
            raise DivergenceError(
                f"{self.options.who}: training diverged in epoch {self.history.n_epochs + 1} "
                f"({error}), also after {MAX_ROLLBACKS} restarts from the best weights at lower "
                f"learning rates; start with less than learning_rate={self.options.learning_rate} "
                "and look for extreme values in X."
            )
        self.density.load_state_dict(self._best_weights)
        self._rate *= ROLLBACK_FACTOR
        self._optimiser = self._new_optimiser()

    def _new_optimiser(self) -> torch.optim.Optimizer:
        self._parameters = [p for p in self.density.parameters() if p.requires_grad]
        return torch.optim.Adam(self._parameters, lr=self._rate, eps=ADAM_EPS, fused=True)

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.density.state_dict().items()}

    def _weights_are_finite(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self.density.parameters())
