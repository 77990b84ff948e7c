"""Levels from a density of real numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from densekit.cases import DensityCase
from densekit.densities.base import Density
from densekit.densities.flow import Flow


class Dequantized(Density):
    """Masses of levels, bounded from below by a density of the levels plus noise.

    ``log P(x) >= E_u [log p(x + u) - log q(u | x)]`` with noise u in [0, 1) for each number (Theis
    2016, eq. 5; Ho 2019, eq. 12). With the mean of k draws of ``p / q`` inside the logarithm the
    bound is tighter (Burda 2016, eq. 8). Without `noise` u is uniform.

    In training the noise is new in each step, and comes from a generator of the density's own. In
    evaluation it is fixed: `log_prob` gives a row the same value each time and beside any rows.

    Parameters
    ----------
    density : Density
        Of rows of real numbers, mostly from 0 to `n_levels`.
    n_levels : int
    noise : Flow, optional
        Of u, inside (0, 1), over standard normals, given the row scaled to [-1, 1] as its
        context: variational dequantisation.
    n_dequantizations : int, default=1
        Draws of the noise, k.
    seed : int, default=0
        Of the noise.
    """

    support = "discrete"
    fixed: Tensor

    def __init__(
        self,
        density: Density,
        n_levels: int,
        *,
        noise: Flow | None = None,
        n_dequantizations: int = 1,
        seed: int = 0,
    ):
        super().__init__(density.event_shape, context_shape=density.context_shape)
        self.density, self.n_levels, self.noise = density, n_levels, noise
        generator = torch.Generator().manual_seed(seed)
        fixed = torch.rand(n_dequantizations, *self.event_shape, generator=generator)
        self.register_buffer("fixed", fixed)
        self._generator = generator

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        is_outside = ((x < 0) | (x > self.n_levels - 1) | (x != x.floor())).flatten(1).any(1)
        inside = torch.where(x.isfinite(), x.clamp(0, self.n_levels - 1), 0.0)
        if self.training:
            u = torch.rand(x.shape, generator=self._generator, dtype=x.dtype)
            log_prob = self._bound(inside, self._below_one(u.to(x.device)), context)
        else:
            each = [self._bound(inside, self._turned(u, inside), context) for u in self.fixed]
            log_prob = torch.stack(each).logsumexp(0) - math.log(len(each))
        return log_prob.masked_fill(is_outside, -torch.inf)

    def dequantize(self, x: Tensor) -> Tensor:
        """Levels plus the first of the fixed draws of noise."""
        u = self._turned(self.fixed[0], x)
        return x + self._warped(u, x)[0]

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.quantize(self.density.sample(n_samples, context, generator=generator))

    def quantize(self, x: Tensor) -> Tensor:
        """The levels that numbers belong to."""
        return x.floor().clamp(0, self.n_levels - 1)

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        self.density.fit_statistics(self.dequantize(x))

    def get_extra_state(self) -> Tensor:
        """Where the noise of training stands, so that training can go on from there."""
        return self._generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Undo `get_extra_state`."""
        self._generator.set_state(state.cpu())

    def _bound(self, x: Tensor, u: Tensor, context: Tensor | None) -> Tensor:
        """log p(x + u) - log q(u | x) of one draw."""
        u, log_q = self._warped(u, x)
        return self.density.log_prob(x + u, context) - log_q

    def _turned(self, u: Tensor, x: Tensor) -> Tensor:
        """Uniform noise, turned round by an angle that each row has of its own."""
        places = torch.arange(1, x[0].numel() + 1, dtype=torch.float64, device=x.device)
        golden = 0.6180339887498949  # multiples of it spread evenly over [0, 1)
        angle = (x.flatten(1).double() @ (places % 1009) * golden) % 1.0
        turned = (u.double() + angle.view(-1, *[1] * (x.ndim - 1))) % 1.0
        return self._below_one(turned.to(x.dtype))

    def _warped(self, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Uniform noise as noise that fits the row, and the log-density of it."""
        if self.noise is None:
            return u, x.new_zeros(len(x))
        z = torch.special.ndtri(u.clamp_min(torch.finfo(u.dtype).tiny))
        warped, log_det = self.noise.transform.inverse(z, 2 * x / (self.n_levels - 1) - 1)
        return self._below_one(warped), self.noise.base.log_prob(z) - log_det

    def _below_one(self, u: Tensor) -> Tensor:
        """Noise that does not reach the next level by rounding."""
        return u.clamp_max(1 - self.n_levels * torch.finfo(u.dtype).eps)

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        from densekit.densities.normal import Normal
        from densekit.images.conv_coupling import ConvCoupling
        from densekit.transforms import Autoregressive, Bounded, Chain

        def flow() -> Flow:
            bounded = Bounded((2,), low=0.0, high=3.0)
            return Flow(Chain([bounded, Autoregressive((2,))]), Normal((2,)))

        def image_flow(**options: Any) -> Flow:
            shape = (1, 2, 2)
            coupling = ConvCoupling(shape, mask="checkerboard", n_channels=4, **options)
            bounded = Bounded(shape, low=0.0, high=1.0 if options else 2.0)
            return Flow(Chain([bounded, coupling]), Normal(shape))

        def variational() -> Dequantized:
            noise = image_flow(context_shape=(1, 2, 2))
            return cls(image_flow(), 2, noise=noise, n_dequantizations=256)

        return [
            DensityCase(
                "Dequantized",
                lambda: cls(flow(), 3, n_dequantizations=256),
                levels=(0, 1, 2),
                tolerance=0.05,
            ),
            DensityCase("Dequantized(variational)", variational, levels=(0, 1), tolerance=0.15),
        ]
