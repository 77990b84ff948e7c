"""The default detector from few rows to a million, and from few columns to many."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.architectures import Array
from densekit import AnomalyDetector

SHAPES = ((60, 3), (10_000, 20), (1_000_000, 20), (2_000, 1_555))
N_FACTORS = 3  # on which all columns depend
N_TEST = 1000
ALPHA = 0.1


def measure() -> Iterator[dict[str, Any]]:
    """The result so far, after every shape."""
    result: dict[str, Any] = {"torch": torch.__version__, "alpha": ALPHA, "cells": []}
    for n_rows, n_features in SHAPES:
        train, test = np.split(_draw(n_rows + N_TEST, n_features), [n_rows])
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            detector = AnomalyDetector(random_state=0).fit(train)
        fitted = time.process_time()
        scores = np.concatenate([detector.score_samples(rows) for rows in (test, _mixed(test))])
        cell = {
            "n_rows": n_rows,
            "n_features": n_features,
            "fit_seconds": fitted - start,
            "score_seconds": time.process_time() - fitted,
            "n_not_finite": int((~np.isfinite(scores)).sum()),
            "auroc": float(roc_auc_score(np.repeat([1, 0], N_TEST), np.nan_to_num(scores))),
            "false_positives": float((detector.predict(test, alpha=ALPHA) == -1).mean()),
        }
        result["cells"].append(cell)
        yield result


def _draw(n_rows: int, n_features: int) -> Array:
    """Rows of a few factors and noise; one column is discrete, of many one constant, one a copy."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(n_rows, N_FACTORS))
    X = factors @ random.normal(size=(N_FACTORS, n_features))
    X += 0.5 * random.normal(size=X.shape)
    X[:, 0] = np.rint(X[:, 0])
    if n_features > N_FACTORS:
        X[:, 1], X[:, 2] = 7.0, X[:, 3]
    return X


def _mixed(X: Array) -> Array:
    """Strange rows: each column's numbers in another order, so that no two belong together."""
    return np.random.default_rng(1).permuted(X, axis=0)
