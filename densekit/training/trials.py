"""Training more than once, where validation rows tell which time was best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from densekit.data.rows import Rows
from densekit.densities.base import Density
from densekit.errors import DivergenceError
from densekit.training.history import History
from densekit.training.trainer import Trainer


def fit_best(
    trainers: Sequence[Trainer],
    density: Density,
    train: Rows,
    validation: Rows | None,
    *,
    generator: torch.Generator,
) -> tuple[Trainer, History]:
    """Train a density with each trainer from the same start, and keep the best.

    Parameters
    ----------
    trainers : sequence of Trainer
        More than one needs validation rows, which choose.
    density : Density
        Holds the best weights in the end.
    train : Rows
    validation : Rows, optional
    generator : torch.Generator

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
    start, seconds, rollbacks, failure = _copy_of_state(density), 0.0, 0, None
    runs: list[tuple[float, Trainer, History, dict[str, Tensor]]] = []
    for trainer in trainers:
        density.load_state_dict(start)
        try:
            history = trainer.fit(density, train, validation, generator=generator)
        except DivergenceError as error:
            failure = failure or error
            continue
        history.seconds = [seconds + second for second in history.seconds]
        seconds = history.seconds[-1] if history.seconds else seconds
        rollbacks += history.n_rollbacks
        runs.append((history.best_score or 0.0, trainer, history, _copy_of_state(density)))
        if history.interrupted:
            break
    if failure is not None and not runs:
        raise failure
    _, trainer, history, weights = max(runs, key=lambda run: run[0])
    density.load_state_dict(weights)
    history.n_rollbacks = rollbacks
    return trainer, history


def _copy_of_state(density: Density) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in density.state_dict().items()}
