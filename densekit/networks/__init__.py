"""Conditioners: the networks that give elementwise maps their parameters."""

from densekit.networks.masked_mlp import MaskedMLP
from densekit.networks.mlp import MLP
from densekit.networks.precision import MixedPrecision, has_fast_bfloat16, use_bfloat16

__all__ = [
    "MLP",
    "MaskedMLP",
    "MixedPrecision",
    "has_fast_bfloat16",
    "use_bfloat16",
]
