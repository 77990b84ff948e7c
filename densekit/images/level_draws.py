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
        self.likelihood, self.generator = likelihood, generator
        self.temperature = float(temperature)

    def draw(self, params: Tensor) -> Tensor:
        """params (n_copies * batch, n_params) -> levels (batch,)."""
        if self.temperature == 1.0:
            return self.likelihood.sample(params, self.generator)
        return self._by_mass(self.likelihood.log_masses(params))

    def see(self, levels: Tensor) -> None:
        """Take notice of what the last levels have become: drawn ones, or known ones."""

    def _by_mass(self, log_mass: Tensor) -> Tensor:
        """Log-masses (batch, n_levels), up to a constant -> levels (batch,)."""
        limits = torch.finfo(log_mass.dtype)
        if self.temperature < limits.tiny:  # zero, or zero in this dtype
            return log_mass.argmax(-1).to(log_mass.dtype)
        below_most = log_mass - log_mass.amax(-1, keepdim=True)  # or near zero none were finite
        logits = below_most / min(self.temperature, limits.max)
        return Categorical(self.likelihood.n_levels).sample(logits, self.generator)


class GuidedDraws(LevelDraws):
    """Draws levels that tell a row's class from the others.

    A level's mass is ``p(x_t | x_1..x_{t-1}, y) * p(y | x_1..x_t) ** guidance``, up to a constant,
    and that to the power ``1 / temperature``.
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
        The class of each row, one-hot, in the dtype of the parameters.
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
        self.n_copies, self.guidance = context.shape[1], float(guidance)
        self._own = context.nonzero(as_tuple=True)
        self._log_posterior = torch.zeros_like(context)
        self._log_joint = self._log_posterior  # with the levels of the last draw

    def draw(self, params: Tensor) -> Tensor:
        log_masses = self.likelihood.log_masses(params).unflatten(0, (-1, self.n_copies))
        self._log_joint = self._log_posterior[..., None] + log_masses
        log_share = self._log_joint[self._own] - self._log_joint.logsumexp(1)
        below_most = log_share - log_share.amax(-1, keepdim=True)
        guidance = min(self.guidance, torch.finfo(log_share.dtype).max)
        return self._by_mass(log_masses[self._own] + guidance * below_most)

    def see(self, levels: Tensor) -> None:
        chosen = self._log_joint[self._own[0], :, levels.long()]
        self._log_posterior = chosen.log_softmax(1)
