"""The plain conditioner."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def perceptron(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Linear layers with a hard tanh between them, of x of shape (batch, n_inputs)."""
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = F.linear(F.hardtanh(x) if i else x, weight, bias)
    return x


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
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        if n_inputs:
            self.weight = nn.Parameter(torch.zeros(n_outputs, widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_inputs, batch) to (n_outputs, batch): features come first, which is fastest."""
        if not self.n_inputs:
            return self.bias[:, None].expand(-1, x.shape[1])
        return perceptron(x.T, *self.weights_and_biases()).T

    def weights_and_biases(self) -> tuple[list[Tensor], list[Tensor]]:
        """Those of each layer, from the inputs to the outputs; without inputs a bias alone."""
        hidden = cast("list[nn.Linear]", list(self.hidden))
        last = [self.weight] if self.n_inputs else []
        weights: list[Tensor] = [*(layer.weight for layer in hidden), *last]
        return weights, [*(layer.bias for layer in hidden), self.bias]
