"""Monotone maps of one number, whose parameters a conditioner network gives."""

from densekit.elementwise.affine import Affine
from densekit.elementwise.base import Elementwise
from densekit.elementwise.compiling import compile_kernel
from densekit.elementwise.shift import Shift
from densekit.elementwise.spline import Spline

__all__ = ["Affine", "Elementwise", "Shift", "Spline", "compile_kernel"]
