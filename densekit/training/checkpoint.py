"""A file from which a fit that was killed goes on."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from densekit import files
from densekit.errors import CheckpointError, CheckpointWarning

KIND = "checkpoint"


class State(NamedTuple):
    """Where something stands: JSON's types, and tensors."""

    plain: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoint:
    """Keeps what training needs to go on: written at ends of epochs, read once.

    Parameters
    ----------
    path : str or path-like
        Is read if it is there, and must belong to the same fit then.
    fingerprint : mapping from str to str
        What makes a fit the one it is, such as hashes of its data, by names for the error.
    generator : torch.Generator
        Gets the seed of the fit that goes on.
    who : str
        The estimator, for messages.

    Raises
    ------
    CheckpointError
        A ValueError: the checkpoint belongs to another fit; says in what they differ.
    ModelFileError
        The file is no checkpoint.
    OSError
        The file cannot be read, or its folder is not there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fingerprint: Mapping[str, str],
        generator: torch.Generator,
        *,
        who: str,
    ):
        self._path, self._fingerprint, self._who = Path(path), dict(fingerprint), who
        self._run: State | None = None
        self._trials: State | None = None
        if self._path.exists():
            plain, tensors = files.read(self._path, KIND)
            self._check(plain.get("fingerprint", {}))
            self._run = State(plain["run"], below("run.", tensors))
            self._trials = State(plain["trials"], below("trials.", tensors))
            generator.manual_seed(plain["seed"])
        elif not self._path.parent.is_dir():
            raise FileNotFoundError(f"{who} got checkpoint={os.fspath(path)!r} in no folder.")
        self._seed = generator.initial_seed()
        self._written = time.monotonic()

    def take_trials(self) -> State | None:
        """What the trials before the one that was killed came to; None for a new fit."""
        return self._trials

    def take_run(self) -> State | None:
        """The state of the trial that was killed; None for all others."""
        run, self._run = self._run, None
        return run

    def keep_trials(self, state: State) -> None:
        """Remember what trials came to, for the next `write`."""
        self._trials = state

    def is_due(self, seconds: float) -> bool:
        """Whether the last writing is so many seconds ago."""
        return time.monotonic() - self._written >= seconds

    def write(self, run: State) -> None:
        """Write the state of the present trial, and of those before; a failure only warns."""
        trials = self._trials or State({}, {})
        description = {
            "fingerprint": self._fingerprint,
            "seed": self._seed,
            "run": run.plain,
            "trials": trials.plain,
        }
        tensors = {f"run.{name}": tensor for name, tensor in run.tensors.items()}
        tensors |= {f"trials.{name}": tensor for name, tensor in trials.tensors.items()}
        try:
            files.write(self._path, KIND, description, tensors)
        except OSError as error:
            warnings.warn(
                f"{self._who}: the checkpoint {str(self._path)!r} cannot be written ({error}); "
                "training goes on.",
                CheckpointWarning,
                stacklevel=2,
            )
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, and what a kill in the middle of writing may have left beside it."""
        files.remove(self._path)

    def _check(self, found: dict[str, str]) -> None:
        differ = [key for key, value in self._fingerprint.items() if found.get(key) != value]
        if differ:
            raise CheckpointError(
                f"{self._who} got checkpoint={str(self._path)!r}, which belongs to a fit with "
                f"other {', '.join(differ)}; remove it to begin anew, or choose another path."
            )


def below(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have a start, without it."""
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
