"""What a user's own calls take: public methods of estimators, beside scikit-learn and zuko.

Also the first calls of a process, two threads beside one, and a fit beside busy programs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

import densekit
from benchmarks import peers
from benchmarks.architectures import ARCHITECTURES, HIDDEN
from benchmarks.clock import processor

N_ROWS, N_FEATURES, N_FEW = 4096, 43, 6
N_MANY = 100_000
BATCH = 256
N_MORE = 20  # epochs, of which the mean counts
FLOWS = ("realnvp", "maf", "nsf")
SECONDS_BUSY = 90

FIRST = """
import time, warnings
import numpy as np, densekit
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(500, 6))
for _ in range(2):
    for run in (
        lambda: globals().update(m=densekit.make_estimator({name!r}, max_epochs=2).fit(X)),
        lambda: m.score_samples(X),
        lambda: m.sample(100),
    ):
        start = time.process_time()
        run()
        print(time.process_time() - start)
"""
FIT = """
import time, warnings
import numpy as np, densekit
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(2000, 6))
densekit.MAFEstimator(max_epochs=1).fit(X)
start = time.perf_counter()
densekit.MAFEstimator(max_epochs=20, random_state=0).fit(X)
print(time.perf_counter() - start)
"""


def measure(repeats: int) -> dict[str, Any]:
    """Medians of interleaved repeats, in seconds of the processor but where the wall is named."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    return {
        "processor": processor(),
        "repeats": repeats,
        "skipped": peers.missing(),
        "many": _many_rows(repeats),
        "one": _one_row(repeats),
        "first": {name: _run(FIRST.format(name=name)) for name in (*FLOWS, "glow", "iaf", "made")},
        "threads": _threads(repeats),
        "busy": _busy(),
    }


def _data(n_rows: int, n_features: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(n_rows, n_features)) @ draw.normal(size=(n_features, n_features))
    found: np.ndarray[Any, np.dtype[np.float64]] = mixed
    return found


def _fitted(name: str, X: Any, **options: Any) -> Any:
    options = {"max_epochs": 1, "noise": 0, "random_state": 0, "hidden_sizes": HIDDEN} | options
    return densekit.make_estimator(name, **options).fit(X)


def _many_rows(repeats: int) -> dict[str, dict[str, float]]:
    """Scoring and epochs of `fit`, beside zuko's bare flow of the same architecture."""
    X = _data(N_ROWS, N_FEATURES)
    actions: dict[str, dict[str, Callable[[], object]]] = {}
    zuko = peers.available().get("zuko")
    rows = torch.randn(N_ROWS, N_FEATURES)
    for architecture, name in zip((ARCHITECTURES[0], ARCHITECTURES[1]), FLOWS, strict=False):
        options = {"n_layers": architecture.n_layers, "dtype": "float32", "batch_size": BATCH}
        model = _fitted(name, X, **options)
        actions[f"{name}: score_samples"] = {"densekit": partial(model.score_samples, X)}
        for n in (1, 1 + N_MORE):
            fit = partial(_fitted, name, X, **options | {"max_epochs": n})
            actions[f"{name}: fit, {n} epochs"] = {"densekit": fit}
        if zuko is None:
            continue
        peer = zuko(architecture, N_FEATURES)
        score = torch.inference_mode()(partial(peer.score, rows))
        actions[f"{name}: score_samples"]["zuko's log_prob"] = score

        def epoch(peer: Any = peer) -> None:
            for part in rows[: 9 * N_ROWS // 10].split(BATCH):
                peer.train_step(part)

        actions[f"{name}: an epoch"] = {"zuko's steps": epoch}
    return {task: _interleaved(contenders, repeats) for task, contenders in actions.items()}


def _one_row(repeats: int) -> dict[str, dict[str, float]]:
    """One row through the public door, beside scikit-learn's mixture of Gaussians."""
    X = _data(N_ROWS, N_FEW)
    models = {name: _fitted(name, X) for name in FLOWS}
    mixture = GaussianMixture(5, random_state=0).fit(X)
    scored = {name: partial(model.score_samples, X[:1]) for name, model in models.items()}
    drawn = {name: partial(model.sample, 1) for name, model in models.items()}
    return {
        "score_samples of one row": _interleaved(
            scored | {"GaussianMixture": partial(mixture.score_samples, X[:1])}, 50 * repeats
        ),
        "sample(1)": _interleaved(
            drawn | {"GaussianMixture": partial(mixture.sample, 1)}, 50 * repeats
        ),
    }


def _threads(repeats: int) -> dict[str, dict[str, float]]:
    """Seconds on the wall of many rows, by one thread and by two."""
    X = _data(N_MANY, N_FEATURES)
    found: dict[str, dict[str, float]] = {}
    for name in ("maf", "nsf"):
        model = _fitted(name, X[:N_ROWS])
        for task, run in (
            ("score_samples", partial(model.score_samples, X)),
            ("sample", partial(model.sample, N_MANY, random_state=0)),
        ):
            times: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(repeats):
                for n_threads, seconds in times.items():
                    torch.set_num_threads(n_threads)
                    start = time.perf_counter()
                    run()
                    seconds.append(time.perf_counter() - start)
            torch.set_num_threads(1)
            medians = {str(n): statistics.median(seconds) for n, seconds in times.items()}
            found[f"{name}: {task}"] = medians
    return found


def _busy() -> dict[str, float]:
    """Seconds on the wall of a fit with default threads, idle and beside two busy programs."""
    idle = _run(FIT)[0]
    work = f"import time\nend = time.time() + {SECONDS_BUSY}\nwhile time.time() < end: pass"
    others = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(2)]
    try:
        return {"idle": idle, "busy": _run(FIT)[0]}
    finally:
        for other in others:
            other.kill()
            other.wait()


def _run(code: str) -> list[float]:
    """The numbers that a new process prints, which has as many threads as torch takes by itself."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(line) for line in text.stdout.split()]


def _interleaved(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(repeats):
        for name, action in actions.items():
            start = time.process_time()
            action()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}
