"""IAF: the inverse autoregressive flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Autoregressive, Inverse, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class IAFEstimator(StackedFlowEstimator):
    """Inverse autoregressive flow (Kingma 2016): the map of MAF turned round.

    A sample costs one network pass. Scoring, and so training, goes column by column; it computes
    every hidden unit once, forward and back, but in many small steps, which take four to five times
    as long as those of MAF. Choose it where samples are drawn far more often than rows are scored.

    Parameters
    ----------
    n_layers : int, default=4
        Inverse autoregressive layers.
    elementwise : str, Elementwise or class, optional
        The map of a column; None is "affine", or "spline" for a single column.
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import IAFEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> IAFEstimator(max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    n_layers: int = parameter(4, integer(1))

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        order = ("natural", "reversed")[index % 2]
        return [ActNorm(event_shape), Inverse(Autoregressive(event_shape, order=order, **options))]
