"""Scoring, sampling and training of matched architectures, interleaved with the limit."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import peers
from benchmarks.architectures import (
    ARCHITECTURES,
    Architecture,
    Contender,
    densekit,
    forward_limit,
    training_limit,
)
from benchmarks.clock import now, processor
from benchmarks.remote import RemotePeers

Builder = Callable[[Architecture, int], Contender]
Timer = Callable[[int], float]  # mean seconds of something that is done so many times
LEAST_SECONDS = 0.02  # what takes less is repeated within a measurement
TASKS = {
    "score, batch 4096": ("score", 4096),
    "sample, batch 4096": ("sample", 4096),
    "score one row": ("score few", 1),
    "train step, batch 256": ("train", 256),
    "train step, batch 1024": ("train", 1024),
}


def measure(
    dimensions: tuple[int, ...],
    threads: tuple[int, ...],
    repeats: int,
    jax_python: Path | None,
    builders: dict[str, Builder],
) -> Iterator[dict[str, object]]:
    """Time every cell; the contenders take turns within a repeat.

    Yields the result so far after each flow, for some peers take minutes to sample.
    """
    cells = []
    names: list[str] = []
    for n_threads in threads:
        torch.set_num_threads(n_threads)
        remote = RemotePeers(jax_python, n_threads) if jax_python else None
        names = remote.names if remote else []
        for architecture in ARCHITECTURES:
            for n_features in dimensions:
                for title, timers in _timers(architecture, n_features, remote, builders).items():
                    cells.append(
                        {
                            "task": title,
                            "threads": n_threads,
                            "flow": architecture.name,
                            "n_features": n_features,
                            "seconds": _interleave(timers, repeats),
                        }
                    )
                yield {
                    "repeats": repeats,
                    "torch": torch.__version__,
                    "processor": processor(),
                    "load": [os.getloadavg()[0], os.cpu_count()],
                    "beside_peers": bool(builders),
                    "skipped": [*peers.missing(), *({"flowjax", "pzflow"} - set(names))],
                    "cells": cells,
                }
        if remote:
            remote.close()


def _timers(
    architecture: Architecture,
    n_features: int,
    remote: RemotePeers | None,
    builders: dict[str, Builder],
) -> dict[str, dict[str, Timer]]:
    """For each task how each contender is timed, the limit first."""
    contenders = {"densekit": densekit(architecture, n_features)}
    for name, build in builders.items():
        contenders[name] = build(architecture, n_features)
    timers: dict[str, dict[str, Timer]] = {}
    for title, (task, batch) in TASKS.items():
        limit = training_limit if task == "train" else forward_limit
        timers[title] = {"limit": _timer(limit(architecture, n_features, batch))}
        for name, contender in contenders.items():
            timers[title][name] = _timer(_action(contender, task, batch, n_features))
    if remote:
        tasks = {title: (task.removesuffix(" few"), n) for title, (task, n) in TASKS.items()}
        for name in remote.names:
            for title, timer in remote.timers(name, architecture, tasks, n_features).items():
                timers[title][name] = timer
    return timers


def _action(contender: Contender, task: str, batch: int, n_features: int) -> Callable[[], object]:
    x = torch.randn(batch, n_features)
    if task == "train":
        return lambda: contender.train_step(x)
    if task == "sample":
        return torch.inference_mode()(lambda: contender.sample(batch))
    score = contender.prepare_few() if task == "score few" else contender.score
    return torch.inference_mode()(lambda: score(x))


def _timer(action: Callable[[], object]) -> Timer:
    def seconds(count: int) -> float:
        start = now()
        for _ in range(count):
            action()
        return (now() - start) / count

    return seconds


def _interleave(timers: dict[str, Timer], repeats: int) -> dict[str, list[float]]:
    """Median, least and greatest seconds of each action, after two rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in timers}
    for timer in timers.values():
        timer(1)
    counts = {name: max(1, round(LEAST_SECONDS / timer(1))) for name, timer in timers.items()}
    for _ in range(repeats):
        for name, timer in timers.items():
            times[name].append(timer(counts[name]))
    return {
        name: [statistics.median(values), min(values), max(values)]
        for name, values in times.items()
    }
