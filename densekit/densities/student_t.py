"""Student's t distribution: a base with heavy tails."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.densities.base import Density
from densekit.exceptions import ParameterError


class StudentT(Density):
    """Independent t distributions, each with degrees of freedom that are learned.

    Parameters
    ----------
    event_shape : sequence of int
    df : float, default=10.0
        Degrees of freedom at the start, above 1 as they always stay: a mean exists. Ten is near
        enough to a normal to start well on light tails.
    """

    def __init__(self, event_shape: Sequence[int], *, df: float = 10.0):
        super().__init__(event_shape)
        if not df > 1:
            raise ParameterError(f"StudentT got df={df!r}, expected a number above 1.")
        raw = math.log(math.expm1(df - 1))
        self.raw_df = nn.Parameter(torch.full(self.event_shape, raw))

    @property
    def df(self) -> Tensor:
        """Degrees of freedom, of shape `event_shape`."""
        return 1 + F.softplus(self.raw_df)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        df = self.df
        log_norm = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (math.pi * df).log()
        return (log_norm - (df + 1) / 2 * torch.log1p(x.square() / df)).flatten(1).sum(1)

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        # Bailey 1994, "Polar generation of random variates with the t-distribution".
        u, v = self._rand(n_samples, generator), self._rand(n_samples, generator)
        radius = (self.df * torch.expm1(-2 / self.df * u.log())).sqrt()
        return radius * torch.cos(2 * math.pi * v)
