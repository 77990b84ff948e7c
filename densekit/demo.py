"""What `densekit demo` shows: flows beside scikit-learn's estimators on real data."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from densekit import registry
from densekit.errors import MissingExtraError, PictureError

FLOWS = ("maf", "realnvp", "nsf")
BANDWIDTHS = np.geomspace(0.05, 2.0, 20)
MAX_COMPONENTS = 10
COVARIANCES = ("full", "diag")
N_SAMPLES = 10_000
N_STRANGEST = 5
SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
PAIRS = (
    ("mean radius", "mean texture"),
    ("mean area", "mean smoothness"),
    ("worst concavity", "worst symmetry"),
)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread, which serves small matrices best, on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Result:
    """One estimator's line in the table; nats are per row and in the units of the data."""

    name: str
    scores: NDArray[np.float64]
    fit_seconds: float
    samples_per_second: float
    samples: NDArray[np.float64]

    @property
    def nats(self) -> float:
        return float(self.scores.mean())

    @property
    def standard_error(self) -> float:
        return float(self.scores.std(ddof=1) / np.sqrt(len(self.scores)))


class Standardized:
    """A scikit-learn density behind a scaler, with scores in the data's own units.

    KernelDensity has one bandwidth for all columns, so that it needs the scaler; the scaler's
    Jacobian makes its scores comparable again.
    """

    def __init__(self, estimator: Any):
        self.estimator = estimator
        self.scaler = StandardScaler()

    def fit(self, X: Any) -> Standardized:
        self.estimator.fit(self.scaler.fit_transform(X))
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = self.estimator.score_samples(self.scaler.transform(X))
        return scores - np.log(self.scaler.scale_).sum()

    def sample(self, n_samples: int, random_state: int) -> NDArray[np.float64]:
        estimator = getattr(self.estimator, "best_estimator_", self.estimator)
        if isinstance(estimator, GaussianMixture):
            rows, _ = estimator.set_params(random_state=random_state).sample(n_samples)
        else:
            rows = estimator.sample(n_samples, random_state=random_state)
        values: NDArray[np.float64] = self.scaler.inverse_transform(rows)
        return values


def run(picture: Path, *, max_epochs: int, random_state: int) -> None:
    """Fit, compare, print and draw."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("The picture needs matplotlib: pip install 'densekit[plots]'.")
    if not picture.parent.is_dir() or picture.suffix not in SUFFIXES:
        raise PictureError(
            f"--picture got {str(picture)!r}, expected a file in a folder that exists, with one of "
            f"the endings {', '.join(SUFFIXES)}."
        )
    data = load_breast_cancer(as_frame=True).data
    train, test = train_test_split(data, test_size=0.2, random_state=random_state)
    console = Console()
    console.print(
        f"Breast-cancer measurements: {train.shape[1]} columns, {len(train)} rows to fit, "
        f"{len(test)} held out."
    )
    with one_thread(), tqdm(total=len(FLOWS) + 2, desc="densekit demo", unit="fit") as bar:
        results = []
        for name, fit in _fits(train, max_epochs, random_state).items():
            bar.set_postfix_str(name)
            results.append(_measure(name, fit, test, random_state))
            bar.update()
    results.sort(key=lambda result: -result.nats)
    best = next(result for result in results if result.name in FLOWS)
    console.print(_table(results))
    console.print(_strangest(test, best))
    _draw(test, best, picture)
    console.print(f"Picture of data beside samples of {best.name}: {picture}")


def _fits(train: pd.DataFrame, max_epochs: int, seed: int) -> dict[str, Callable[[], Any]]:
    """What to fit, by name."""

    def flow(name: str) -> Callable[[], Any]:
        estimator = registry.make_estimator(
            name, max_epochs=max_epochs, random_state=seed, verbose=1
        )
        return lambda: estimator.fit(train)

    sklearn_fits: dict[str, Callable[[], Any]] = {
        "KernelDensity": lambda: Standardized(
            GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS})
        ).fit(train),
        "GaussianMixture": lambda: _best_mixture(train, seed),
    }
    return sklearn_fits | {name: flow(name) for name in FLOWS}


def _best_mixture(train: pd.DataFrame, seed: int) -> Standardized:
    """The mixture of the least Bayesian information criterion."""
    candidates = [
        GaussianMixture(n, covariance_type=kind, random_state=seed, reg_covar=1e-4)
        for kind in COVARIANCES
        for n in range(1, MAX_COMPONENTS + 1)
    ]
    scaled = StandardScaler().fit_transform(train)
    fits = tqdm(candidates, desc="GaussianMixture", unit="fit")
    best = min(fits, key=lambda mixture: mixture.fit(scaled).bic(scaled))
    return Standardized(best).fit(train)


def _measure(name: str, fit: Callable[[], Any], test: pd.DataFrame, seed: int) -> Result:
    start = time.perf_counter()
    estimator = fit()
    fit_seconds = time.perf_counter() - start
    scores = np.asarray(estimator.score_samples(test))
    start = time.perf_counter()
    samples = np.asarray(estimator.sample(N_SAMPLES, random_state=seed))
    rate = N_SAMPLES / (time.perf_counter() - start)
    return Result(name, scores, fit_seconds, rate, samples)


def _table(results: list[Result]) -> Table:
    table = Table(title="Held-out log-likelihood, in the units of the data (higher is better)")
    table.add_column("estimator")
    for heading in ("nats per row", "standard error", "fit, s", "samples per s"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            result.name,
            f"{result.nats:.2f}",
            f"{result.standard_error:.2f}",
            f"{result.fit_seconds:.1f}",
            f"{result.samples_per_second:,.0f}",
        )
    return table


def _strangest(test: pd.DataFrame, best: Result) -> Table:
    """The held-out rows of the least density, with the column that lies farthest out in each."""
    centre, spread = test.median(), test.quantile(0.75) - test.quantile(0.25)
    table = Table(title=f"The {N_STRANGEST} strangest held-out rows, by {best.name}")
    table.add_column("row", justify="right")
    table.add_column("nats", justify="right")
    table.add_column("farthest out (interquartile ranges from the median)")
    for place in np.argsort(best.scores)[:N_STRANGEST]:
        row = test.iloc[place]
        distance = (row - centre) / spread
        column = distance.abs().idxmax()
        text = f"{column} = {row[column]:.4g} ({distance[column]:+.1f})"
        table.add_row(str(test.index[place]), f"{best.scores[place]:.1f}", text)
    return table


def _draw(test: pd.DataFrame, best: Result, picture: Path) -> None:
    """Write a picture: held-out rows above, as many samples below, on the same axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    samples = pd.DataFrame(best.samples[: len(test)], columns=test.columns)
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(PAIRS), sharex="col", sharey="col")
    rows = [("held-out rows", test, "C0"), (f"samples of {best.name}", samples, "C1")]
    for line, (title, frame, colour) in zip(axes, rows, strict=True):
        for ax, (x, y) in zip(line, PAIRS, strict=True):
            ax.scatter(frame[x], frame[y], s=14, color=colour, alpha=0.6, linewidths=0)
            ax.set(title=title, xlabel=x, ylabel=y)
    figure.suptitle("Breast-cancer measurements: data beside samples")
    figure.savefig(picture, dpi=150)
