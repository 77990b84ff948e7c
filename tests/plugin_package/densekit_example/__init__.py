"""A monotone map, a layer, a base distribution and an estimator for densekit."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import nn

from densekit.densities import Density, Flow
from densekit.elementwise import Elementwise, compile_kernel
from densekit.estimators.base import DensityEstimator
from densekit.transforms import ActNorm, Autoregressive, Chain, Transform


class SinhArcsinh(Elementwise):
    """z = sinh(weight * asinh(x) + skew): changes tails and skewness (Jones and Pewsey 2009)."""

    n_params = 2

    def forward(self, x, params):
        skew, log_weight = torch.tanh(params).unbind(-1)
        u = torch.asinh(x) * torch.exp(log_weight) + skew
        return torch.sinh(u), log_weight + torch.cosh(u).log() - 0.5 * torch.log1p(x * x)

    def inverse(self, z, params):
        skew, log_weight = torch.tanh(params).unbind(-1)
        x = torch.sinh((torch.asinh(z) - skew) * torch.exp(-log_weight))
        return x, -self.forward(x, params)[1]

    @property
    def kernel(self):  # without it layers of this map take the plain path
        return _kernel()


def _forward(x, params, options):
    skew, log_weight = math.tanh(params[0]), math.tanh(params[1])
    u = math.asinh(x) * math.exp(log_weight) + skew
    return math.sinh(u), log_weight + math.log(math.cosh(u)) - 0.5 * math.log1p(x * x)


def _inverse(z, params, options):
    skew, log_weight = math.tanh(params[0]), math.tanh(params[1])
    u = math.asinh(z)
    x = math.sinh((u - skew) * math.exp(-log_weight))
    return x, 0.5 * math.log1p(x * x) - log_weight - math.log(math.cosh(u))


def _gradient(x, params, options, grad_z, grad_log_slope, grad_params):
    skew, log_weight = math.tanh(params[0]), math.tanh(params[1])
    weight, v = math.exp(log_weight), math.asinh(x)
    u = v * weight + skew
    grad_u = grad_z * math.cosh(u) + grad_log_slope * math.tanh(u)
    grad_params[0] = grad_u * (1 - skew * skew)
    grad_params[1] = (grad_u * v * weight + grad_log_slope) * (1 - log_weight * log_weight)
    return grad_u * weight / math.sqrt(1 + x * x) - grad_log_slope * x / (1 + x * x)


@functools.cache
def _kernel():
    return compile_kernel(_forward, _inverse, _gradient, n_params=2)


class Rotation(Transform):
    """z = x Q with a learned rotation Q, the matrix exponential of a skew-symmetric matrix."""

    def __init__(self, event_shape, *, context_shape=None):
        super().__init__(event_shape)
        self.weight = nn.Parameter(torch.zeros(event_shape[0], event_shape[0]))

    def forward(self, x, context=None):
        rotation = torch.linalg.matrix_exp(self.weight - self.weight.T)
        return x @ rotation, x.new_zeros(len(x))

    def inverse(self, z, context=None):
        rotation = torch.linalg.matrix_exp(self.weight - self.weight.T)
        return z @ rotation.T, z.new_zeros(len(z))


class Laplace(Density):
    """Independent standard Laplace distributions."""

    def log_prob(self, x, context=None):
        return -(x.abs() + math.log(2)).sum(1)

    def sample(self, n_samples, context=None, *, generator=None):
        shape = (n_samples, *self.event_shape)
        u = torch.rand(shape, generator=generator, dtype=self.anchor.dtype) - 0.5
        return -u.sign() * torch.log1p(-2 * u.abs())


@dataclass(kw_only=True, eq=False, repr=False)
class RotationFlowEstimator(DensityEstimator):
    """Rotations between autoregressive layers, over a Laplace base."""

    n_layers: int = 3

    def _build_model(self, event_shape, context_shape):
        layers = []
        for _ in range(self.n_layers):
            layers += [
                Rotation(event_shape),
                ActNorm(event_shape),
                Autoregressive(event_shape, context_shape=context_shape),
            ]
        return Flow(Chain(layers), Laplace(event_shape))
