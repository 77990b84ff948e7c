"""A file from which a fit that was killed goes on."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from densekit.exceptions import CheckpointError, CheckpointWarning, DensekitError, shorten
from densekit.persistence import container as files

KIND = "checkpoint"
_EACH_EPOCH = ("train_nats", "learning_rate", "seconds")  # parts of a history
_MOST_STEPS = 2**53


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
    source : str
        The estimator, for messages.

    Raises
    ------
    CheckpointError
        A ValueError: the checkpoint belongs to another fit, and says in what they differ, or its
        content makes no sense.
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
        source: str,
    ):
        self._path, self._fingerprint, self._who = Path(path), dict(fingerprint), source
        self._run: State | None = None
        self._trials: State | None = None
        self._is_mine = self._path.exists()
        if self._is_mine:
            plain, tensors = files.read(self._path, KIND)
            with self.guarded():
                self._check_fingerprint(plain["fingerprint"])
                self._run = State(plain["run"], below("run.", tensors))
                self._trials = State(plain["trials"], below("trials.", tensors))
                n_known = len(self._run.tensors) + len(self._trials.tensors)
                require(len(tensors) == n_known, "it holds tensors that nothing takes")
                generator.manual_seed(plain["seed"])
        elif not self._path.parent.is_dir():
            raise FileNotFoundError(f"{source} got checkpoint={os.fspath(path)!r} in no folder.")
        self._seed = generator.initial_seed()
        self._written = time.monotonic()

    def take_trials(self) -> State | None:
        """What the trials before the one that was killed came to; None for a new fit."""
        return self._trials

    def take_run(self, fresh: Callable[[], State]) -> State | None:
        """The state of the trial that was killed, checked; None for all others.

        Parameters
        ----------
        fresh : callable
            Gives the state at the start of the trial, which tells the names, types and shapes.
        """
        run, self._run = self._run, None
        if run is not None:
            with self.guarded():
                check_alike(run, fresh())
        return run

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn whatever a wrong content leads to into a CheckpointError."""
        try:
            yield
        except DensekitError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"{self._who} got checkpoint={str(self._path)!r}, whose content is damaged or was "
                f"written by another version ({type(error).__name__}: {shorten(error)}); remove it "
                "to begin anew, or choose another path."
            ) from error

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
            self._is_mine = True
        except OSError as error:
            warnings.warn(
                f"{self._who}: the checkpoint {str(self._path)!r} cannot be written ({error}); "
                "training goes on.",
                CheckpointWarning,
                stacklevel=2,
            )
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, if this fit wrote it or went on from it."""
        if self._is_mine:
            Path(os.path.realpath(self._path)).unlink(missing_ok=True)

    def _check_fingerprint(self, found: dict[str, str]) -> None:
        differ = [key for key, value in self._fingerprint.items() if found.get(key) != value]
        if differ:
            raise CheckpointError(
                f"{self._who} got checkpoint={str(self._path)!r}, which belongs to a fit with "
                f"other {', '.join(differ)}; remove it to begin anew, or choose another path."
            )


def below(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have a start, without it."""
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def require(condition: bool, what: str) -> None:
    """Raise a ValueError that says what is wrong, for `Checkpoint.guarded`, unless all is right."""
    if not condition:
        raise ValueError(what)


def check_alike(found: State, fresh: State) -> None:
    """Compare a state with one of the same kind: names, types and shapes; numbers are finite."""
    check_plain(found.plain, fresh.plain, "its state")
    check_tensors(found.tensors, fresh.tensors)
    check_history(found.plain["history"])
    require(len(found.plain["history"]["seconds"]) > 0, "its history has no epochs")


def check_history(found: dict[str, Any]) -> None:
    """Check that each epoch is whole; types were compared before."""
    n_epochs = len(found["train_nats"])
    is_whole = all(len(found[name]) == n_epochs for name in _EACH_EPOCH)
    is_whole &= len(found["validation_nats"]) in (0, n_epochs)
    require(is_whole and found["best_epoch"] <= n_epochs, "its history has parts of epochs")


def check_plain(found: Any, fresh: Any, name: str) -> None:
    """Compare values of JSON's types: the same keys and types, and numbers that are finite."""
    if isinstance(fresh, dict):
        require(isinstance(found, dict), f"{name} is no object")
        require(found.keys() == fresh.keys(), f"{name} has other keys than {sorted(fresh)}")
        for key, value in fresh.items():
            check_plain(found[key], value, key)
    elif isinstance(fresh, list):  # of numbers, one for each epoch
        require(isinstance(found, list), f"{name} is no list")
        for value in found:
            check_plain(value, 0.0, name)
    elif isinstance(fresh, bool):
        require(isinstance(found, bool), f"{name} is neither true nor false")
    elif isinstance(fresh, int):
        require(type(found) is int and 0 <= found < _MOST_STEPS, f"{name} is no number of steps")
    else:
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        require(is_number and abs(found) < math.inf, f"{name} is no finite number")


def check_tensors(found: dict[str, Tensor], fresh: dict[str, Tensor]) -> None:
    """Compare tensors: the same names, shapes and types, and numbers that are finite."""
    require(found.keys() == fresh.keys(), "it holds tensors of other names")
    for name, tensor in found.items():
        expected = fresh[name]
        is_alike = (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
        require(is_alike, f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}")
        if tensor.is_floating_point() and bool(expected.isfinite().all()):
            require(bool(tensor.isfinite().all()), f"{name} is not finite")
