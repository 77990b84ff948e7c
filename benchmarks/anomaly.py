"""Anomaly detection on ADBench by the semi-supervised protocol of DTE (Livernoche 2024)."""

from __future__ import annotations

import csv
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import betabinom, binom
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from benchmarks.architectures import Array
from densekit import AnomalyDetector, MAFEstimator

MIN_ROWS, MAX_ROWS = 1000, 50_000  # of the protocol
MAX_ROWS_OF_A_FLOW = 10_000
ALPHAS = (0.01, 0.05, 0.1)
FDR = 0.1
SHARE_OF_ANOMALIES = 0.1  # among the rows to select from
N_PLANTED, PLANTED_AT = 20, 6.0  # rows of each set, and the spreads by which a value is moved

Scorer = Callable[[Array], Array]


def measure(
    seeds: list[int],
    sets: list[str],
    methods: list[str],
    has_guarantees: bool,
    contamination: float,
) -> Iterator[dict[str, Any]]:
    """The result so far, after every set: AUROC and seconds of each method, and the guarantees.

    With contamination, about that share of the training rows are anomalies: for that nothing is
    published, and nothing is guaranteed.
    """
    folder = Path(os.environ.get("DENSEKIT_DATA", "no folder"))
    skipped = [] if _ecod() else ["ECOD (pyod)"]
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "seeds": seeds,
        "skipped": skipped,
        "contamination": contamination,
        "published": {} if contamination else _published(folder),
        "cells": [],
        "guarantees": [],
    }
    paths = sorted((folder / "adbench").glob("*.npz"), key=lambda path: path.stat().st_size)
    for path in paths:
        name = path.stem.partition("_")[2]
        if sets and name not in sets:
            continue
        for seed in seeds:
            X, y = load(path, seed)
            data = halves(X, y, contamination, seed)
            n_strange = int((y == 1).sum() - (data[2] == 1).sum())
            for method, fit in _methods(methods, bool(contamination)).items():
                cell = {"set": name, "seed": seed, "method": method, "n_strange": n_strange}
                result["cells"].append(cell | _rank(*data, seed, fit))
            if has_guarantees and not contamination:
                result["guarantees"].append(_guarantees(path, name, seed))
        yield result


def load(path: Path, seed: int) -> tuple[Array, Array]:
    """Rows and labels of a set, bootstrapped to 1,000 or drawn down to 50,000 as in the paper."""
    with np.load(path) as parts:
        X, y = parts["X"].astype(float), parts["y"].astype(int)
    random = np.random.RandomState(seed)  # the same numbers as numpy.random.seed's
    if len(y) < MIN_ROWS:
        rows = random.choice(np.arange(len(y)), MIN_ROWS, replace=True)
    elif len(y) > MAX_ROWS:
        rows = random.choice(np.arange(len(y)), MAX_ROWS, replace=False)
    else:
        rows = np.arange(len(y))
    return X[rows], y[rows]


def halves(
    X: Array, y: Array, contamination: float = 0.0, seed: int = 0
) -> tuple[Array, Array, Array]:
    """The first half of the normal rows; all other rows, and their labels; standardised.

    With contamination, anomalies are added until they are about that share of the training rows.
    """
    normal, strange = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    half = round(len(normal) / 2)
    n_wanted = round(contamination / (1 - contamination) * half)
    is_moved = _drawn(X[strange], n_wanted, seed)
    train = X[np.concatenate([normal[:half], strange[is_moved]])]
    test = np.concatenate([normal[half:], strange[~is_moved]])
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(X[test]), y[test]


