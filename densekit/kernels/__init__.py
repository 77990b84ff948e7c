"""The fast path: hand-written forward and backward passes of conditioners and elementwise maps.

Everything here has a plain twin, made of ordinary operations, that `plain` switches to; the
contract kit checks that the two agree, gradients too.
"""

from densekit.kernels.affine import AffineKernel
from densekit.kernels.perceptron import perceptron
from densekit.kernels.products import product
from densekit.kernels.spline import SplineKernel, SplineShape, invert_spline
from densekit.kernels.switch import is_usable, plain

__all__ = [
    "AffineKernel",
    "SplineKernel",
    "SplineShape",
    "invert_spline",
    "is_usable",
    "perceptron",
    "plain",
    "product",
]
