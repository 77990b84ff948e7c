"""The fast path: compiled forward, backward and inverse of layers.

Everything here has a plain twin, made of ordinary operations, that `plain` switches to; the
contract kit checks that the two agree, gradients too.
"""

from densekit._kernels.elementwise import MapKernel, native
from densekit._kernels.gate import gate
from densekit._kernels.library import function
from densekit._kernels.plans import steps_of
from densekit._kernels.sequential import Network, solve, solve_with_gradient
from densekit._kernels.steps import (
    ColumnStep,
    CompiledStep,
    Layer,
    LayerStep,
    LinearStep,
    PlainStep,
    Workspace,
    is_learned,
)
from densekit._kernels.switch import is_usable, plain

__all__ = [
    "ColumnStep",
    "CompiledStep",
    "Layer",
    "LayerStep",
    "LinearStep",
    "MapKernel",
    "Network",
    "PlainStep",
    "Workspace",
    "function",
    "gate",
    "is_learned",
    "is_usable",
    "native",
    "plain",
    "solve",
    "solve_with_gradient",
    "steps_of",
]
