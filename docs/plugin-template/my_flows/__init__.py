"""A layer for densekit: the modulus transform, which draws in heavy tails or stretches them."""

import math

import torch
from torch import nn

from densekit.transforms import Transform

MAX_LOG_POWER = math.log(2)  # powers stay between a half and two


class Modulus(Transform):
    """z = sign(x) ((1 + |x|)^p - 1) / p, with a learned power p for each column.

    The modulus transform of John and Draper (1980). At the start p is one, and the layer the
    identity; p < 1 draws in the tails.

    Parameters
    ----------
    event_shape : sequence of int
        Shape of one row.
    context_shape : sequence of int, optional
        Given to every layer; this one takes no notice of context.
    """

    def __init__(self, event_shape, *, context_shape=None):
        super().__init__(event_shape)
        self.weight = nn.Parameter(torch.zeros(self.event_shape))

    @property
    def power(self):
        return torch.exp(MAX_LOG_POWER * torch.tanh(self.weight))

    def forward(self, x, context=None):
        power, log_size = self.power, torch.log1p(x.abs())
        z = x.sign() * torch.expm1(power * log_size) / power
        return z, ((power - 1) * log_size).flatten(1).sum(1)

    def inverse(self, z, context=None):
        power = self.power
        log_size = torch.log1p(power * z.abs()) / power
        x = z.sign() * torch.expm1(log_size)
        return x, ((1 - power) * log_size).flatten(1).sum(1)
