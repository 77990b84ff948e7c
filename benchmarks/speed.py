"""Scoring, sampling and training of matched architectures, interleaved with the limit."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

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

Action = Callable[[], object]
LEAST_SECONDS = 0.02  # an action that takes less is repeated within a measurement


def measure(
    dimensions: tuple[int, ...], threads: tuple[int, ...], repeats: int
) -> dict[str, object]:
    """Time every cell; the contenders take turns within a repeat."""
    cells = []
    for n_threads in threads:
        torch.set_num_threads(n_threads)
        for architecture in ARCHITECTURES:
            for n_features in dimensions:
                for task, actions in _tasks(architecture, n_features).items():
                    cells.append(
                        {
                            "task": task,
                            "threads": n_threads,
                            "flow": architecture.name,
                            "n_features": n_features,
                            "seconds": _interleave(actions, repeats),
                        }
                    )
    return {
        "repeats": repeats,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "skipped": peers.missing(),
        "cells": cells,
    }


def _tasks(architecture: Architecture, n_features: int) -> dict[str, dict[str, Action]]:
    """For each task what each contender does, the limit first."""
    contenders = {"densekit": densekit(architecture, n_features)}
    for name, build in peers.available().items():
        contenders[name] = build(architecture, n_features)
    tasks: dict[str, dict[str, Action]] = {}
    for task, batch, prepare in (
        ("score, batch 4096", 4096, _scoring),
        ("sample, batch 4096", 4096, _sampling),
        ("score one row", 1, _scoring_few),
        ("train step, batch 256", 256, _training),
        ("train step, batch 1024", 1024, _training),
    ):
        limit = training_limit if prepare is _training else forward_limit
        tasks[task] = {"limit": limit(architecture, n_features, batch)}
        for name, contender in contenders.items():
            tasks[task][name] = prepare(contender, batch, n_features)
    return tasks


def _scoring(contender: Contender, batch: int, n_features: int) -> Action:
    x = torch.randn(batch, n_features)
    return torch.inference_mode()(lambda: contender.score(x))


def _scoring_few(contender: Contender, batch: int, n_features: int) -> Action:
    x, score = torch.randn(batch, n_features), contender.prepare_few()
    return torch.inference_mode()(lambda: score(x))


def _sampling(contender: Contender, batch: int, n_features: int) -> Action:
    return torch.inference_mode()(lambda: contender.sample(batch))


def _training(contender: Contender, batch: int, n_features: int) -> Action:
    x = torch.randn(batch, n_features)
    return lambda: contender.train_step(x)


def _interleave(actions: dict[str, Action], repeats: int) -> dict[str, list[float]]:
    """Median, least and greatest seconds of each action, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    counts = {name: max(1, round(LEAST_SECONDS / _time(a, 1))) for name, a in actions.items()}
    for _ in range(repeats):
        for name, action in actions.items():
            times[name].append(_time(action, counts[name]))
    return {
        name: [statistics.median(values), min(values), max(values)]
        for name, values in times.items()
    }


def _time(action: Action, count: int) -> float:
    """Mean seconds of an action that is done so many times."""
    start = time.perf_counter()
    for _ in range(count):
        action()
    return (time.perf_counter() - start) / count
