"""p-values and thresholds from the scores of rows that a model has not seen."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from densekit.exceptions import CalibrationError, CalibrationWarning, shorten

Array = NDArray[np.float64]


def p_values(calibration: list[Array], scores: list[Array]) -> Array:
    """Share of calibration scores as low as a row's, the row itself counted in.

    ``(1 + sum_k #{calibration scores of fold k <= score by model k}) / (n_calibration + 1)``, with
    one fold for split-conformal p-values (Vovk 2005, Angelopoulos 2023, section 1) and several for
    cross-conformal ones (Vovk 2015, eq. 8).

    Parameters
    ----------
    calibration : list of sorted arrays
        Scores of the rows that each fold's model has not seen.
    scores : list of arrays of shape (n,)
        Scores of the rows in question by each fold's model.
    """
    counts = [np.searchsorted(c, s, side="right") for c, s in zip(calibration, scores, strict=True)]
    n_calibration = sum(len(c) for c in calibration)
    found: Array = (1.0 + np.sum(counts, axis=0)) / (n_calibration + 1.0)
    return found


def threshold(calibration: Array, alpha: float) -> float:
    """The score below which the p-value is at most alpha; calibration scores are sorted.

    ``p <= alpha`` means that fewer than k calibration scores lie at or below the score, for
    ``k = floor(alpha * (n + 1))``: the score is below the k-th smallest. It is the smallest where
    alpha asks for less.
    """
    k = math.floor(alpha * (len(calibration) + 1) + 1e-9)
    return float(calibration[max(k, 1) - 1])


def check_alpha(alpha: Any, n_calibration: int, source: str) -> float:
    """Refuse levels that so few calibration rows cannot reach.

    Raises
    ------
    CalibrationError
        A ValueError; it says the least number of rows that would do.
    """
    if not (isinstance(alpha, int | float | np.floating) and 0 < alpha < 1):
        raise CalibrationError(
            f"{source} got alpha={shorten(repr(alpha))}, expected a number between 0 and 1."
        )
    if alpha * (n_calibration + 1) < 1 - 1e-9:
        least = math.ceil(1 / alpha - 1e-9) - 1
        raise CalibrationError(
            f"{source} got alpha={alpha:g}, but {n_calibration} calibration rows give no p-value "
            f"below {1 / (n_calibration + 1):.3g}; it takes at least {least} calibration rows: "
            "fit on more rows, bring more by partial_fit, or set calibration='cross' if it is not "
            "set, which calibrates on all of them."
        )
    return float(alpha)


def select(p: Array, fdr: Any, n_calibration: int, source: str) -> NDArray[np.bool_]:
    """Rows that Benjamini and Hochberg's step-up procedure selects (1995; Bates 2023).

    Warns where so few calibration rows leave no power.
    """
    if not (isinstance(fdr, int | float | np.floating) and 0 < fdr < 1):
        raise CalibrationError(f"{source} got fdr={fdr!r}, expected a number between 0 and 1.")
    n_rows = len(p)
    n_needed = math.ceil(n_rows / (fdr * (n_calibration + 1)) - 1e-9)
    if n_needed > 1:
        chance = (
            "no row can be selected"
            if n_needed > n_rows
            else f"no row is selected unless {n_needed} or more are as strange as can be told"
        )
        warnings.warn(
            f"{source}: with {n_calibration} calibration rows and {n_rows} rows to select from, "
            f"{chance}; calibrate on {math.ceil(n_rows / fdr)} rows for full power.",
            CalibrationWarning,
            stacklevel=3,
        )
    adjusted = false_discovery_control(p, method="bh") if n_rows else p
    selected: NDArray[np.bool_] = adjusted <= fdr
    return selected
