"""The plain conditioner."""

import itertools

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Multi-layer perceptron with hard tanh whose output is zero at the start of training.

    Without inputs it is a learned constant. Hidden units are bounded, so far from the data the
    parameters that the network gives stay near those that it has learned; the hard tanh costs no
    more than a ReLU.

    Parameters
    ----------
    n_inputs, n_outputs : int
    hidden_sizes : sequence of int
        Width of each hidden layer.
    """

    def __init__(self, n_inputs: int, n_outputs: int, hidden_sizes: tuple[int, ...]):
        super().__init__()
        self.n_inputs = n_inputs
        widths = [n_inputs, *hidden_sizes] if n_inputs else []
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.Hardtanh()]
        self.body = nn.Sequential(*layers)
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        if n_inputs:
            self.weight = nn.Parameter(torch.zeros(n_outputs, widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_inputs) to (batch, n_outputs)."""
        if not self.n_inputs:
            return self.bias.expand(x.shape[0], -1)
        return nn.functional.linear(self.body(x), self.weight, self.bias)
