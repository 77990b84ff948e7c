"""One step of training: gradient, clipping, Adam, and the average of the weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densekit import kernels
from densekit.densities.base import Density
from densekit.training.checkpoint import State
from densekit.training.weights import Weights

MAX_GRADIENT_NORM = 5.0
_DECAYS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam (Kingma 2015, algorithm 1)


class NonFiniteError(Exception):
    """A loss, a gradient or a score was not finite."""


class Learner:
    """Takes a density up its mean log-likelihood, a batch at a time, by Adam (Kingma 2015).

    While it is used, it owns the memory of the density's parameters.

    Parameters
    ----------
    density : Density
    learning_rate : float
    average_decay : float
        Per step, of the averaged weights.

    Attributes
    ----------
    weights : Weights
    average : Tensor
        The averaged weights.
    learning_rate : float
        May be set at any time.
    """

    def __init__(self, density: Density, learning_rate: float, average_decay: float):
        self.weights = Weights(p for p in density.parameters() if p.requires_grad)
        self.learning_rate, self._average_decay = learning_rate, average_decay
        # Before any copy of the weights: it may set weights to zero that masks hide.
        self._gradient_pass = density.gradient_pass() if len(self.weights) else None
        self.restart()

    def restart(self) -> None:
        """Begin Adam and the average anew at the present weights."""
        self._n_steps = 0
        self.average = self.weights.copy()
        self._update: Any = None
        if len(self.weights):
            is_fast = kernels.is_usable(self.weights.vector)
            self._update = (_CompiledUpdate if is_fast else PlainUpdate)(self.weights, self.average)

    def state(self) -> State:
        """All that the steps to come depend on."""
        tensors = {"weights": self.weights.vector, "average": self.average}
        if self._update is not None:
            tensors["first_moment"], tensors["second_moment"] = self._update.moments()
        return State({"n_steps": self._n_steps}, tensors)

    def restore(self, state: State) -> None:
        """Undo `state`."""
        plain, tensors = state
        self.weights.set(tensors["weights"])
        self.restart()
        self._n_steps = plain["n_steps"]
        self.average.copy_(tensors["average"])
        if self._update is not None:
            moments = tensors["first_moment"], tensors["second_moment"]
            self._update.set_moments(*moments, self._n_steps)

    def step(self, x: Tensor, context: Tensor | None, weight: Tensor) -> float:
        """Take one gradient step; return the batch's weighted mean nats before it.

        Raises
        ------
        NonFiniteError
            The mean or the gradient is not finite; no weight has changed then.
        """
        self.weights.gradient.zero_()
        nats = self._gradient_pass(x, context, weight)  # type: ignore[misc]
        norm = self._update.norm()
        if not (math.isfinite(nats) and math.isfinite(norm)):
            raise NonFiniteError(f"the mean was {nats} nats, the gradient's norm {norm}")
        self._n_steps += 1
        # The average starts short, so that it does not remember the initial weights.
        share = max(1 - self._average_decay, 10 / (10 + self._n_steps))
        clip = min(1.0, MAX_GRADIENT_NORM / norm) if norm else 1.0
        self._update.step(self._n_steps, self.learning_rate, clip, share)
        return nats


class _CompiledUpdate:
    """Adam, clipping and averaging in one pass over memory."""

    def __init__(self, weights: Weights, average: Tensor):
        self._vectors = weights.vector.numpy(), weights.gradient.numpy()
        self._moments = np.zeros_like(self._vectors[0]), np.zeros_like(self._vectors[0])
        self._average = average.numpy()

    def moments(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._moments[0]), torch.from_numpy(self._moments[1])

    def set_moments(self, first: Tensor, second: Tensor, n_steps: int) -> None:
        self._moments[0][:], self._moments[1][:] = first.numpy(), second.numpy()

    def norm(self) -> float:
        return math.sqrt(kernels.norm_squared(self._vectors[1]))

    def step(self, n_steps: int, rate: float, clip: float, share: float) -> None:
        unbiased = [1 - decay**n_steps for decay in _DECAYS]
        factors = clip, rate / unbiased[0], unbiased[1] ** -0.5, _EPSILON, share
        kernels.step_adam(*self._vectors, self._moments, self._average, _DECAYS, factors)


class PlainUpdate:
    """The same by torch's own optimiser, on any device."""

    def __init__(self, weights: Weights, average: Tensor):
        self._weights, self._average = weights, average
        self._adam = torch.optim.Adam([weights.vector], betas=_DECAYS, eps=_EPSILON, fused=True)

    def moments(self) -> tuple[Tensor, Tensor]:
        held, nothing = self._adam.state[self._weights.vector], torch.zeros_like(self._average)
        return held.get("exp_avg", nothing), held.get("exp_avg_sq", nothing)

    def set_moments(self, first: Tensor, second: Tensor, n_steps: int) -> None:
        vector = self._weights.vector
        self._adam.state[vector] = {
            "step": torch.tensor(float(n_steps), device=vector.device),
            "exp_avg": first.to(vector.device, copy=True),
            "exp_avg_sq": second.to(vector.device, copy=True),
        }

    def norm(self) -> float:
        return self._weights.gradient.norm().item()

    def step(self, n_steps: int, rate: float, clip: float, share: float) -> None:
        if clip < 1:
            self._weights.gradient.mul_(clip)
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
        self._average.lerp_(self._weights.vector, share)
