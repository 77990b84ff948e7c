"""Noise that training rows keep to its end: few rows, and rows that repeat."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from densekit.data.rows import MIN_ROWS_TO_SPLIT, by_weight

FEW_ROWS = 50  # below, validation rows are too few to end training alone
MAX_ROWS_FOR_STATISTICS = 10_000
ROWS_OF_NOISE = 1000  # that statistics of few rows are taken of
# A row with this share of the data, and more than once in it, keeps noise this small.
SHARE_OF_REPEATED_ROW, NOISE_OF_REPEATED_ROWS = 0.01, 0.03


def smooth(
    z: Tensor, weight: Tensor, is_constant: Tensor | None = None, *, is_auto: bool
) -> tuple[Tensor, Tensor | None]:
    """Rows for training, and the standard deviation of the noise that each keeps, (n,) or None.

    Few rows keep the noise of a kernel density: nothing else would end their training in time. A
    row that repeats in a notable share of the data keeps a little: without it all that is learned
    of the row is an ever narrower spike, and not how much of the data it is.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
        Standardised rows.
    weight : Tensor of shape (n,)
    is_constant : Tensor of shape (n_features,), optional
        Columns that are noise, by which rows do not differ.
    is_auto : bool
        Whether the noise of few rows is left to this function.

    Returns
    -------
    rows : Tensor of shape (n, n_features)
        Those that are too few for a validation split are drawn together, so that noise leaves
        their spread as it is (Jones 1991).
    least_noise : Tensor of shape (n,) or None
    """
    n_rows, n_features = z.shape
    if n_rows < FEW_ROWS and is_auto:
        # Silverman 1986, eq. 4.14, the width for normal data
        width = (4 / ((n_features + 2) * n_rows)) ** (1 / (n_features + 4))
        if n_rows < MIN_ROWS_TO_SPLIT:
            width *= 1 + 2 / n_rows  # wider still where not even the scale is known
            width /= math.sqrt(1 + width**2)
            z = z * math.sqrt(1 - width**2)
        return z, torch.full_like(z[:, 0], width)
    told_apart = z if is_constant is None else z.masked_fill(is_constant, 0.0)
    share = shares_of_equal_rows(told_apart, weight)
    is_once = share <= 1.5 * weight.double() / weight.double().sum()
    is_repeated = (share >= SHARE_OF_REPEATED_ROW) & ~is_once
    if not bool(is_repeated.any()):
        return z, None
    return z, torch.where(is_repeated, NOISE_OF_REPEATED_ROWS, 0.0).to(z)


def as_training_sees(
    z: Tensor, weight: Tensor, least_noise: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Rows for statistics: as often as they weigh, and few rows each many times, with noise."""
    counted = by_weight(z, weight)
    if least_noise is None or len(z) >= FEW_ROWS:
        return counted[:: max(1, len(z) // MAX_ROWS_FOR_STATISTICS)]
    n_times = max(1, ROWS_OF_NOISE // len(z))
    normal = torch.randn((n_times, *z.shape), generator=generator, dtype=z.dtype, device=z.device)
    return (counted + least_noise[:, None] * normal).flatten(0, 1)


def shares_of_equal_rows(x: Tensor, weight: Tensor) -> Tensor:
    """Share of the weight of all rows that each row and its equals have, of shape (n,)."""
    generator = torch.Generator(x.device).manual_seed(0)
    direction = torch.rand(
        x.shape[1], generator=generator, dtype=torch.float64, device=x.device
    ).add_(0.5)
    # Equal rows have equal sums, and others differ by chance alone.
    sums = torch.cat([(part.double() * direction).sum(1) for part in x.split(8192)])
    _, group = sums.unique(return_inverse=True)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    total.index_add_(0, group, weight.double())
    return total[group] / weight.double().sum()
