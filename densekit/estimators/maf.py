"""MAF: the masked autoregressive flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.base_flow import BaseFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Autoregressive, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class MAFEstimator(BaseFlowEstimator):
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
    base : str, Density or class, default="normal"
        Distribution of the latents: "normal", "logistic", "uniform", "student_t", "mixture".
    hidden_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of each conditioner network.
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
    elementwise: Any = parameter(None)

    def _build_layers(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> list[Transform]:
        layers: list[Transform] = []
        for i in range(self.n_layers):
            autoregressive = Autoregressive(
                event_shape,
                elementwise=self.elementwise,
                order=("natural", "reversed")[i % 2],
                hidden_sizes=self.hidden_sizes,
                context_shape=context_shape,
            )
            layers += [ActNorm(event_shape), autoregressive]
        return layers
