"""Held-out nats and seconds of default fits, side by side on the same rows."""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity

from benchmarks import peers
from benchmarks.architectures import ARCHITECTURES
from densekit import MAFEstimator, NSFEstimator, RealNVPEstimator

Array = NDArray[np.float64]
Fit = Callable[[Array], Callable[[Array], Array]]
MAX_SECONDS = 120.0


def tables() -> Iterator[tuple[str, Array, Array]]:
    """Name, training rows and held-out rows of each set, standardised by the training rows."""
    for name, load in (
        ("wine", datasets.load_wine),
        ("breast_cancer", datasets.load_breast_cancer),
        ("digits", datasets.load_digits),
    ):
        x = load().data
        train, test = train_test_split(x, test_size=0.2, random_state=0)
        varies = train.std(0) > 0
        train, test = train[:, varies], test[:, varies]
        loc, scale = train.mean(0), train.std(0)
        yield name, (train - loc) / scale, (test - loc) / scale
    power = Path(os.environ.get("DENSEKIT_DATA", "")) / "power.npz"
    if power.is_file():
        with np.load(power) as parts:
            train, validation = (parts[key].astype(float) for key in ("train", "val"))
        yield "power (50,000 rows, validation split)", train[:50_000], validation[:20_000]


def measure() -> dict[str, Any]:
    """Fit every contender once to every table."""
    cells = []
    for table, train, test in tables():
        for name, fit in contenders().items():
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = fit(train)(test)
            cells.append(
                {
                    "table": table,
                    "n_rows": len(train),
                    "n_features": train.shape[1],
                    "method": name,
                    "nats": float(scores.mean()),
                    "error": float(scores.std() / np.sqrt(len(scores))),
                    "seconds": time.perf_counter() - start,
                }
            )
    return {"torch": torch.__version__, "skipped": peers.missing(), "cells": cells}


def contenders() -> dict[str, Fit]:
    """densekit with default parameters, the installed peers, and scikit-learn's densities."""

    def estimator(build: Callable[..., Any]) -> Fit:
        return lambda x: build(random_state=0).fit(x).score_samples

    fits: dict[str, Fit] = {
        "densekit nsf": estimator(NSFEstimator),
        "densekit maf": estimator(MAFEstimator),
        "densekit realnvp": estimator(RealNVPEstimator),
        "GaussianMixture": _fit_mixture,
        "KernelDensity": _fit_kernels,
    }
    for name, build in peers.available().items():
        for architecture in ARCHITECTURES[1:]:

            def fit(x: Array, build: Any = build, architecture: Any = architecture) -> Any:
                return _fit_peer(build(architecture, x.shape[1]), x)

            fits[f"{name} {architecture.name}"] = fit
    return fits


def _fit_mixture(x: Array) -> Callable[[Array], Array]:
    models = [GaussianMixture(k, reg_covar=1e-3, random_state=0).fit(x) for k in (1, 2, 5, 10, 20)]
    best = min(models, key=lambda model: model.bic(x))
    score_samples: Callable[[Array], Array] = best.score_samples
    return score_samples


def _fit_kernels(x: Array) -> Callable[[Array], Array]:
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.05, 2, 12)}, cv=3)
    search.fit(x[:5000])
    best = KernelDensity(bandwidth=search.best_params_["bandwidth"]).fit(x)
    score_samples: Callable[[Array], Array] = best.score_samples
    return score_samples


def _fit_peer(contender: Any, x: Array) -> Callable[[Array], Array]:
    """The usual recipe: Adam, batches of 256, the best epoch by a tenth of the rows."""
    torch.manual_seed(0)
    train, validation = train_test_split(x, test_size=0.1, random_state=0)
    rows = torch.tensor(train, dtype=torch.float32)
    held_out = torch.tensor(validation, dtype=torch.float32)
    best, since_best, start = -np.inf, 0, time.perf_counter()
    weights = copy.deepcopy(contender.flow.state_dict())
    while since_best < 20 and time.perf_counter() - start < MAX_SECONDS:
        for index in torch.randperm(len(rows)).split(256):
            contender.train_step(rows[index])
        with torch.no_grad():
            score = float(torch.cat([contender.score(r) for r in held_out.split(4096)]).mean())
        since_best += 1
        if score > best:
            best, since_best = score, 0
            weights = copy.deepcopy(contender.flow.state_dict())
    contender.flow.load_state_dict(weights)

    @torch.no_grad()
    def score_rows(x: Array) -> Array:
        parts = torch.tensor(x, dtype=torch.float32).split(4096)
        return torch.cat([contender.score(part) for part in parts]).double().numpy()

    return score_rows
