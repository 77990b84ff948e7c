"""Muon: steps along momentum that is orthogonalised, for the matrices inside perceptrons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from densekit.networks import MLP, MaskedMLP

MOMENTUM = 0.95
MIN_SIDE = 32  # below it Adam is as good, and cheaper
# Share of the learning rate per root of a matrix's longer side; 0.2 moves a weight as far as Adam
# does (Liu 2025, equation 4).
SCALE = 0.2
# Each step of the iteration takes singular values s to a s + b s^3 + c s^5 (Jordan 2024).
COEFFICIENTS, N_ITERATIONS = (3.4445, -4.7750, 2.0315), 5
EPSILON = 1e-8  # of gradients that count as none, as Adam's


class Matrix(NamedTuple):
    """A weight that Muon trains, and the mask of zeros and ones that multiplies it, if any."""

    weight: Tensor
    mask: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)


def find_matrices(model: nn.Module) -> list[Matrix]:
    """The trained matrices of a model's perceptrons that are large enough, by their shapes."""
    found: dict[int, Matrix] = {}  # modules may share a weight
    for module in model.modules():
        if not isinstance(module, MLP | MaskedMLP):
            continue
        weights = module.weights_and_biases()[0]
        masks = module.masks() if isinstance(module, MaskedMLP) else [None] * len(weights)
        for weight, mask in zip(weights, masks, strict=True):
            if weight.requires_grad and min(weight.shape) >= MIN_SIDE:
                found.setdefault(id(weight), Matrix(weight, mask))
    return sorted(found.values(), key=lambda matrix: matrix.shape)


class Muon:
    """Moves matrices against their orthogonalised momentum (Jordan 2024), and their averages along.

    Parameters
    ----------
    matrices : iterable of Matrix
        Those of a shape together.
    weights, gradient, average : Tensor of shape (n,)
        Of all matrices, one after the other.
    """

    def __init__(
        self, matrices: Iterable[Matrix], weights: Tensor, gradient: Tensor, average: Tensor
    ):
        self.momentum = torch.zeros_like(weights)
        self._groups = []
        start = 0
        for shape, group in groupby(matrices, key=lambda matrix: matrix.shape):
            masks = [matrix.mask for matrix in group]
            stop = start + len(masks) * math.prod(shape)
            stacks = [
                vector[start:stop].view(-1, *shape)
                for vector in (weights, gradient, average, self.momentum)
            ]
            self._groups.append((stacks, _stacked(masks, weights), SCALE * math.sqrt(max(shape))))
            start = stop

    def step(self, rate: float, clip: float, share: float) -> None:
        """Take a step of a learning rate, with a share of gradients, and give averages theirs."""
        for (weights, gradient, average, momentum), mask, scale in self._groups:
            if clip < 1:
                gradient.mul_(clip)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            direction = orthogonalize(torch.lerp(gradient, momentum, MOMENTUM))
            if mask is not None:
                direction.mul_(mask)
            weights.sub_(direction, alpha=rate * scale)
            average.lerp_(weights, share)


def _stacked(masks: Sequence[Tensor | None], like: Tensor) -> Tensor | None:
    """The masks of equally large matrices, or None where there is none."""
    known = [mask for mask in masks if mask is not None]
    if not known:
        return None
    full = torch.ones_like(known[0])
    return torch.stack([full if mask is None else mask for mask in masks]).to(like)


def orthogonalize(stack: Tensor) -> Tensor:
    """Bring the singular values of each matrix of (n, rows, columns) near one.

    They end between 0.7 and 1.2, unless they are far smaller than the greatest (Jordan 2024). A
    matrix that is next to nothing stays so.
    """
    is_wide = stack.shape[1] < stack.shape[2]
    tall = stack.mT if is_wide else stack
    norm = tall.flatten(1).norm(dim=1)[:, None, None] + EPSILON
    n_rows, n_columns = tall.shape[1:]
    iterate = _iterate if 2 * n_rows < 3 * n_columns else _iterate_on_products
    result = iterate(tall / norm)
    return result.mT if is_wide else result


def _iterate(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(N_ITERATIONS):
        gram = x.mT @ x
        x = torch.baddbmm(x, x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), beta=a)
    return x


def _iterate_on_products(x: Tensor) -> Tensor:
    """The same for tall matrices: only the products of columns change, which are small."""
    a, b, c = COEFFICIENTS
    gram = x.mT @ x
    factor = eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device).expand_as(gram)
    for iteration in range(N_ITERATIONS):
        # All of these are polynomials of the first, so they commute.
        change = a * eye + torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor = factor @ change if iteration else change
        if iteration < N_ITERATIONS - 1:
            gram = gram @ change @ change
    return x @ factor
