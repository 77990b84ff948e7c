"""The standard normal distribution."""

import math
from typing import Any

import torch
from torch import Tensor

from densekit.densities.base import Density

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Normal(Density):
    """Independent standard normals."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return -(0.5 * x.square() + _LOG_SQRT_2PI).flatten(1).sum(1)

    def backward_log_prob(self, rows: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        log_prob = -0.5 * torch.linalg.vecdot(rows, rows, dim=0) - len(rows) * _LOG_SQRT_2PI
        return log_prob, lambda grad_log_prob: rows * -grad_log_prob

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self._randn(n_samples, generator)
