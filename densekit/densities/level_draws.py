"""How an autoregressive model of levels draws them: at a temperature, and true to a class."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit.densities.likelihoods import Categorical, Discrete


class LevelDraws:
    """Draws levels with their masses to the power ``1 / temperature``; at 0 the likeliest.

    Parameters
    ----------
    likelihood : Discrete
    temperature : float, default=1.0
    generator : torch.Generator, optional
    """

    n_copies = 1
    """Rows of parameters that each drawn row takes."""

    def __init__(
        self,
        likelihood: Discrete,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        self.likelihood, self.temperature, self.generator = likelihood, temperature, generator

    def draw(self, params: Tensor) -> Tensor:
        """params (n_copies * batch, n_params) -> levels (batch,)."""
        if self.temperature == 1.0:
            return self.likelihood.sample(params, self.generator)
        return self._by_mass(self.likelihood.masses(params).log())

    def see(self, levels: Tensor) -> None:
        """Take notice of what the last levels have become: drawn ones, or known ones."""

    def _by_mass(self, log_mass: Tensor) -> Tensor:
        """Log-masses (batch, n_levels), up to a constant -> levels (batch,)."""
        if self.temperature < torch.finfo(log_mass.dtype).tiny:  # zero, or zero in this dtype
            return log_mass.argmax(-1).to(log_mass.dtype)
        below_most = log_mass - log_mass.amax(-1, keepdim=True)  # or near zero none were finite
        logits = below_most / self.temperature
        return Categorical(self.likelihood.n_levels).sample(logits, self.generator)


class GuidedDraws(LevelDraws):
    """Draws levels that tell a row's class from the others.

    A level's mass is ``p(x_t | x_1..x_{t-1}, y) * p(y | x_1..x_t) ** guidance``, up to a constant.
    The second factor is Bayes' rule over what the model itself says of the numbers so far under
    each class, all as likely before, so that guidance by a classifier (Dhariwal and Nichol 2021,
    section 4) needs no classifier.

    Parameters
    ----------
    likelihood : Discrete
    temperature : float
    generator : torch.Generator or None
    guidance : float
        Above 0.
    context : Tensor of shape (batch, n_classes)
        The class of each row, one-hot.
    """

    def __init__(
        self,
        likelihood: Discrete,
        temperature: float,
        generator: torch.Generator | None,
        guidance: float,
        context: Tensor,
    ):
        super().__init__(likelihood, temperature, generator)
        self.n_copies, self.guidance = context.shape[1], guidance
        self._own = context.nonzero(as_tuple=True)
        self._posterior = torch.full_like(context, 1 / self.n_copies)
        self._joint = self._posterior[..., None]  # of classes and levels, at the last draw

    def draw(self, params: Tensor) -> Tensor:
        masses = self.likelihood.masses(params).unflatten(0, (-1, self.n_copies))
        self._joint = self._posterior[..., None] * masses
        total = self._joint.sum(1)
        share = torch.where(total > 0, self._joint[self._own] / total, 0.0)
        return self._by_mass(masses[self._own].log() + self.guidance * share.log())

    def see(self, levels: Tensor) -> None:
        chosen = self._joint[self._own[0], :, levels.long()]
        # No class is lost for ever to rounding.
        chosen = chosen.clamp_min(torch.finfo(chosen.dtype).tiny)
        self._posterior = chosen / chosen.sum(1, keepdim=True)
