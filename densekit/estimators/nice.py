"""NICE: additive couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from densekit.elementwise import Shift
from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import Coupling, Scale, Transform

if TYPE_CHECKING:
    from densekit.testing.cases import EstimatorCase


@dataclass(kw_only=True, eq=False, repr=False)
class NICEEstimator(StackedFlowEstimator):
    """Non-linear independent components estimation (Dinh 2014).

    Additive couplings with alternating masks, which preserve volume, and one learned scale for
    each column at the end: all rows share one log-determinant. Scoring and sampling cost one
    network pass each.

    Parameters
    ----------
    n_layers : int, default=6
        Couplings; at least three are needed for every column to act on every other.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "shift", or "spline" for a single column.
    base : str, Density or class, default="logistic"
        Distribution of the latents; the logistic has the smoother gradients (section 3.4).
    hidden_sizes : tuple of int or "auto", default="auto"
        Widths of the hidden layers of each conditioner network. "auto" is (64, 64), and (128, 128)
        from 10,000 training rows on, which bear it.
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import NICEEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> NICEEstimator(max_epochs=5, random_state=0).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    n_layers: int = parameter(6, integer(1))
    base: Any = parameter("logistic")

    def _build_layers(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> list[Transform]:
        return [*super()._build_layers(event_shape, context_shape), Scale(event_shape)]

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        if options["elementwise"] is None and event_shape != (1,):
            options = options | {"elementwise": Shift}
        return [Coupling(event_shape, mask=("even", "odd")[index % 2], **options)]

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        from densekit.testing.cases import EstimatorCase

        return [EstimatorCase(cls.__name__, cls, makes_room=False)]
