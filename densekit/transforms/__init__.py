"""Bijections that carry their log-determinant; forward goes from data x to latent z."""

from densekit.transforms.autoregressive import Autoregressive
from densekit.transforms.base import Transform
from densekit.transforms.chain import Chain
from densekit.transforms.coupling import Coupling
from densekit.transforms.gaussianize import Gaussianize
from densekit.transforms.inverse import Inverse
from densekit.transforms.linear import Linear
from densekit.transforms.permutation import Permutation
from densekit.transforms.scaling import ActNorm, Scale, Standardize
from densekit.transforms.support import Bounded

__all__ = [
    "ActNorm",
    "Autoregressive",
    "Bounded",
    "Chain",
    "Coupling",
    "Gaussianize",
    "Inverse",
    "Linear",
    "Permutation",
    "Scale",
    "Standardize",
    "Transform",
]
