"""Whether a default fit diverges: many tables, several seeds, every estimator."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.architectures import Array
from densekit import registry
from densekit.errors import DivergenceError

WITHOUT_DEFAULT = ("flow",)  # its layers are the user's


def measure(seeds: int, max_rows: int) -> dict[str, Any]:
    """Fit every registered estimator to `max_rows` rows at most of every table."""
    cells = []
    for table in (*tables.tables(), *tables.odd_tables()):
        train, test = table.splits[0]
        for name in registry.available("estimators"):
            if name in WITHOUT_DEFAULT:
                continue
            for seed in range(seeds):
                rows = np.random.default_rng(seed).permutation(len(train))[:max_rows]
                cell = _measure_fit(name, seed, train[rows], test[:max_rows])
                cells.append({"table": table.name, "estimator": name, "seed": seed, **cell})
    return {"seeds": seeds, "max_rows": max_rows, "cells": cells}


def _measure_fit(name: str, seed: int, train: Array, test: Array) -> dict[str, Any]:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = registry.make_estimator(name, random_state=seed)
        try:
            scores = estimator.fit(train).score_samples(test)
        except DivergenceError:
            return {"is_diverged": True, "seconds": time.perf_counter() - start}
    return {
        "is_diverged": False,
        "n_scores": len(scores),
        "n_not_finite": int((~np.isfinite(scores)).sum()),
        "least": float(scores.min()),
        "n_rollbacks": estimator.history_.n_rollbacks,
        "seconds": time.perf_counter() - start,
    }
