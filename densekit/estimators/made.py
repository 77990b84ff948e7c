"""MADE: the masked autoencoder for distribution estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from densekit.densities.base import Density
from densekit.densities.likelihoods import Bernoulli, GaussianMixture
from densekit.densities.made import MADE
from densekit.estimators.base import DensityEstimator
from densekit.estimators.parameters import integer, one_of, parameter, sizes

if TYPE_CHECKING:
    from densekit.testing.cases import EstimatorCase


@dataclass(kw_only=True, eq=False, repr=False)
class MADEEstimator(DensityEstimator):
    """Masked autoencoder (Germain 2015): each column's distribution given the columns before it.

    One network pass scores a row, and every hidden unit is computed once for a sample.

    Parameters
    ----------
    likelihood : {"mixture", "gaussian", "bernoulli"}, default="mixture"
        Distribution of a column given those before it: a mixture of Gaussians, one Gaussian, or,
        for columns of 0 and 1, a Bernoulli; scores are log-masses then.
    n_components : int, default=10
        Components of the mixture.
    hidden_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers.
    {shared_parameters}

    Examples
    --------
    >>> import numpy as np
    >>> from densekit import MADEEstimator
    >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
    >>> made = MADEEstimator(likelihood="bernoulli", max_epochs=5, random_state=0).fit(X)
    >>> sorted(set(made.sample(50, random_state=0).ravel().tolist()))
    [0, 1]
    """

    likelihood: str = parameter("mixture", one_of("mixture", "gaussian", "bernoulli"))
    n_components: int = parameter(10, integer(1))
    hidden_sizes: tuple[int, ...] = parameter((64, 64), sizes)

    def _levels(self) -> tuple[float, ...] | None:
        return (0.0, 1.0) if self.likelihood == "bernoulli" else None

    def _build_density(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        likelihood = {
            "mixture": GaussianMixture(self.n_components),
            "gaussian": GaussianMixture(1),
            "bernoulli": Bernoulli(),
        }[self.likelihood]
        return MADE(
            event_shape,
            likelihood=likelihood,
            hidden_sizes=self.hidden_sizes,
            context_shape=context_shape,
        )

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        from densekit.testing.cases import EstimatorCase

        return [
            EstimatorCase("MADEEstimator", cls),
            EstimatorCase(
                "MADEEstimator(gaussian)", lambda: cls(likelihood="gaussian"), beats_gaussian=False
            ),
            EstimatorCase(
                "MADEEstimator(bernoulli)", lambda: cls(likelihood="bernoulli"), levels=(0, 1)
            ),
        ]
