"""Training more than once, where validation rows tell which time was best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from densekit.data.rows import Rows
from densekit.densities.base import Density
from densekit.exceptions import DivergenceError
from densekit.training.checkpoint import (
    Checkpoint,
    State,
    below,
    check_history,
    check_plain,
    check_tensors,
    require,
)
from densekit.training.history import History
from densekit.training.trainer import Trainer


def fit_best(
    trainers: Sequence[Trainer],
    density: Density,
    train: Rows,
    validation: Rows | None,
    *,
    generator: torch.Generator,
    checkpoint: Checkpoint | None = None,
) -> tuple[Trainer, History]:
    """Train a density with each trainer from the same start, and keep the best.

    A run that still gains when its epochs end is the last: there is nothing yet that others could
    do about overfitting.

    Parameters
    ----------
    trainers : sequence of Trainer
        More than one needs validation rows, which choose.
    density : Density
        Holds the best weights in the end.
    train : Rows
    validation : Rows, optional
    generator : torch.Generator
    checkpoint : Checkpoint, optional
        Training goes on from its state, if it has one.

    Returns
    -------
    trainer : Trainer
        The one whose weights were kept.
    history : History
        Of its run; seconds are counted from the first trainer's start, and rollbacks are those of
        all runs.

    Raises
    ------
    DivergenceError
        No trainer came through; the first one's failure.
    """
    start, done = _copy_of_state(density), _Trials()
    if checkpoint is not None and (state := checkpoint.take_trials()) is not None:
        with checkpoint.guarded():
            done = _Trials.restore(state, start, len(trainers))
    for number, trainer in enumerate(trainers[done.n_done :], done.n_done):
        density.load_state_dict(start)
        if checkpoint is not None:
            checkpoint.keep_trials(done.state())
        try:
            history = trainer.fit(
                density, train, validation, generator=generator, checkpoint=checkpoint
            )
        except DivergenceError as error:
            done.failures.append(str(error))
            continue
        done.add(number, history, _copy_of_state(density))
        if history.interrupted or still_gains(
            history, trainer.max_epochs, trainer.n_iter_no_change
        ):
            break
    if not done.runs:
        raise DivergenceError(done.failures[0])
    best = max(done.runs, key=lambda run: run.history.best_score or 0.0)
    density.load_state_dict(best.weights)
    best.history.n_rollbacks = sum(run.history.n_rollbacks for run in done.runs)
    return trainers[best.number], best.history


def still_gains(history: History, max_epochs: int, n_iter_no_change: int) -> bool:
    """Whether epochs ran out, and not a third of the patience."""
    since_best = history.n_epochs - history.best_epoch
    return history.n_epochs >= max_epochs and 3 * since_best <= n_iter_no_change


@dataclass
class _Trial:
    """One trainer's run: which it was, its record, and the weights it ended with."""

    number: int
    history: History
    weights: dict[str, Tensor]


@dataclass
class _Trials:
    """Runs that came to their end, and the messages of those that diverged."""

    runs: list[_Trial] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def n_done(self) -> int:
        return len(self.runs) + len(self.failures)

    def add(self, number: int, history: History, weights: dict[str, Tensor]) -> None:
        """Take a run, whose seconds go on from those of the runs before."""
        before = next((r.history.seconds[-1] for r in self.runs[::-1] if r.history.seconds), 0.0)
        history.seconds = [before + second for second in history.seconds]
        self.runs.append(_Trial(number, history, weights))

    def state(self) -> State:
        """These trials as a checkpoint holds them."""
        runs = [{"number": run.number, "history": asdict(run.history)} for run in self.runs]
        tensors = {f"{run.number}.{k}": v for run in self.runs for k, v in run.weights.items()}
        return State({"runs": runs, "failures": self.failures}, tensors)

    @classmethod
    def restore(cls, state: State, weights: dict[str, Tensor], n_trainers: int) -> _Trials:
        """Undo `state`, of so many trainers and a density with such weights."""
        plain, tensors = state
        runs, failures = plain.get("runs", []), plain.get("failures", [])
        require(isinstance(runs, list) and isinstance(failures, list), "its trials are no lists")
        fresh = {"number": 0, "history": asdict(History())}
        trials = []
        for run in runs:
            check_plain(run, fresh, "a trial")
            check_history(run["history"])
            own = below(f"{run['number']}.", tensors)
            check_tensors(own, weights)
            trials.append(_Trial(run["number"], History(**run["history"]), own))
        numbers = {trial.number for trial in trials}
        is_whole = len(tensors) == len(weights) * len(numbers) and len(numbers) == len(trials)
        is_known = numbers <= set(range(n_trainers)) and len(trials) + len(failures) <= n_trainers
        is_text = all(isinstance(failure, str) and len(failure) < 1000 for failure in failures)
        require(is_whole and is_known and is_text, "its trials are not those of this fit")
        return cls(trials, failures)


def _copy_of_state(density: Density) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in density.state_dict().items()}
