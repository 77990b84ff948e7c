"""The standard logistic distribution."""

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit.densities.base import Density


class Logistic(Density):
    """Independent standard logistics, NICE's prior for its smooth gradients (Dinh 2014, eq. 12)."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return -(F.softplus(x) + F.softplus(-x)).flatten(1).sum(1)

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        u = self._rand(n_samples, generator)
        return u.log() - torch.log1p(-u)
