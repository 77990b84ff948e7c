"""Whether new rows are still distributed as the training rows, as far as scores tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from densekit.exceptions import CalibrationError


@dataclass(frozen=True)
class DriftTest:
    """Result of a two-sample test on scores.

    Attributes
    ----------
    statistic : float
        Greatest gap between the two cumulative distributions of scores, from 0 to 1.
    p_value : float
        Chance of a gap that large, or larger, without drift.
    direction : {"stranger", "more normal"}
        How the median moved.
    n_samples : int
    """

    statistic: float
    p_value: float
    direction: str
    n_samples: int


def drift_test(
    calibration: list[NDArray[np.float64]], scores: list[NDArray[np.float64]]
) -> DriftTest:
    """Kolmogorov and Smirnov's two-sample test of new rows' scores against calibration scores.

    Each new row is scored by one of the folds' models, in turn, as calibration rows are.
    """
    known = np.concatenate(calibration)
    fold = np.arange(len(scores[0])) % len(scores)
    new = np.stack(scores)[fold, np.arange(len(fold))]
    if len(new) < 2:
        raise CalibrationError(f"drift_test got {len(new)} row, expected at least 2.")
    found = ks_2samp(known, new)
    direction = "stranger" if np.median(new) < np.median(known) else "more normal"
    return DriftTest(float(found.statistic), float(found.pvalue), direction, len(new))
