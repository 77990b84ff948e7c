"""Densities: base distributions, flows and autoregressive models."""

from densekit.densities.base import Density
from densekit.densities.flow import Flow
from densekit.densities.logistic import Logistic
from densekit.densities.made import MADE
from densekit.densities.mixture import Mixture
from densekit.densities.normal import Normal
from densekit.densities.student_t import StudentT
from densekit.densities.uniform import Uniform

__all__ = [
    "MADE",
    "Density",
    "Flow",
    "Logistic",
    "Mixture",
    "Normal",
    "StudentT",
    "Uniform",
]
