"""A learned mixture of Gaussians as a base distribution."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densekit.densities.base import Density
from densekit.exceptions import ParameterError


class Mixture(Density):
    """Mixture of Gaussians with diagonal covariances, all of it learned.

    Parameters
    ----------
    event_shape : sequence of int
    n_components : int, default=8
        Components; unneeded ones get small weights.
    """

    def __init__(self, event_shape: Sequence[int], *, n_components: int = 8):
        super().__init__(event_shape)
        if n_components < 1:
            raise ParameterError(
                f"Mixture got n_components={n_components!r}, expected an integer of 1 or more."
            )
        size = math.prod(self.event_shape)
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, size))
        self.log_scales = nn.Parameter(torch.zeros(n_components, size))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        z = (x.flatten(1)[:, None] - self.means) * torch.exp(-self.log_scales)
        log_norm = self.log_scales.sum(1) + 0.5 * math.log(2 * math.pi) * self.means.shape[1]
        each = self.logits.log_softmax(0) - 0.5 * z.square().sum(2) - log_norm
        return each.logsumexp(1)

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = self._randn(n_samples, generator).flatten(1)
        if n_samples == 0:
            return noise.view(0, *self.event_shape)
        chosen = torch.multinomial(
            self.logits.softmax(0), n_samples, replacement=True, generator=generator
        )
        rows = self.means[chosen] + self.log_scales[chosen].exp() * noise
        return rows.view(n_samples, *self.event_shape)
