"""MAF: the masked autoregressive flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Autoregressive, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class MAFEstimator(StackedFlowEstimator):
    """Masked autoregressive flow (Papamakarios 2017).

    Layers in which every column is mapped by what the columns before it say, in an order that is
    reversed from layer to layer. Scoring costs one network pass. A sample goes column by column,
    but computes every hidden unit once, so its arithmetic is that of about one pass as well.

    Parameters
    ----------
    n_layers : int, default=5
        Autoregressive layers, the paper's smaller choice.
    elementwise : str, Elementwise or class, optional
        The map of a column; None is "affine", or "spline" for a single column.
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import MAFEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> MAFEstimator(max_epochs=5, random_state=0).fit(X).score_samples(X[:3]).dtype
    dtype('float64')
    """

    n_layers: int = parameter(5, integer(1))

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        order = ("natural", "reversed")[index % 2]
        return [ActNorm(event_shape), Autoregressive(event_shape, order=order, **options)]
