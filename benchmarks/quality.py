"""Held-out nats and seconds of default fits, side by side on the same rows."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity

from benchmarks import peers, tables
from benchmarks.architectures import ARCHITECTURES, Array, Fitted
from benchmarks.clock import now
from benchmarks.remote import RemotePeers
from densekit import MAFEstimator, NSFEstimator, RealNVPEstimator
from densekit.data.rows import find_repeated_values

Fit = Callable[[Array], Fitted]
OWN = "densekit nsf"  # whose time to reach the best peer is measured
EPOCH_GROWTH = 1.5  # of the lengths of the fits that measure it


def measure(
    methods: Sequence[str], chosen: Sequence[str], max_seconds: float, jax_python: Path | None
) -> Iterator[dict[str, Any]]:
    """Fit every contender to every table; empty lists mean all.

    Yields the result so far after each table, for a whole run takes hours. It has, for each
    table, the share of columns in which values repeat: where they do, nats are no measure.
    """
    remote = RemotePeers(jax_python, torch.get_num_threads()) if jax_python else None
    fits = contenders(max_seconds, remote)
    fits = {name: fit for name, fit in fits.items() if not methods or name in methods}
    missing = {"flowjax", "pzflow"} - set(remote.names if remote else [])
    cells: list[dict[str, Any]] = []
    repeats: dict[str, float] = {}
    for table in tables.tables():
        if chosen and table.name not in chosen:
            continue
        train = table.splits[0][0]
        repeats[table.name] = len(find_repeated_values(train)) / train.shape[1]
        found = [_measure_cell(table, name, fit) for name, fit in fits.items()]
        best = best_rival(found)
        own = [cell for cell in found if cell["method"] == OWN]
        if best and own:
            own[0]["seconds_to_best_rival"] = _seconds_to_reach(
                table, best["nats"], own[0]["seconds"]
            )
        cells += found
        skipped = [*peers.missing(), *missing]
        yield {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "max_seconds": max_seconds,
            "skipped": skipped,
            "repeats": repeats,
            "cells": cells,
        }
    if remote:
        remote.close()


def best_rival(cells: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The best of the others whose held-out nats are finite, on one table."""
    rivals = [cell for cell in cells if not cell["method"].startswith("densekit")]
    finite = [cell for cell in rivals if math.isfinite(cell["nats"])]
    return max(finite, key=lambda cell: cell["nats"], default=None)


def contenders(max_seconds: float, remote: RemotePeers | None) -> dict[str, Fit]:
    """densekit with default parameters, the installed peers, and scikit-learn's densities."""

    def estimator(build: Callable[..., Any]) -> Fit:
        return lambda x: Fitted(build(random_state=0).fit(x).score_samples)

    fits: dict[str, Fit] = {
        OWN: estimator(NSFEstimator),
        "densekit maf": estimator(MAFEstimator),
        "densekit realnvp": estimator(RealNVPEstimator),
        "GaussianMixture": _fit_mixture,
        "KernelDensity": _fit_kernels,
    }
    for architecture in ARCHITECTURES[1:]:
        for name, build in peers.available().items():

            def fit(x: Array, build: Any = build, architecture: Any = architecture) -> Fitted:
                return _fit_peer(build(architecture, x.shape[1]), x, max_seconds)

            fits[f"{name} {architecture.name}"] = fit
        if not remote:
            continue
        for name in remote.names:
            if name != "pzflow" or architecture.name == "nsf_c":
                fit_remote = partial(remote.fit, name, architecture, max_seconds=max_seconds)
                fits[f"{name} {architecture.name}"] = fit_remote
    return fits


def _measure_cell(table: tables.Table, name: str, fit: Fit) -> dict[str, Any]:
    """Fit to the training rows of every split; score the held-out rows of all."""
    start, scores, elsewhere = now(), [], 0.0
    for train, test in table.splits:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = fit(train)
            scores.append(fitted.score(test))
        elsewhere += fitted.seconds_elsewhere
    nats = np.concatenate(scores)
    print(f"{table.name}: {name} {nats.mean():.2f}", file=sys.stderr, flush=True)
    return {
        "table": table.name,
        "n_rows": len(table.splits[0][0]),
        "n_features": table.splits[0][0].shape[1],
        "n_splits": len(table.splits),
        "method": name,
        "nats": float(nats.mean()),
        "error": float(nats.std() / np.sqrt(len(nats))),
        "n_not_finite": int((~np.isfinite(nats)).sum()),
        "seconds": (now() - start + elsewhere) / len(table.splits),
        "seconds_to_best": fitted.seconds_to_best,
    }


def _seconds_to_reach(table: tables.Table, nats: float, most: float) -> float | None:
    """Seconds of the shortest default fit, by its epochs, that reaches so many held-out nats.

    A fit with fewer epochs goes the same way as a longer one, so this is the time at which that
    would have got there; None means that no fit of about `most` seconds does.
    """
    train, test = table.splits[0]
    n_epochs, seconds = 1.0, 0.0
    while seconds < most:
        start = now()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator = NSFEstimator(random_state=0, max_epochs=round(n_epochs)).fit(train)
        seconds = now() - start
        if estimator.score_samples(test).mean() >= nats:
            return seconds
        n_epochs = max(n_epochs + 1, n_epochs * EPOCH_GROWTH)
    return None


def _fit_mixture(x: Array) -> Fitted:
    models = [GaussianMixture(k, reg_covar=1e-3, random_state=0).fit(x) for k in (1, 2, 5, 10, 20)]
    return Fitted(min(models, key=lambda model: model.bic(x)).score_samples)


def _fit_kernels(x: Array) -> Fitted:
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.05, 2, 12)}, cv=3)
    search.fit(x[:5000])
    return Fitted(KernelDensity(bandwidth=search.best_params_["bandwidth"]).fit(x).score_samples)


def _fit_peer(contender: Any, x: Array, max_seconds: float) -> Fitted:
    """The usual recipe: Adam, batches of 256, the best epoch by a tenth of the rows."""
    torch.manual_seed(0)
    train, validation = train_test_split(x, test_size=0.1, random_state=0)
    rows = torch.tensor(train, dtype=torch.float32)
    held_out = torch.tensor(validation, dtype=torch.float32)
    best, since_best, start, seconds_to_best = -np.inf, 0, now(), 0.0
    weights = copy.deepcopy(contender.flow.state_dict())
    while since_best < 20 and now() - start < max_seconds:
        for index in torch.randperm(len(rows)).split(256):
            contender.train_step(rows[index])
        with torch.no_grad():
            score = float(torch.cat([contender.score(r) for r in held_out.split(4096)]).mean())
        since_best += 1
        if score > best:
            best, since_best = score, 0
            seconds_to_best = now() - start
            weights = copy.deepcopy(contender.flow.state_dict())
    contender.flow.load_state_dict(weights)

    @torch.no_grad()
    def score_rows(x: Array) -> Array:
        parts = torch.tensor(x, dtype=torch.float32).split(4096)
        return torch.cat([contender.score(part) for part in parts]).double().numpy()

    return Fitted(score_rows, seconds_to_best)
