"""Densities: base distributions, flows and autoregressive models."""

from densekit.densities.base import Density
from densekit.densities.dequantized import Dequantized
from densekit.densities.flow import Flow
from densekit.densities.logistic import Logistic
from densekit.densities.made import MADE
from densekit.densities.mixture import Mixture
from densekit.densities.normal import Normal
from densekit.densities.pixelcnn import PixelCNN
from densekit.densities.student_t import StudentT
from densekit.densities.uniform import Uniform

__all__ = [
    "MADE",
    "Density",
    "Dequantized",
    "Flow",
    "Logistic",
    "Mixture",
    "Normal",
    "PixelCNN",
    "StudentT",
    "Uniform",
]
