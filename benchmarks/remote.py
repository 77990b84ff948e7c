"""Peers in another Python, which lives as long as the benchmark that asks it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.architectures import Architecture, Array, Fitted

_WORKER = Path(__file__).with_name("jax_worker.py")


class RemotePeers:
    """The peers that a Python with JAX has installed.

    Parameters
    ----------
    python : path
        Of its interpreter.
    threads : int
    """

    def __init__(self, python: Path, threads: int):
        self._threads = threads
        self._process = subprocess.Popen(
            [str(python), str(_WORKER), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._folder = tempfile.TemporaryDirectory()
        self.names: list[str] = self._ask(do="installed")

    def timers(
        self,
        name: str,
        architecture: Architecture,
        batches: dict[str, tuple[str, int]],
        n_features: int,
    ) -> dict[str, Callable[[int], float]]:
        """For each task that the peer can do: what times so many repeats of it.

        `batches` gives for each title the worker's task and the rows at a time.
        """

        def timer(task: str, batch: int) -> Callable[[int], float]:
            request = {"peer": name, "task": task, "batch": batch, "n_features": n_features}
            return lambda count: float(self._ask(do="seconds", count=count, **request))

        request = {"peer": name, "architecture": asdict(architecture), "n_features": n_features}
        able = self._ask(do="build", **request)
        return {
            title: timer(task, batch) for title, (task, batch) in batches.items() if task in able
        }

    def fit(self, name: str, architecture: Architecture, x: Array, max_seconds: float) -> Fitted:
        """Fit a peer's flow to rows."""
        train, rows, out = (str(Path(self._folder.name, f"{n}.npy")) for n in ("train", "x", "out"))
        np.save(train, x)
        request = {"peer": name, "architecture": asdict(architecture), "train": train}
        reply = self._ask(do="fit", max_seconds=max_seconds, **request)

        def score(x: Array) -> Array:
            np.save(rows, x)
            self._ask(do="score", rows=rows, out=out)
            scores: Array = np.load(out)
            return scores

        return Fitted(
            score, reply["seconds_to_best"], reply["seconds"] if self._threads == 1 else 0
        )

    def _ask(self, **request: Any) -> Any:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"The worker ended while it was to {request['do']}.")
        reply = json.loads(line)
        if isinstance(reply, dict) and "error" in reply:
            raise RuntimeError(f"The worker could not {request['do']}: {reply['error']}.")
        return reply

    def close(self) -> None:
        """Let the worker end."""
        self._process.communicate()
        self._folder.cleanup()
