"""Flows beside scikit-learn's estimators on the same rows: held-out nats, seconds, samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from densekit.cli.reporter import Listing
from densekit.exceptions import shorten

BANDWIDTHS = np.geomspace(0.05, 2.0, 20)
MAX_COMPONENTS = 10
MAX_ROWS_FOR_BANDWIDTH = 2_000  # cross-validation takes quadratic time
COVARIANCES = ("full", "diag")
N_SAMPLES = 10_000
MAX_REPEATED = 10  # columns that are named
Fit = Callable[[], Any]


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
    repeated: dict[Any, tuple[Any, float]] = field(default_factory=dict)

    @property
    def nats(self) -> float:
        return float(self.scores.mean())

    @property
    def standard_error(self) -> float:
        if not np.isfinite(self.scores).all():
            return float("nan")
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
        if isinstance(self.estimator, GaussianMixture):
            rows, _ = self.estimator.set_params(random_state=random_state).sample(n_samples)
        else:
            rows = self.estimator.sample(n_samples, random_state=random_state)
        values: NDArray[np.float64] = self.scaler.inverse_transform(rows)
        return values


def peer_fits(train: Any, seed: int, *, is_quiet: bool) -> dict[str, Fit]:
    """scikit-learn's densities, each of the size that suits the rows, by name."""
    return {
        "KernelDensity": lambda: _best_kernel_density(train, seed),
        "GaussianMixture": lambda: _best_mixture(train, seed, is_quiet),
    }


def _best_kernel_density(train: Any, seed: int) -> Standardized:
    """The bandwidth that cross-validation prefers, on rows drawn from many."""
    rows = np.asarray(train, dtype=np.float64)
    if len(rows) > MAX_ROWS_FOR_BANDWIDTH:
        rng = np.random.default_rng(seed)
        rows = rows[rng.choice(len(rows), MAX_ROWS_FOR_BANDWIDTH, replace=False)]
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, refit=False)
    search.fit(StandardScaler().fit_transform(rows))
    return Standardized(KernelDensity(**search.best_params_)).fit(train)


def _best_mixture(train: Any, seed: int, is_quiet: bool) -> Standardized:
    """The mixture of the least Bayesian information criterion."""
    most = min(MAX_COMPONENTS, len(train))
    candidates = [
        GaussianMixture(n, covariance_type=kind, random_state=seed, reg_covar=1e-4)
        for kind in COVARIANCES
        for n in range(1, most + 1)
    ]
    scaled = StandardScaler().fit_transform(train)
    fits = tqdm(candidates, desc="GaussianMixture", unit="fit", disable=is_quiet)
    best = min(fits, key=lambda mixture: mixture.fit(scaled).bic(scaled))
    return Standardized(best).fit(train)


def measure(fits: dict[str, Fit], test: Any, seed: int, *, what: str, is_quiet: bool) -> Any:
    """Fit one after the other; the results come with the best first."""
    results = []
    with one_thread(), tqdm(total=len(fits), desc=what, unit="fit", disable=is_quiet) as bar:
        for name, fit in fits.items():
            bar.set_postfix_str(name)
            results.append(_measure(name, fit, test, seed))
            bar.update()
    return sorted(results, key=lambda result: -result.nats)


def why_no_measure(results: list[Result]) -> str:
    """What to know where values of a column repeat: its nats say nothing; empty otherwise."""
    columns = {shorten(column, 60): None for result in results for column in result.repeated}
    if not columns:
        return ""
    names = ", ".join(list(columns)[:MAX_REPEATED])
    more = f" and {len(columns) - MAX_REPEATED} more" if len(columns) > MAX_REPEATED else ""
    return (
        f"Values repeat in {names}{more}, where a density has no finite height: nats are no "
        "measure there, and no line of this table is better than another by them."
    )


def _measure(name: str, fit: Fit, test: Any, seed: int) -> Result:
    start = time.perf_counter()
    estimator = fit()
    fit_seconds = time.perf_counter() - start
    scores = np.asarray(estimator.score_samples(test))
    estimator.sample(1, random_state=seed)  # compiles, where that is still to be done
    start = time.perf_counter()
    samples = np.asarray(estimator.sample(N_SAMPLES, random_state=seed))
    rate = N_SAMPLES / (time.perf_counter() - start)
    repeated = getattr(estimator, "repeated_values_", {})
    return Result(name, scores, fit_seconds, rate, samples, repeated)


def table(results: list[Result]) -> Listing:
    """The results, one line each."""
    rows = [
        (
            result.name,
            f"{result.nats:.2f}",
            f"{result.standard_error:.2f}",
            f"{result.fit_seconds:.1f}",
            f"{result.samples_per_second:,.0f}",
        )
        for result in results
    ]
    return Listing(
        "Held-out log-likelihood, in the units of the data (higher is better)",
        ("estimator", "nats per row", "standard error", "fit, s", "samples per s"),
        rows,
        n_texts=1,
    )
