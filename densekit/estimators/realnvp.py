"""RealNVP: affine couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Coupling, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class RealNVPEstimator(StackedFlowEstimator):
    """Real-valued non-volume-preserving flow (Dinh 2016).

    Affine couplings with alternating masks, each behind a normalisation of the columns that does
    not depend on the batch. Scoring and sampling cost one network pass each.

    Parameters
    ----------
    n_layers : int, default=8
        Couplings.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "affine", or "spline" for a single column.
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import RealNVPEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> RealNVPEstimator(max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    n_layers: int = parameter(8, integer(1))

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        mask = ("even", "odd")[index % 2]
        return [ActNorm(event_shape), Coupling(event_shape, mask=mask, **options)]
