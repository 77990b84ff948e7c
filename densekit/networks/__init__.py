"""Conditioners: the networks that give elementwise maps their parameters."""

from densekit.networks.masked_mlp import MaskedMLP
from densekit.networks.mlp import MLP

__all__ = ["MLP", "MaskedMLP"]
