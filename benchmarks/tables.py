"""Real tables to fit: scikit-learn's own, and those in the folder `DENSEKIT_DATA`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from benchmarks.architectures import Array

MAX_ROWS, MAX_COLUMNS = 10_000, 100  # of the sets of ADBench


@dataclass(frozen=True)
class Table:
    """Pairs of training rows and held-out rows, standardised by the training rows."""

    name: str
    splits: list[tuple[Array, Array]]


def tables() -> Iterator[Table]:
    """Every set that is there, the small ones first."""
    for name, load in (
        ("wine", datasets.load_wine),
        ("breast_cancer", datasets.load_breast_cancer),
        ("digits", datasets.load_digits),
    ):
        yield Table(name, [_split(load().data)])
    folder = Path(os.environ.get("DENSEKIT_DATA", "no folder"))
    if (path := folder / "red_wine_rnade.npz").is_file():
        with np.load(path) as parts:
            x, fold = parts["x"].astype(float), parts["test_fold"]
        yield Table("red wine", [_standardise(x[fold != i], x[fold == i]) for i in range(10)])
    for path in sorted((folder / "adbench").glob("*.npz"), key=lambda path: path.stat().st_size):
        with np.load(path) as parts:
            normal = parts["X"][parts["y"] == 0].astype(float)
        if normal.shape[1] <= MAX_COLUMNS:
            rows = np.random.default_rng(0).permutation(len(normal))[:MAX_ROWS]
            yield Table(path.stem, [_split(normal[rows])])
    if (path := folder / "power.npz").is_file():
        with np.load(path) as parts:
            train, validation = (parts[key].astype(float) for key in ("train", "val"))
        yield Table("power", [(train[:50_000], validation[:20_000])])
        yield Table("power, 200,000 rows", [(train[:200_000], validation[:20_000])])


def odd_tables() -> Iterator[Table]:
    """More sets, among them shapes that are made up and some that are hard on purpose."""
    random = np.random.default_rng(0)
    n = 1000
    made: dict[str, Array] = {
        "iris": datasets.load_iris().data,
        "diabetes": datasets.load_diabetes().data,
        "linnerud": datasets.load_linnerud().data,
        "moons": datasets.make_moons(n, noise=0.05, random_state=0)[0],
        "circles": datasets.make_circles(n, noise=0.05, factor=0.5, random_state=0)[0],
        "s curve": datasets.make_s_curve(n, random_state=0)[0],
        "swiss roll": datasets.make_swiss_roll(n, random_state=0)[0],
        "blobs": datasets.make_blobs(n, n_features=10, centers=8, random_state=0)[0],
        "friedman": datasets.make_friedman1(n, random_state=0)[0],
        "cauchy": random.standard_cauchy((n, 4)),
        "lognormal": random.lognormal(0, 3, (n, 5)),
        "counts": random.poisson(2, (n, 6)).astype(float),
        "mostly zero": random.exponential(1, (n, 5)) * (random.random((n, 5)) < 0.1),
        "copied columns": np.repeat(random.normal(size=(n, 3)), 3, axis=1),
        "far from zero": 1e6 + random.normal(size=(n, 3)),
        "tiny and huge": random.normal(size=(n, 4)) * [1e-12, 1e-3, 1e3, 1e12],
        "one column": random.gamma(1.0, size=(n, 1)),
        "more columns than rows": random.normal(size=(40, 60)),
    }
    for name, x in made.items():
        yield Table(name, [tuple(train_test_split(x, test_size=0.2, random_state=0))])


def _split(x: Array) -> tuple[Array, Array]:
    train, test = train_test_split(x, test_size=0.2, random_state=0)
    return _standardise(train, test)


def _standardise(train: Array, test: Array) -> tuple[Array, Array]:
    varies = train.std(0) > 0
    train, test = train[:, varies], test[:, varies]
    loc, scale = train.mean(0), train.std(0)
    return (train - loc) / scale, (test - loc) / scale
