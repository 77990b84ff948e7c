"""The estimators that a fit is measured beside: one Gaussian, KernelDensity, GaussianMixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, trim_mean
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from densekit.report.subject import Part, Subject

BANDWIDTHS = np.geomspace(0.05, 2.0, 12)  # in standard deviations
MAX_ROWS_TO_CHOOSE = 1000
COMPONENTS = (1, 2, 3, 5, 8)
MAX_COLUMNS_OF_FULL = 64  # of full covariances: beyond, there is one of one component only
RIDGE = 1e-4  # added to variances of standardised columns
N_FOLDS = 3
TRIMMED_SHARE = 0.05


@dataclass(frozen=True)
class Line:
    """One estimator's line in the table.

    Attributes
    ----------
    name, detail : str
    nats, error : float
        Mean over the scored rows, and its standard error.
    median, trimmed : float
        Of the scored rows; the mean without the outermost 5 % on each side.
    gap, gap_error : float or None
        The reported estimator's nats less these, row by row; None for itself.
    n_outside : int
        Rows of score minus infinity.
    """

    name: str
    detail: str
    nats: float
    error: float
    median: float
    trimmed: float
    gap: float | None
    gap_error: float | None
    n_outside: int


class Peer:
    """A density over standardised columns, with scores in the columns' own units.

    Of two groups of columns, x and y, it is the density of x given y: that of both less that of y.
    """

    def __init__(self, name: str, estimator: Any):
        self.name, self.estimator = name, estimator

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64] | None) -> Peer:
        self.scaler = StandardScaler().fit(x)
        self.scaler_of_y: Any = None if y is None else StandardScaler().fit(y)
        self.estimator.fit(self._joined(x, y))
        return self

    @property
    def detail(self) -> str:
        """What was chosen."""
        found = getattr(self.estimator, "best_estimator_", self.estimator)
        if isinstance(found, KernelDensity):
            return f"bandwidth {found.bandwidth_:.2g} standard deviations"
        n, kind = found.n_components, found.covariance_type
        return f"{n} {'component' if n == 1 else 'components'}, {kind} covariance"

    def score_samples(
        self, x: NDArray[np.float64], y: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        both = self._joined(x, y)
        scores = self.estimator.score_samples(both) - np.log(self.scaler.scale_).sum()
        return scores if y is None else scores - self._of_condition(both[:, x.shape[1] :])

    def _joined(self, x: NDArray[np.float64], y: NDArray[np.float64] | None) -> NDArray[np.float64]:
        scaled = self.scaler.transform(x)
        return scaled if y is None else np.c_[scaled, self.scaler_of_y.transform(y)]

    def _of_condition(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-density of standardised conditions: the marginal of the joint density."""
        found = getattr(self.estimator, "best_estimator_", self.estimator)
        n = y.shape[1]
        if isinstance(found, KernelDensity):
            rows = np.asarray(found.tree_.data)[:, -n:]
            of_y = KernelDensity(bandwidth=found.bandwidth_).fit(rows)
            return np.asarray(of_y.score_samples(y))
        is_full = found.covariance_type == "full"
        each = [
            multivariate_normal(mean[-n:], cov[-n:, -n:] if is_full else np.diag(cov[-n:])).logpdf(
                y
            )
            for mean, cov in zip(found.means_, found.covariances_, strict=True)
        ]
        return np.asarray(logsumexp(np.reshape(each, (-1, len(y))).T + np.log(found.weights_), 1))


def fit_peers(
    x: NDArray[np.float64], y: NDArray[np.float64] | None, random_state: int
) -> list[Peer]:
    """Fit the three: bandwidth by cross-validation, components by the Bayesian criterion."""
    gaussian = Peer("one Gaussian", GaussianMixture(1, reg_covar=RIDGE)).fit(x, y)
    rows = np.random.default_rng(random_state).permutation(len(x))[:MAX_ROWS_TO_CHOOSE]
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=min(N_FOLDS, len(rows)))
    chooser = Peer("KernelDensity", search).fit(x[rows], None if y is None else y[rows])
    bandwidth = chooser.estimator.best_params_["bandwidth"]
    kernels = Peer("KernelDensity", KernelDensity(bandwidth=bandwidth)).fit(x, y)
    return [gaussian, kernels, Peer("GaussianMixture", _best_mixture(x, y, random_state)).fit(x, y)]


def _best_mixture(
    x: NDArray[np.float64], y: NDArray[np.float64] | None, random_state: int
) -> GaussianMixture:
    """The mixture of the least Bayesian information criterion."""
    scaled = StandardScaler().fit_transform(x if y is None else np.c_[x, y])
    is_narrow = scaled.shape[1] <= MAX_COLUMNS_OF_FULL
    candidates = [
        GaussianMixture(n, covariance_type=kind, reg_covar=RIDGE, random_state=random_state)
        for kind in ("full", "diag")
        for n in COMPONENTS
        if n <= len(scaled) // 2 and (kind == "diag" or is_narrow or n == 1)
    ]
    return min(candidates, key=lambda mixture: mixture.fit(scaled).bic(scaled))


def compare(subject: Subject, scores: NDArray[np.float64], random_state: int) -> list[Line]:
    """The estimator's line and its peers', best first.

    Levels are scored by the peers plus uniform noise in [0, 1), which bounds their log-mass from
    below (Theis 2016, eq. 5).
    """
    rng = np.random.default_rng(random_state)
    train, y_train = _numbers(subject, subject.for_peers, rng)
    rows, y = _numbers(subject, subject.scored, rng)
    lines = [_line(type(subject.estimator).__name__, "this fit", scores, None)]
    for peer in fit_peers(train, y_train, random_state):
        lines.append(_line(peer.name, peer.detail, peer.score_samples(rows, y), scores))
    return sorted(lines, key=lambda line: -line.nats)


def _numbers(
    subject: Subject, part: Part, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    noise = rng.random(part.table.shape) if subject.is_discrete else 0.0
    y = np.asarray(part.y, dtype=np.float64) if subject.has_numbers else None
    return part.table + noise, y


def _line(
    name: str,
    detail: str,
    scores: NDArray[np.float64],
    own: NDArray[np.float64] | None,
) -> Line:
    n_outside = int(np.isneginf(scores).sum())
    nats, error = mean_and_error(scores)
    gap, gap_error = None, None
    if own is not None:
        with np.errstate(invalid="ignore"):
            gap, gap_error = mean_and_error(own - scores)
    median, trimmed = float(np.median(scores)), trimmed_mean(scores)
    return Line(name, detail, nats, error, median, trimmed, gap, gap_error, n_outside)


def trimmed_mean(values: NDArray[np.float64]) -> float:
    """Mean without the outermost 5 % on each side."""
    return float(trim_mean(values, TRIMMED_SHARE))


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard error; the error of an infinite mean is not a number."""
    if not np.isfinite(values).all():
        return float(values.mean()), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
