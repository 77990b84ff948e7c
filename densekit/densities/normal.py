"""The standard normal distribution."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densekit.densities.base import Density
from densekit.transforms.base import Array

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Normal(Density):
    """Independent standard normals."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return -(0.5 * x.square() + _LOG_SQRT_2PI).flatten(1).sum(1)

    def backward_log_prob(self, rows: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        log_prob = -0.5 * torch.linalg.vecdot(rows, rows, dim=0) - len(rows) * _LOG_SQRT_2PI
        return log_prob, lambda of_log_prob: rows * -of_log_prob

    def fold(self) -> Callable[[Array], Array]:
        constant = math.prod(self.event_shape) * _LOG_SQRT_2PI

        def log_prob(x: Array) -> Array:
            flat = x.reshape(len(x), -1)
            return -0.5 * np.einsum("ij,ij->i", flat, flat) - constant

        return log_prob

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self._randn(n_samples, generator)
