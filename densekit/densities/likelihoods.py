"""Distributions of one number given parameters: the output layers of autoregressive models."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit.elementwise.affine import Affine

# Masses of all levels in all components: so many fit a processor's cache, or a card's memory.
MASSES_AT_ONCE, MASSES_AT_ONCE_ELSEWHERE = 2**17, 2**25


class Likelihood(ABC):
    """Distribution of a single number; its parameters come from a network, unbounded."""

    n_params: int
    support = "real"

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """x (...,), params (..., n_params) -> nats (...,)."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        """params (..., n_params) -> x (...,)."""

    def params_of(self, x: Tensor) -> Tensor | None:
        """Parameters to start from, (n_features, n_params): those of each column alone.

        None leaves it at zeros.
        """
        return None


class Discrete(Likelihood):
    """Distribution of a level from 0 to ``n_levels - 1``; any other value has a mass of zero."""

    n_levels: int
    support = "discrete"

    @abstractmethod
    def log_masses(self, params: Tensor) -> Tensor:
        """params (batch, n_params) -> nats of every level, all finite, (batch, n_levels)."""


class GaussianMixture(Likelihood):
    """Mixture of `n_components` Gaussians; with one component a Gaussian (Germain 2015; Uria 2013).

    The components start apart, from -2 to 2, because equal ones would stay equal for ever.
    """

    def __init__(self, n_components: int):
        self.n_components = n_components
        self.n_params = 3 * n_components if n_components > 1 else 2
        self._standardise = Affine()

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        logits, affine = self._split(params)
        z, log_slope = self._standardise.forward(x[..., None], affine)
        each = logits - 0.5 * (z.square() + math.log(2 * math.pi)) + log_slope
        return each.logsumexp(-1) - logits.logsumexp(-1)

    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        logits, affine = self._split(params)
        shape = params.shape[:-1]
        noise = torch.randn(shape, generator=generator, dtype=params.dtype, device=params.device)
        u = torch.rand(shape, generator=generator, dtype=params.dtype, device=params.device)
        edges = logits.softmax(-1).cumsum(-1)[..., :-1]
        chosen = (u[..., None] >= edges).sum(-1)
        index = chosen[..., None, None].expand(*shape, 1, 2)
        x, _ = self._standardise.inverse(noise, affine.gather(-2, index)[..., 0, :])
        return x

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (..., n_components), and maps to a standard normal (..., n_components, 2)."""
        if self.n_components == 1:
            return params.new_zeros(*params.shape[:-1], 1), params[..., None, :]
        logits, shift, log_scale = params.unflatten(-1, (3, self.n_components)).unbind(-2)
        start = torch.linspace(2, -2, self.n_components, dtype=params.dtype, device=params.device)
        return logits, torch.stack([shift + start, log_scale], -1)


class Bernoulli(Discrete):
    """A number that is 0 or 1 (Germain 2015, eq. 2)."""

    n_levels = 2
    n_params = 1

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        is_bit = (x == 0) | (x == 1)
        log_mass = -F.softplus(torch.where(x == 1, -params[..., 0], params[..., 0]))
        return log_mass.masked_fill(~is_bit, -torch.inf)

    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        u = torch.rand(
            params.shape[:-1], generator=generator, dtype=params.dtype, device=params.device
        )
        return (u < params[..., 0].sigmoid()).to(params.dtype)

    def log_masses(self, params: Tensor) -> Tensor:
        return F.logsigmoid(torch.cat([-params, params], -1))

    def params_of(self, x: Tensor) -> Tensor:
        share = (x.sum(0) + 0.5) / (len(x) + 1)  # neither never nor always
        return share.logit()[:, None]


class Categorical(Discrete):
    """A level from 0 to n_levels - 1, each with a probability of its own (van den Oord 2016a)."""

    def __init__(self, n_levels: int):
        self.n_levels = self.n_params = n_levels

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        is_level = (x >= 0) & (x <= self.n_levels - 1) & (x == x.floor())
        level = torch.where(is_level, x, 0.0).long()
        chosen = params.gather(-1, level[..., None])[..., 0]
        return (chosen - params.logsumexp(-1)).masked_fill(~is_level, -torch.inf)

    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        u = torch.rand(
            params.shape[:-1], generator=generator, dtype=params.dtype, device=params.device
        )
        edges = params.softmax(-1).cumsum(-1)[..., :-1]
        return (u[..., None] >= edges).sum(-1).to(params.dtype)

    def log_masses(self, params: Tensor) -> Tensor:
        return params.log_softmax(-1)


