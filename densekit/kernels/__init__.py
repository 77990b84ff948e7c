"""The fast path: hand-written forward and backward passes of conditioners and elementwise maps.

Everything here has a plain twin, made of ordinary operations, that `plain` switches to; the
contract kit checks that the two agree, gradients too.
"""

from densekit.kernels.adam import norm_squared, step_adam
from densekit.kernels.affine import affine
from densekit.kernels.columns import ColumnPass
from densekit.kernels.elementwise import MapKernel
from densekit.kernels.gate import gate
from densekit.kernels.layer import Layer, map_layer, unmap_layer
from densekit.kernels.linear import LinearPass
from densekit.kernels.marginals import map_marginals
from densekit.kernels.memory import keep_freed_memory
from densekit.kernels.passes import LayerPass, Pass, Scratch, is_learned
from densekit.kernels.perceptron import perceptron
from densekit.kernels.products import product
from densekit.kernels.rows import map_rows
from densekit.kernels.solve import solve
from densekit.kernels.spline import spline
from densekit.kernels.switch import is_usable, plain
from densekit.kernels.unsolve import Solver, solve_with_gradient

__all__ = [
    "ColumnPass",
    "Layer",
    "LayerPass",
    "LinearPass",
    "MapKernel",
    "Pass",
    "Scratch",
    "Solver",
    "affine",
    "gate",
    "is_learned",
    "is_usable",
    "map_layer",
    "map_marginals",
    "map_rows",
    "norm_squared",
    "perceptron",
    "plain",
    "product",
    "solve",
    "solve_with_gradient",
    "spline",
    "step_adam",
    "unmap_layer",
]

keep_freed_memory()