def _drawn(rows: Array, n_wanted: int, seed: int) -> NDArray[np.bool_]:
    """A draw of so many rows, and of half of them at most; copies of a row are drawn together."""
    _, number, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    left, drawn = min(n_wanted, len(rows) // 2), []
    for distinct in np.random.RandomState(seed).permutation(len(counts)):
        if counts[distinct] <= left:
            left -= counts[distinct]
            drawn.append(distinct)
    return np.isin(number.reshape(-1), drawn)


def _rank(train: Array, test: Array, y: Array, seed: int, fit: Any) -> dict[str, Any]:
    start, start_cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = fit(train, seed)
        seconds = time.perf_counter() - start
        cpu = time.process_time() - start_cpu
        scores = np.nan_to_num(score(test), nan=-1e300, neginf=-1e300, posinf=1e300)
    auroc = 100 * float(roc_auc_score(y, -scores))
    shape = {"n_rows": len(train), "n_features": train.shape[1]}
    timing = {"seconds": seconds, "cpu_seconds": cpu}
    return {"auroc": auroc} | shape | timing


def _methods(chosen: list[str], is_contaminated: bool) -> dict[str, Callable[[Array, int], Scorer]]:
    found: dict[str, Callable[[Array, int], Scorer]] = {"AnomalyDetector": _detector}
    if is_contaminated:
        found["AnomalyDetector, robust"] = lambda X, seed: _detector(X, seed, robust=True)
    found |= {
        "kNN": lambda X, seed: _neighbour_distance(X),
        "LOF": lambda X, seed: LocalOutlierFactor(20, novelty=True).fit(X).score_samples,
        "IsolationForest": lambda X, seed: IsolationForest(random_state=seed).fit(X).score_samples,
        "KernelDensity": lambda X, seed: KernelDensity(bandwidth="scott").fit(X).score_samples,
        "GaussianMixture": _mixture,
        "MAF": _maf,
    }
    if ecod := _ecod():
        found["ECOD"] = lambda X, seed: _ecod_scorer(ecod, X)
    return {name: fit for name, fit in found.items() if not chosen or name in chosen}


def _detector(X: Array, seed: int, **options: Any) -> Scorer:
    scorer: Scorer = AnomalyDetector(random_state=seed, **options).fit(X).score_samples
    return scorer


def _neighbour_distance(X: Array, k: int = 5) -> Scorer:
    nearest = NearestNeighbors(n_neighbors=k).fit(X)
    return lambda rows: -nearest.kneighbors(rows)[0][:, -1]


def _mixture(X: Array, seed: int) -> Scorer:
    n_components = max(1, min(10, len(X) // 50))
    mixture = GaussianMixture(n_components, reg_covar=1e-2, random_state=seed).fit(X)
    scorer: Scorer = mixture.score_samples
    return scorer


def _maf(X: Array, seed: int) -> Scorer:
    rows = np.random.RandomState(seed).permutation(len(X))[:MAX_ROWS_OF_A_FLOW]
    flow = MAFEstimator(noise=0.0, max_epochs=100, random_state=seed, dtype="float32").fit(X[rows])
    scorer: Scorer = flow.score_samples
    return scorer


def _ecod() -> Any:
    try:
        from pyod.models.ecod import ECOD
    except ImportError:
        return None
    return ECOD


def _ecod_scorer(ecod: Any, X: Array) -> Scorer:
    detector = ecod().fit(X)
    return lambda rows: -detector.decision_function(rows)


def _guarantees(path: Path, name: str, seed: int) -> dict[str, Any]:
    """False positives, false discoveries and reasons, on halves that are drawn at random.

    The protocol's halves are in the order of the file, which for some sets is no accident: then
    held-out rows are not exchangeable with the training rows, and nothing is promised.
    """
    X, y = load(path, seed)
    order = np.random.RandomState(seed).permutation(len(y))
    train, test, labels = halves(X[order], y[order])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = AnomalyDetector(random_state=seed).fit(train)
        p = detector.p_values(test)
        n_calibration = len(detector.calibration_scores_)
        cell: dict[str, Any] = {"set": name, "seed": seed, "n_calibration": n_calibration}
        cell["false_positives"] = _false_positives(p[labels == 0], n_calibration)
        cell["discoveries"] = _discoveries(detector, test, labels, seed)
        cell["planted"] = _planted(detector, test[labels == 0], seed)
    return cell


def _false_positives(p: Array, n_calibration: int) -> list[dict[str, Any]]:
    """The share of normal rows with p-values up to each level, and where it should lie.

    Given the model, the number of false positives is beta-binomial: the threshold is estimated
    from calibration rows too. The binomial band is that of a threshold that is known.
    """
    found = []
    for alpha in ALPHAS:
        n_below, k = int((p <= alpha + 1e-12).sum()), int(alpha * (n_calibration + 1) + 1e-9)
        binomial = binom.interval(0.99, len(p), alpha)
        exact = betabinom(len(p), max(k, 1e-9), n_calibration + 1 - k).interval(0.99)
        found.append(
            {
                "alpha": alpha,
                "n": len(p),
                "share": n_below / len(p),
                "in_binomial_band": bool(binomial[0] <= n_below <= binomial[1]),
                "in_exact_band": bool(exact[0] <= n_below <= exact[1]),
            }
        )
    return found


def _discoveries(detector: Any, test: Array, labels: Array, seed: int) -> dict[str, float]:
    """False discoveries among what `select` finds where a tenth of the rows are anomalies."""
    normal, strange = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    n_strange = min(len(strange), int(SHARE_OF_ANOMALIES / (1 - SHARE_OF_ANOMALIES) * len(normal)))
    chosen = np.random.RandomState(seed).permutation(strange)[: max(1, n_strange)]
    rows = np.concatenate([normal, chosen])
    is_found = detector.select(test[rows], fdr=FDR)
    n_found, n_false = int(is_found.sum()), int((labels[rows][is_found] == 0).sum())
    power = (n_found - n_false) / len(chosen)
    return {"n_found": n_found, "false_share": n_false / max(1, n_found), "power": power}


def _planted(detector: Any, normal: Array, seed: int) -> dict[str, Any]:
    """How often a planted value is the first reason, of the rows that it makes strange."""
    random = np.random.RandomState(seed)
    rows = normal[random.permutation(len(normal))[:N_PLANTED]].copy()
    columns = random.randint(rows.shape[1], size=len(rows))
    before = detector.p_values(rows)
    rows[np.arange(len(rows)), columns] += PLANTED_AT * random.choice([-1.0, 1.0], len(rows))
    has_moved = (detector.p_values(rows) <= 0.05) & (before > 0.05)
    if not has_moved.any():
        return {"n_moved": 0, "n_first": 0, "gap": 0.0}
    reasons = detector.explain(rows[has_moved]).to_numpy()
    total = detector.score_samples(rows[has_moved]) - detector.typical_score_
    n_first = int((reasons.argmin(1) == columns[has_moved]).sum())
    gap = float(np.abs(reasons.sum(1) - total).max())
    return {"n_moved": int(has_moved.sum()), "n_first": n_first, "gap": gap}


def _published(folder: Path) -> dict[str, dict[str, float]]:
    """Published AUROC by set and detector; empty where the table is not there."""
    path = folder / "results" / "dte_semi_aucroc_mean.csv"
    if not path.is_file():
        return {}
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {
        row["dataset"].lower(): {k: float(v) for k, v in row.items() if k != "dataset"}
        for row in rows
    }
