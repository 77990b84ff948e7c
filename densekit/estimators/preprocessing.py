"""The fixed steps in front of a model: part of the density's own chain, so that scores are in the
units of X."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densekit.densities.base import Density
from densekit.densities.flow import Flow
from densekit.errors import ConstantColumnWarning
from densekit.transforms import Bounded, Cast, Chain, Gaussianize, Standardize, Transform
from densekit.transforms.gaussianize import GRID
from densekit.transforms.knots import MAX_BINS, MAX_BINS_OF_MANY
from densekit.transforms.marginals import MANY_ROWS

CHUNK = 8192  # rows at a time
FAR = 1e3  # scales, beyond which a column is seen through a logarithm


def fit_preprocessing(
    x: Tensor,
    bounds: NDArray[np.float64],
    *,
    standardize: bool,
    gaussianize: bool,
    names: Sequence[str] | None,
    who: str,
) -> Chain:
    """Fit, in float64, the steps that bring rows to the real line and to a common scale.

    Warns of constant columns by name.
    """
    event_shape = tuple(x.shape[1:])
    steps: list[Transform] = []
    if np.isfinite(bounds).any():
        low, high = torch.from_numpy(bounds).to(x)
        margin = Bounded.nearest_margins(x, low, high)
        steps.append(Bounded(event_shape, low=low.tolist(), high=high.tolist(), margin=margin))
    if standardize:
        steps += _column_maps(event_shape, len(x), gaussianize)
    chain = Chain(steps, event_shape=event_shape).double().to(x.device)
    chain.fit_statistics(x)
    is_constant = _constant_columns(chain)
    if bool(is_constant.any()):
        columns = [
            i if names is None else str(names[i]) for i in is_constant.nonzero()[:, 0].tolist()
        ]
        warnings.warn(
            f"{who}: the columns {columns} are constant, or but for one row; each is modelled as "
            "its value with a standard deviation of 1e-3 * max(1, |value|).",
            ConstantColumnWarning,
            stacklevel=4,
        )
    return chain


def fit_column_maps(x: Tensor, *, gaussianize: bool) -> tuple[Transform, ...]:
    """Fit, in float64, what brings each column to a common scale, and near a normal distribution.

    The first step is a `Standardize`.
    """
    event_shape = tuple(x.shape[1:])
    chain = Chain(_column_maps(event_shape, len(x), gaussianize), event_shape=event_shape).double()
    chain.fit_statistics(x)
    return tuple(chain.steps)


def _column_maps(event_shape: tuple[int, ...], n_rows: int, gaussianize: bool) -> list[Transform]:
    steps: list[Transform] = [Standardize(event_shape, limit=FAR)]
    if gaussianize:
        max_bins = MAX_BINS if n_rows < MANY_ROWS else MAX_BINS_OF_MANY
        steps.append(Gaussianize(event_shape, max_bins=max_bins))
    return steps


@torch.no_grad()
def preprocess(
    preprocessing: Chain, x: Tensor, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Apply the fixed steps once, for all epochs.

    Constant columns get noise of the standard deviation that stands for them, so that the model
    learns a proper density there and not a spike without end.

    Returns
    -------
    rows : Tensor
        In `dtype`, for training.
    log_det : Tensor of shape (n,)
        Log-determinants of the steps.
    is_constant : Tensor of shape (n_features,) or None
        Columns that are noise; None where there are none.
    """
    rows, log_det = torch.empty_like(x, dtype=dtype), x.new_empty(len(x))
    is_constant = _constant_columns(preprocessing)
    for start in range(0, len(x), CHUNK):  # in float64, but never for the whole table
        part = slice(start, start + CHUNK)
        z, log_det[part] = preprocessing(x[part])
        if bool(is_constant.any()):
            noise = torch.randn(
                z.shape, generator=generator, dtype=z.dtype, device=generator.device
            )
            z = torch.where(is_constant, noise, z)
        rows[part] = (z / GRID).round() * GRID if preprocessing.steps else z
    return rows, log_det, is_constant if bool(is_constant.any()) else None


def assemble(preprocessing: Chain, core: Density) -> Density:
    """Put preprocessing and model into one density over rows in the units of X."""
    steps = list(preprocessing.steps)
    device = core.anchor.device
    steps.append(Cast(core.event_shape, outer=torch.float64, inner=core.anchor.dtype).to(device))
    if isinstance(core, Flow):
        return Flow(Chain([*steps, core.transform]), core.base).eval()
    return Flow(Chain(steps), core).eval()


def take_apart(density: Density) -> tuple[Chain, Density]:
    """Undo `assemble`."""
    if not isinstance(density, Flow) or not isinstance(density.transform, Chain):
        return Chain([], event_shape=density.event_shape), density
    steps = density.transform.steps
    places = [i for i, step in enumerate(steps) if isinstance(step, Cast)]
    if not places:
        return Chain([], event_shape=density.event_shape), density
    preprocessing = Chain(steps[: places[0]], event_shape=density.event_shape)
    layers = steps[places[0] + 1 :]
    return preprocessing, Flow(layers[0], density.base) if layers else density.base


def _constant_columns(preprocessing: Chain) -> Tensor:
    for step in preprocessing.steps:
        if isinstance(step, Standardize):
            return step.is_constant
    return torch.zeros(preprocessing.event_shape, dtype=torch.bool)
