"""All trained parameters as one vector, which optimisers and averages work on at once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Weights:
    """Lay parameters, and their gradients, side by side in memory.

    While this lasts the parameters are views of `vector`, and gradients gather in
    `gradient`; `release` gives each parameter memory of its own again.

    Parameters
    ----------
    parameters : iterable of Parameter
        Of one dtype and on one device, and each to be trained.
    """

    def __init__(self, parameters: Iterable[Tensor]):
        self._parameters = list(parameters)
        parts = [parameter.detach().reshape(-1) for parameter in self._parameters]
        self.vector = torch.cat(parts) if parts else torch.empty(0)
        self.gradient = self.vector.grad = torch.zeros_like(self.vector)
        start = 0
        for parameter in self._parameters:
            place = slice(start, start + parameter.numel())
            parameter.data = self.vector[place].view_as(parameter)
            parameter.grad = self.gradient[place].view_as(parameter)
            start = place.stop

    def __len__(self) -> int:
        return len(self.vector)

    def copy(self) -> Tensor:
        """The present values."""
        return self.vector.clone()

    def set(self, values: Tensor) -> None:
        """Take other values."""
        self.vector.copy_(values)

    def release(self) -> None:
        """Give each parameter its own memory and no gradient."""
        for parameter in self._parameters:
            parameter.data = parameter.data.clone()
            parameter.grad = None