class LogisticMixture(Discrete):
    """Mixture of logistics, rounded to levels (Salimans 2017, eq. 1 and 2).

    The mass of a level is that between half a level below and above it, and the first and the last
    level take all that lies beyond, so masses sum to one exactly. The scales are bounded from below
    by a hundredth of a level, beyond which nothing would change but rounding errors.

    Parameters
    ----------
    n_levels : int
    n_components : int, default=10
    """

    def __init__(self, n_levels: int, n_components: int = 10):
        self.n_levels = n_levels
        self.n_components = n_components
        self.n_params = 3 * n_components

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        is_level = (x >= 0) & (x <= self.n_levels - 1) & (x == x.floor())
        logits, mean, log_scale = self._split(params)
        distance, sharpness = x[..., None] - mean, torch.exp(-log_scale)
        above, below = (distance + 0.5) * sharpness, (distance - 0.5) * sharpness
        # sigmoid(above) - sigmoid(below) as a product, of which no factor cancels
        is_first, is_last = (x <= 0)[..., None], (x >= self.n_levels - 1)[..., None]
        log_mass = (
            F.logsigmoid(above).masked_fill(is_last, 0.0)
            + F.logsigmoid(-below).masked_fill(is_first, 0.0)
            + torch.log(-torch.expm1(-sharpness)).masked_fill(is_first | is_last, 0.0)
        )
        log_mass = (logits + log_mass).logsumexp(-1) - logits.logsumexp(-1)
        return log_mass.masked_fill(~is_level, -torch.inf)

    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        logits, mean, log_scale = self._split(params)
        u, v = torch.rand(
            2, *params.shape[:-1], generator=generator, dtype=params.dtype, device=params.device
        )
        edges = logits.softmax(-1).cumsum(-1)[..., :-1]
        chosen = (u[..., None] >= edges).sum(-1, keepdim=True)
        v = v.clamp(torch.finfo(v.dtype).tiny, 1 - torch.finfo(v.dtype).eps)
        noise = v.log() - torch.log1p(-v)
        x = mean.gather(-1, chosen)[..., 0] + log_scale.gather(-1, chosen)[..., 0].exp() * noise
        return x.round().clamp(0, self.n_levels - 1)

    def log_masses(self, params: Tensor) -> Tensor:
        is_cpu = params.device.type == "cpu"
        most = MASSES_AT_ONCE if is_cpu else MASSES_AT_ONCE_ELSEWHERE
        n_rows = max(1, most // (self.n_levels * self.n_components))
        return torch.cat([self._log_masses(part) for part in params.split(n_rows)])

    def _log_masses(self, params: Tensor) -> Tensor:
        logits, mean, log_scale = self._split(params)
        sharpness = torch.exp(-log_scale)[..., None]
        edges = torch.arange(self.n_levels - 1, dtype=params.dtype, device=params.device) + 0.5
        # As in `log_prob`, but an edge between two levels is computed once.
        z = (edges - mean[..., None]) * sharpness
        log_below = F.logsigmoid(z)
        log_above = log_below - z
        log_inside = torch.log(-torch.expm1(-sharpness))
        inner = log_below[..., 1:] + log_above[..., :-1] + log_inside
        each = torch.cat([log_below[..., :1], inner, log_above[..., -1:]], -1)
        return (each + logits.log_softmax(-1)[..., None]).logsumexp(-2)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and log-scales in levels; components start apart, as wide as that."""
        logits, shift, log_scale = params.unflatten(-1, (3, self.n_components)).unbind(-2)
        places = torch.linspace(0, 1, self.n_components + 2, dtype=params.dtype)[1:-1]
        mean = self.n_levels * (places.to(params.device) + 0.25 * shift)
        width = math.log(self.n_levels / (2 * self.n_components))
        return logits, mean, (width + log_scale).clamp_min(math.log(0.01))
