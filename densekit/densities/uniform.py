"""The uniform distribution on the unit cube."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit.cases import DensityCase
from densekit.densities.base import Density


class Uniform(Density):
    """Independent uniforms on (0, 1); a flow over it ends in a sigmoid."""

    on_unit_interval = True

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        is_outside = ((x < 0) | (x > 1)).flatten(1).any(1)
        # A zero that depends on x keeps the gradient defined.
        return (x * 0.0).flatten(1).sum(1).masked_fill(is_outside, -torch.inf)

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self._rand(n_samples, generator)

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        return [
            DensityCase("Uniform in 1-D", lambda: cls((1,)), domain=(0.0, 1.0)),
            DensityCase("Uniform in 2-D", lambda: cls((2,)), domain=(0.0, 1.0)),
        ]
