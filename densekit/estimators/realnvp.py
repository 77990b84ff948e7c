"""RealNVP: affine couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.base_flow import BaseFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Coupling, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class RealNVPEstimator(BaseFlowEstimator):
    """Real-valued non-volume-preserving flow (Dinh 2016).

    Affine couplings with alternating masks, each behind a normalisation of the columns that does
    not depend on the batch. Scoring and sampling cost one network pass each.

    Parameters
    ----------
    n_layers : int, default=8
        Couplings.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "affine", or "spline" for a single column.
    base : str, Density or class, default="normal"
        Distribution of the latents: "normal", "logistic", "uniform", "student_t", "mixture".
    hidden_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of each conditioner network.
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
    elementwise: Any = parameter(None)

    def _build_layers(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> list[Transform]:
        layers: list[Transform] = []
        for i in range(self.n_layers):
            coupling = Coupling(
                event_shape,
                elementwise=self.elementwise,
                mask=("even", "odd")[i % 2],
                hidden_sizes=self.hidden_sizes,
                context_shape=context_shape,
            )
            layers += [ActNorm(event_shape), coupling]
        return layers
