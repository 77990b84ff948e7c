"""One fit on its way: its epochs, and all that the epochs to come depend on."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from densekit.data.rows import Rows, in_chunks, index_by_weight
from densekit.densities.base import Density
from densekit.exceptions import DivergenceError
from densekit.training.checkpoint import State, below, require
from densekit.training.history import History
from densekit.training.learner import Learner, NonFiniteError

if TYPE_CHECKING:
    from densekit.training.trainer import Trainer

MAX_ROLLBACKS = 5
ROLLBACK_FACTOR = 0.3  # of the learning rate, at each rollback
PLATEAU_FACTOR = 0.5  # of noise or learning rate, after a third of the patience without progress
# Adam's first steps move all weights by the learning rate, and together they move a deep flow far.
WARM_UP_STEPS = 100
LATE_FROM = 0.25  # of all steps: strokes and shapes are known by then
LEAST_NOISE = 0.01  # what is less becomes none


class LateObjective(Protocol):
    """What is to be learned beside likelihood in the last part of training."""

    state: Tensor
    """What it has learned of itself, for checkpoints."""

    def widen(
        self, density: Density, batch: Rows, generator: torch.Generator
    ) -> tuple[Rows, float]:
        """A batch whose likelihood has the gradient of both, and by how much its nats exceed."""


class Run:
    """One fit: the optimiser, the averaged and the best weights, and the record."""

    def __init__(
        self,
        trainer: Trainer,
        density: Density,
        train: Rows,
        validation: Rows | None,
        generator: torch.Generator,
    ):
        self.options, self.density = trainer, density
        self.validation, self.generator = validation, generator
        # Rows of unequal weight are drawn by it, and then count alike: gradients of heavy rows
        # would be clipped.
        self._draw_weight = None if train.is_even else train.weight
        self.train = replace(train, weight=torch.ones_like(train.weight))
        self.history = History()
        self._late: LateObjective | None = None
        if trainer.late_objective is not None:
            self._late = trainer.late_objective(train.context, generator.device)
        self._learner = Learner(
            density, trainer.learning_rate, trainer.average_decay, trainer.optimizer
        )
        self._weights = self._learner.weights
        self._batch_size = _batch_size(trainer.batch_size, len(train))
        self._train_offset = train.offset
        self._validation_offset = 0.0 if validation is None else validation.offset
        self._start = time.monotonic()
        self._rate, self._noise = trainer.learning_rate, trainer.noise
        self._since_best = 0
        self._best_score = -math.inf
        self._best_weights = self._weights.copy()

    def is_done(self) -> bool:
        is_out_of_patience = self._since_best >= self.options.n_iter_no_change
        if self._late is not None and not self._is_late(self.history.n_epochs):
            is_out_of_patience = False  # another objective is still to come
        return (
            not len(self._weights)
            or self.history.n_epochs >= self.options.max_epochs
            or is_out_of_patience
        )

    def epoch(self) -> None:
        """Run an epoch to its end, rolling back and trying again where losses are not finite."""
        while True:
            try:
                train_nats = self._pass_over_batches()
                validation_nats = self._score_validation()
                break
            except NonFiniteError as error:
                self._roll_back(error)
        history = self.history
        history.train_nats.append(train_nats + self._train_offset)
        if validation_nats is not None:
            history.validation_nats.append(validation_nats + self._validation_offset)
        history.learning_rate.append(self._learner.learning_rate)
        history.seconds.append(time.monotonic() - self._start)
        if self._is_late(history.n_epochs) and not self._is_late(history.n_epochs - 1):
            self._best_score, self._since_best = -math.inf, 0  # which knew likelihood alone
        # Without the offset, so that the units of X cannot sway a comparison by rounding.
        self._keep_if_best(train_nats if validation_nats is None else validation_nats)

    def _is_late(self, n_epochs: int) -> bool:
        """Whether the last of so many epochs had another objective beside likelihood."""
        return self._late is not None and n_epochs > LATE_FROM * self.options.max_epochs

    def state(self) -> State:
        """All that the epochs to come depend on, at the end of one."""
        learner = self._learner.state()
        plain = {
            "history": asdict(self.history),
            "rate": self._rate,
            "noise": self._noise,
            "since_best": self._since_best,
            "best_score": self._best_score,
            "learner": learner.plain,
        }
        tensors = {"best_weights": self._best_weights, "generator": self.generator.get_state()}
        if self._late is not None:
            tensors["late_objective"] = self._late.state
        tensors |= {f"other.{name}": value for name, value in self._other_state().items()}
        return State(plain, tensors | {f"learner.{k}": v for k, v in learner.tensors.items()})

    def restore(self, state: State) -> None:
        """Undo `state`."""
        plain, tensors = state
        self.history = History(**plain["history"])
        require(
            bool(self.history.validation_nats) == (self.validation is not None),
            "its history is of a fit with other validation rows",
        )
        self._start -= self.history.seconds[-1]
        for name in ("rate", "noise", "since_best", "best_score"):
            setattr(self, f"_{name}", plain[name])
        self._best_weights = tensors["best_weights"].to(self._weights.vector.device)
        self._learner.restore(State(plain["learner"], below("learner.", tensors)))
        self.generator.set_state(tensors["generator"])
        if self._late is not None:
            self._late.state = tensors["late_objective"].to(self.generator.device)
        self.density.load_state_dict(below("other.", tensors), strict=False)

    def _other_state(self) -> dict[str, Tensor]:
        """What the density holds beside its parameters: buffers, and noise of its own."""
        parameters = {name for name, _ in self.density.named_parameters()}
        return {k: v for k, v in self.density.state_dict().items() if k not in parameters}

    def finish(self) -> None:
        """Restore the best weights; before the first epoch's end the present ones are the best."""
        if self.history.best_epoch or not self._weights.vector.isfinite().all():
            self._weights.set(self._best_weights)
        self._weights.release()

    def kept(self) -> str:
        """Which weights `finish` leaves."""
        epoch = self.history.best_epoch
        return f"the weights of epoch {epoch}" if epoch else "the weights so far"

    def summary(self) -> str:
        history = self.history
        shown = f"train {history.train_nats[-1]:.2f}"
        if history.validation_nats:
            shown += f", validation {history.validation_nats[-1]:.2f}"
        return f"{shown}, best {history.monitored[history.best_epoch - 1]:.2f} nats"

    def _pass_over_batches(self) -> float:
        order = self._order_of_rows()
        total = 0.0
        batches = order.split(self._batch_size)
        self._learner.learning_rate = self._rate
        n_steps = self.options.max_epochs * len(batches)
        for i, index in enumerate(batches):
            n_done = self.history.n_epochs * len(batches) + i
            if self.options.schedule == "linear":
                self._learner.learning_rate = self._rate * _annealed(n_done, n_steps)
            total += self._step(index, n_done / n_steps) * len(index)
        return total / len(self.train)

    def _order_of_rows(self) -> Tensor:
        """Rows of an epoch: each once, or as often as its weight says."""
        device = self.generator.device
        order = torch.randperm(len(self.train), generator=self.generator, device=device)
        if self._draw_weight is None:
            return order
        start = torch.rand((), generator=self.generator, device=device, dtype=torch.float64)
        return index_by_weight(self._draw_weight, start.item())[order]

    def _step(self, index: Tensor, share_done: float) -> float:
        """Take one gradient step; return the batch's mean nats before it."""
        batch = self.train.take(index)
        batch.x = self._blur(batch)
        if self._late is None or share_done < LATE_FROM:
            return self._learner.step(batch.x, batch.context, batch.weight)
        wide, excess = self._late.widen(self.density, batch, self.generator)
        return self._learner.step(wide.x, wide.context, wide.weight) - excess

    def _blur(self, batch: Rows) -> Tensor:
        """Rows with noise; constant columns are nothing else."""
        if not self._noise and batch.least_noise is None and batch.is_constant is None:
            return batch.x
        normal = torch.randn(
            batch.x.shape,
            generator=self.generator,
            dtype=batch.x.dtype,
            device=self.generator.device,
        )
        noise: float | Tensor = self._noise
        if batch.least_noise is not None:
            noise = batch.least_noise.clamp_min(self._noise)[:, None]
        noisy = batch.x + noise * normal
        return noisy if batch.is_constant is None else torch.where(batch.is_constant, normal, noisy)

    def _score_validation(self) -> float | None:
        """Mean validation nats of the averaged weights."""
        if self.validation is None:
            return None
        rows, present = self.validation, self._weights.copy()
        self._weights.set(self._learner.average)
        self.density.eval()
        scores = in_chunks(self.density.log_prob, rows.x, rows.context).double()
        self.density.train()
        self._weights.set(present)
        weight = rows.weight.double()
        mean = float((scores * weight).sum() / weight.sum())
        if not math.isfinite(mean):
            raise NonFiniteError(f"the validation score was {mean}")
        return mean

    def _keep_if_best(self, score: float) -> None:
        if score > self._best_score + self.options.tol:
            self._since_best = 0
        else:
            self._since_best += 1
            if self._since_best % max(1, self.options.n_iter_no_change // 3) == 0:
                self._go_finer()
        if score > self._best_score:
            self._best_score = score
            self._best_weights = self._learner.average.clone()
            self.history.best_epoch = self.history.n_epochs

    def _go_finer(self) -> None:
        """Take less noise; without noise, smaller steps."""
        if not self._noise:
            self._rate *= PLATEAU_FACTOR
        else:
            self._noise *= PLATEAU_FACTOR
            self._noise = self._noise if self._noise >= LEAST_NOISE else 0.0

    def _roll_back(self, error: NonFiniteError) -> None:
        self.history.n_rollbacks += 1
        if self.history.n_rollbacks > MAX_ROLLBACKS:
            raise DivergenceError(
                f"{self.options.source}: training diverged in epoch {self.history.n_epochs + 1} "
                f"({error}), also after {MAX_ROLLBACKS} restarts from the best weights at lower "
                f"learning rates; start with less than learning_rate={self.options.learning_rate} "
                "and look for extreme values in X."
            )
        self._weights.set(self._best_weights)
        self._rate *= ROLLBACK_FACTOR
        self._learner.restart()


def _annealed(n_done: int, n_steps: int) -> float:
    """The share of the learning rate after so many of all steps."""
    n_slow = min(WARM_UP_STEPS, 0.1 * n_steps)
    return (1 - n_done / n_steps) * min(1.0, (n_done + 1) / (n_slow + 1))


def _batch_size(batch_size: int | str, n_rows: int) -> int:
    if not isinstance(batch_size, str):
        return batch_size
    return min(512, max(32, 2 ** round(math.log2(n_rows / 12))))
