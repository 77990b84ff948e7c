"""Bijections that carry their log-determinant; forward goes from data x to latent z."""

from densekit.transforms.autoregressive import Autoregressive
from densekit.transforms.base import Transform
from densekit.transforms.cast import Cast
from densekit.transforms.chain import Chain
from densekit.transforms.conv_coupling import ConvCoupling
from densekit.transforms.coupling import Coupling
from densekit.transforms.factor import Factor
from densekit.transforms.gaussianize import Gaussianize
from densekit.transforms.inverse import Inverse
from densekit.transforms.linear import Linear
from densekit.transforms.permutation import Permutation
from densekit.transforms.scaling import ActNorm, Scale, Standardize
from densekit.transforms.squeeze import Squeeze
from densekit.transforms.support import Bounded

__all__ = [
    "ActNorm",
    "Autoregressive",
    "Bounded",
    "Cast",
    "Chain",
    "ConvCoupling",
    "Coupling",
    "Factor",
    "Gaussianize",
    "Inverse",
    "Linear",
    "Permutation",
    "Scale",
    "Squeeze",
    "Standardize",
    "Transform",
]
