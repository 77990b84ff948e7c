"""One step of training: gradient, clipping, Adam or Muon, and the average of the weights."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.densities.base import Density, training_step_of
from densekit.exceptions import ParameterError
from densekit.training.checkpoint import State
from densekit.training.muon import Muon, find_matrices
from densekit.training.weights import Weights

OPTIMIZERS = ("adam", "muon")
MAX_GRADIENT_NORM = 5.0
_DECAYS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam (Kingma 2015, algorithm 1)


class NonFiniteError(Exception):
    """A loss, a gradient or a score was not finite."""


class Learner:
    """Takes a density up its mean log-likelihood, a batch at a time.

    While it is used, it owns the memory of the density's parameters.

    Parameters
    ----------
    density : Density
    learning_rate : float
    average_decay : float
        Per step, of the averaged weights.
    optimizer : {"adam", "muon"}, default="adam"
        Adam (Kingma 2015), or Muon (Jordan 2024) for the matrices inside perceptrons and Adam for
        all else.

    Attributes
    ----------
    weights : Weights
    average : Tensor
        The averaged weights.
    learning_rate : float
        May be set at any time.
    """

    def __init__(
        self,
        density: Density,
        learning_rate: float,
        average_decay: float,
        optimizer: str = "adam",
    ):
        if optimizer not in OPTIMIZERS:
            raise ParameterError(f"Learner got optimizer={optimizer!r}, expected {OPTIMIZERS}.")
        self._matrices = find_matrices(density) if optimizer == "muon" else []
        if optimizer == "muon" and not self._matrices:
            raise ParameterError(
                "optimizer='muon' has no effect where no matrix of a perceptron has 32 rows and "
                "columns; leave it at 'auto', or give larger hidden_sizes."
            )
        by_muon = [matrix.weight for matrix in self._matrices]
        of_muon = {id(weight) for weight in by_muon}
        trained = [p for p in density.parameters() if p.requires_grad]
        by_adam = [parameter for parameter in trained if id(parameter) not in of_muon]
        self._n_by_adam = sum(parameter.numel() for parameter in by_adam)
        self.weights = Weights([*by_adam, *by_muon])
        self.learning_rate, self._average_decay = learning_rate, average_decay
        # Before any copy of the weights: it may set weights to zero that masks hide.
        self._training_step = training_step_of(density) if len(self.weights) else None
        self._is_fast = kernels.is_usable(self.weights.vector)
        self.restart()

    def restart(self) -> None:
        """Begin the optimisers and the average anew at the present weights."""
        self._n_steps = 0
        self.average = self.weights.copy()
        vectors = self.weights.vector, self.weights.gradient, self.average
        kind = CompiledAdam if self._is_fast else PlainAdam
        self._adam = kind(*(vector[: self._n_by_adam] for vector in vectors))
        self._muon = Muon(self._matrices, *(vector[self._n_by_adam :] for vector in vectors))

    def state(self) -> State:
        """All that the steps to come depend on."""
        first, second = self._adam.moments()
        tensors = {
            "weights": self.weights.vector,
            "average": self.average,
            "first_moment": first,
            "second_moment": second,
            "momentum": self._muon.momentum,
        }
        return State({"n_steps": self._n_steps}, tensors)

    def restore(self, state: State) -> None:
        """Undo `state`."""
        plain, tensors = state
        self.weights.set(tensors["weights"])
        self.restart()
        self._n_steps = plain["n_steps"]
        self.average.copy_(tensors["average"])
        self._adam.set_moments(tensors["first_moment"], tensors["second_moment"], self._n_steps)
        self._muon.momentum.copy_(tensors["momentum"])

    def step(self, x: Tensor, context: Tensor | None, weight: Tensor) -> float:
        """Take one gradient step; return the batch's weighted mean nats before it.

        Raises
        ------
        NonFiniteError
            The mean or the gradient is not finite; no weight has changed then.
        """
        self.weights.gradient.zero_()
        nats = self._training_step(x, context, weight)  # type: ignore[misc]
        norm = self._norm()
        if not (math.isfinite(nats) and math.isfinite(norm)):
            raise NonFiniteError(f"the mean was {nats} nats, the gradient's norm {norm}")
        self._n_steps += 1
        # The average starts short, so that it does not remember the initial weights.
        share = max(1 - self._average_decay, 10 / (10 + self._n_steps))
        clip = min(1.0, MAX_GRADIENT_NORM / norm) if norm else 1.0
        self._adam.step(self._n_steps, self.learning_rate, clip, share)
        self._muon.step(self.learning_rate, clip, share)
        return nats

    def _norm(self) -> float:
        """Of the gradient."""
        gradient = self.weights.gradient
        if self._is_fast:
            norm_squared = kernels.function("norm_squared", gradient.dtype)
            return math.sqrt(norm_squared(len(gradient), gradient.data_ptr()))
        return gradient.norm().item()


class CompiledAdam:
    """Adam, clipping and averaging in one pass over memory."""

    def __init__(self, weights: Tensor, gradient: Tensor, average: Tensor):
        self._vectors = weights, gradient, average
        self._moments = torch.zeros_like(weights), torch.zeros_like(weights)

    def moments(self) -> tuple[Tensor, Tensor]:
        return self._moments

    def set_moments(self, first: Tensor, second: Tensor, n_steps: int) -> None:
        for moment, value in zip(self._moments, (first, second), strict=True):
            moment.copy_(value)

    def step(self, n_steps: int, rate: float, clip: float, share: float) -> None:
        unbiased = [1 - decay**n_steps for decay in _DECAYS]
        factors = clip, rate / unbiased[0], unbiased[1] ** -0.5, _EPSILON, share, *_DECAYS
        weights, gradient, average = self._vectors
        kernels.function("step_adam", weights.dtype)(
            *(len(weights), weights.data_ptr(), gradient.data_ptr()),
            *(moment.data_ptr() for moment in self._moments),
            *(average.data_ptr(), (ctypes.c_double * len(factors))(*factors)),
        )


class PlainAdam:
    """The same by torch's own optimiser, on any device."""

    def __init__(self, weights: Tensor, gradient: Tensor, average: Tensor):
        self._weights, self._gradient, self._average = weights, gradient, average
        weights.grad = gradient
        self._adam = torch.optim.Adam([weights], betas=_DECAYS, eps=_EPSILON, fused=True)

    def moments(self) -> tuple[Tensor, Tensor]:
        held, nothing = self._adam.state[self._weights], torch.zeros_like(self._average)
        return held.get("exp_avg", nothing), held.get("exp_avg_sq", nothing)

    def set_moments(self, first: Tensor, second: Tensor, n_steps: int) -> None:
        device = self._weights.device
        self._adam.state[self._weights] = {
            "step": torch.tensor(float(n_steps), device=device),
            "exp_avg": first.to(device, copy=True),
            "exp_avg_sq": second.to(device, copy=True),
        }

    def step(self, n_steps: int, rate: float, clip: float, share: float) -> None:
        if clip < 1:
            self._gradient.mul_(clip)
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
        self._average.lerp_(self._weights, share)
