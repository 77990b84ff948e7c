"""The masked autoencoder for distribution estimation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from densekit.cases import DensityCase
from densekit.densities.base import Density
from densekit.densities.likelihoods import Discrete, Likelihood
from densekit.networks import MaskedMLP
from densekit.transforms.base import check_vector


class MADE(Density):
    """p(x) = prod_t p(x_t | x_1, ..., x_{t-1}) from one masked network (Germain 2015, eq. 5).

    Parameters
    ----------
    event_shape : sequence of int
        ``(n_features,)``.
    likelihood : Likelihood
        Distribution of each feature given those before it.
    order : {"natural", "reversed", "random"} or sequence of int, default="natural"
    hidden_sizes : sequence of int, default=(64, 64)
    context_shape : sequence of int, optional
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        likelihood: Likelihood,
        order: str | Sequence[int] = "natural",
        hidden_sizes: Sequence[int] = (64, 64),
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape, context_shape=context_shape)
        self.likelihood = likelihood
        self.support = likelihood.support
        if isinstance(likelihood, Discrete):
            self.levels = tuple(map(float, range(likelihood.n_levels)))
        self.network = MaskedMLP(
            check_vector("MADE", event_shape),
            likelihood.n_params,
            tuple(hidden_sizes),
            order,
            n_context=0 if self.context_shape is None else math.prod(self.context_shape),
        )

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        params = self.likelihood.params_of(x)
        if params is not None:
            self.network.output.bias.copy_(params.T.reshape(-1))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.log_prob_terms(x, context).sum(1)

    def log_prob_terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x_t | x_1, ..., x_{t-1}) of each feature, of shape (batch, n_features)."""
        return self.likelihood.log_prob(x, self.network(x, self._flat(context)))

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        self._check_sample_context(context)

        def step(feature: int, params: Tensor) -> Tensor:
            return self.likelihood.sample(params.expand(n_samples, -1), generator)

        return self.network.solve(step, n_samples, self._flat(context))

    def _flat(self, context: Tensor | None) -> Tensor | None:
        if self.context_shape is None or context is None:
            return None
        return context.flatten(1)

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        from densekit.densities.likelihoods import Bernoulli, GaussianMixture

        return [
            DensityCase("MADE(gaussian)", lambda: cls((2,), likelihood=GaussianMixture(1))),
            DensityCase("MADE(mixture)", lambda: cls((2,), likelihood=GaussianMixture(3))),
            DensityCase("MADE(mixture, 1-D)", lambda: cls((1,), likelihood=GaussianMixture(3))),
            DensityCase(
                "MADE(bernoulli)", lambda: cls((4,), likelihood=Bernoulli()), levels=(0, 1)
            ),
            DensityCase(
                "MADE(bernoulli, with context)",
                lambda: cls((3,), likelihood=Bernoulli(), context_shape=(2,), order="random"),
                levels=(0, 1),
            ),
        ]
