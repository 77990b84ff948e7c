"""Glow: couplings between learned linear maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Coupling, Linear, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class GlowEstimator(StackedFlowEstimator):
    """Glow (Kingma 2018) for tables: steps of ActNorm, invertible linear map and affine coupling.

    The linear map is LU-parameterised and mixes all columns before each coupling. Scoring and
    sampling cost one network pass each.

    Parameters
    ----------
    n_layers : int, default=8
        Steps.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "affine", or "spline" for a single column.
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import GlowEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> GlowEstimator(max_epochs=5, random_state=0).fit(X).transform(X).shape
    (200, 2)
    """

    n_layers: int = parameter(8, integer(1))

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        return [ActNorm(event_shape), Linear(event_shape), Coupling(event_shape, **options)]
