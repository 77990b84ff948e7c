"""Conditioners: the networks that give elementwise maps their parameters."""

from densekit.networks.gated_conv import GatedConvNet
from densekit.networks.masked_mlp import MaskedMLP
from densekit.networks.mlp import MLP
from densekit.networks.precision import has_fast_bfloat16, use_low_precision
from densekit.networks.residual_conv import ResidualConvNet

__all__ = [
    "MLP",
    "GatedConvNet",
    "MaskedMLP",
    "ResidualConvNet",
    "has_fast_bfloat16",
    "use_low_precision",
]
