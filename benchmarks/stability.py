"""Whether a default fit diverges: many tables, several seeds, every estimator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.architectures import Array
from benchmarks.clock import now
from densekit import registry
from densekit.exceptions import DivergenceError
from densekit.images.base import ImageEstimator

WITHOUT_DEFAULT = ("flow",)  # its layers are the user's


def estimators() -> list[str]:
    """Every registered estimator that has a default and takes tables, not images alone."""
    names = [name for name in registry.available("estimators") if name not in WITHOUT_DEFAULT]
    kinds = {name: registry.load("estimators", name) for name in names}
    return [name for name, kind in kinds.items() if not issubclass(kind, ImageEstimator)]


def measure(
    seeds: int, max_rows: int, earlier: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Fit every estimator of tables to `max_rows` rows at most of every table.

    Yields the result so far after each table. Tables of an earlier result count as they are.
    """
    cells = []
    if earlier and (earlier["seeds"], earlier["max_rows"]) == (seeds, max_rows):
        cells += earlier["cells"]
    done = {cell["table"] for cell in cells}
    for table in (*tables.tables(), *tables.odd_tables()):
        if table.name in done:
            continue
        train, test = table.splits[0]
        for name in estimators():
            for seed in range(seeds):
                rows = np.random.default_rng(seed).permutation(len(train))[:max_rows]
                cell = _measure_fit(name, seed, train[rows], test[:max_rows])
                cells.append({"table": table.name, "estimator": name, "seed": seed, **cell})
        yield {"seeds": seeds, "max_rows": max_rows, "cells": cells}


def _measure_fit(name: str, seed: int, train: Array, test: Array) -> dict[str, Any]:
    start = now()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = registry.make_estimator(name, random_state=seed)
        try:
            scores = estimator.fit(train).score_samples(test)
        except DivergenceError:
            return {"is_diverged": True, "seconds": now() - start}
    return {
        "is_diverged": False,
        "n_scores": len(scores),
        "n_not_finite": int((~np.isfinite(scores)).sum()),
        "least": float(scores.min()),
        "n_rollbacks": estimator.history_.n_rollbacks,
        "seconds": now() - start,
    }
