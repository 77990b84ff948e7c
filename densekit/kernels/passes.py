"""Layers that learn from a batch without autograd: forward, and back with all gradients.

Everything has features first in memory, (n_features, batch). What a pass gives is written into
memory that is there already where that can be: rows and log-determinants into those that came in,
gradients of weights into theirs. Each pass has a plain twin in autograd.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from densekit.kernels.affine import differentiate_affine, map_affine
from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array
from densekit.kernels.layer import Layer
from densekit.kernels.perceptron import add_and_bound, differentiate_bound
from densekit.kernels.spline import differentiate_spline, map_spline
from densekit.kernels.sums import total
from densekit.kernels.triangle import Products, find_half, plan, run

MAX_BATCH_SIZES = 4  # of which a pass keeps memory


class Pass(ABC):
    """A layer's way through a batch and back."""

    @abstractmethod
    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        """Map rows and add to their log-determinants.

        Parameters
        ----------
        rows : Tensor of shape (n_features, batch)
            May be overwritten.
        context : Tensor of shape (batch, ...), optional
            Not every layer takes notice of it.
        log_det : Tensor of shape (batch,)
            Is added to.

        Returns
        -------
        Tensor of shape (n_features, batch)
        """

    @abstractmethod
    def backward(self, of_rows: Tensor, of_log_det: Tensor, needs_rows: bool) -> Tensor:
        """Carry a loss's gradients back from what `forward` gave last, to parameters too.

        Parameters
        ----------
        of_rows : Tensor of shape (n_features, batch)
            May be overwritten.
        of_log_det : Tensor of shape (batch,)
            The same for all layers.
        needs_rows : bool
            Whether the result is of use.

        Returns
        -------
        Tensor of shape (n_features, batch)
        """


def is_learned(*parameters: Tensor) -> bool:
    """Whether tensors are parameters that a pass can write gradients of."""
    return all(isinstance(p, torch.nn.Parameter) and p.requires_grad for p in parameters)


class Scratch:
    """Tensors that passes overwrite in turn, so that they stay in the nearest cache."""

    def __init__(self) -> None:
        self._tensors: dict[Any, Tensor] = {}

    def like(self, value: Tensor, slot: int) -> Tensor:
        """One of the shape and dtype of another; each slot holds one of its own."""
        key = slot, value.shape, value.dtype
        if key not in self._tensors:
            self._tensors[key] = torch.empty_like(value)
        return self._tensors[key]


class LayerPass(Pass):
    """The pass of what `map_layer` does.

    Parameters
    ----------
    layer : Layer
    moved : Tensor of int
        The mapped features, whatever the layer holds them as.
    weights, biases : sequences of Parameter
        Of the network, from its inputs to its outputs. What masks hide is set to zero for good, and
        so are its gradients, so that no forward pass needs to multiply by masks.
    scratch : Scratch
    """

    def __init__(
        self,
        layer: Layer,
        moved: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        scratch: Scratch,
    ):
        self._layer, self._moved, self._scratch = layer, moved.numpy(), scratch
        self._masks = None if layer.masks is None else list(layer.masks)
        self._weights, self._of_weights = values_and_gradients(weights)
        biases, of_biases = values_and_gradients(biases)
        if self._masks is not None:
            torch._foreach_mul_(self._weights, self._masks)
        masks: Sequence[Tensor | None] = self._masks or [None] * len(weights)
        self._parts = [find_half(mask) for mask in masks]
        self._biases = [bias.numpy() for bias in biases]
        self._of_biases = [bias.numpy() for bias in of_biases]
        self._options = layer.kernel.is_spline, layer.kernel.numbers(weights[0].dtype)
        self._memories: dict[int, _Memory] = {}

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        memory = self._memory = self._memory_of(rows)
        kept = rows[self._layer.kept]
        memory.values[0][: len(kept)] = kept
        if context is not None and len(memory.values[0]) > len(kept):
            memory.values[0][len(kept) :] = context.flatten(1).T
        for products, (value, _), bias in zip(
            memory.products, memory.hidden, self._biases, strict=False
        ):
            run(products.forward)
            add_and_bound(value, bias)
        run(memory.products[-1].forward)
        _map_features(
            *(rows.numpy(), self._moved, memory.raw, self._biases[-1]),
            *(*self._options, memory.x, log_det.numpy()),
        )
        return rows

    def backward(self, of_rows: Tensor, of_log_det: Tensor, needs_rows: bool) -> Tensor:
        memory = self._memory
        _differentiate_features(
            *(of_rows.numpy(), of_log_det.numpy(), self._moved, memory.raw),
            *(*self._options, memory.x, memory.of_raw, self._of_biases[-1]),
        )
        for i in reversed(range(len(memory.products))):
            run(memory.products[i].of_weight)
            if i > 0:
                run(memory.products[i].backward)
                differentiate_bound(*memory.hidden[i - 1], self._of_biases[i - 1])
        if needs_rows:
            run(memory.products[0].backward)
            self._add_to_kept(of_rows, memory.of_inputs)
        if self._masks is not None:
            torch._foreach_mul_(self._of_weights, self._masks)
        return of_rows

    def _add_to_kept(self, of_rows: Tensor, of_inputs: Tensor) -> None:
        kept = self._layer.kept
        if isinstance(kept, slice):
            of_kept = of_rows[kept]
            of_kept.add_(of_inputs[: len(of_kept)])  # behind them is the context
        else:
            of_rows.index_add_(0, kept, of_inputs[: len(kept)])

    def _memory_of(self, rows: Tensor) -> _Memory:
        """Memory for batches of this size: most are as large as the last, or end an epoch."""
        n_rows = rows.shape[1]
        if n_rows not in self._memories:
            if len(self._memories) >= MAX_BATCH_SIZES:
                self._memories.clear()
            sizes = [self._weights[0].shape[1], *(len(weight) for weight in self._weights)]
            values = [rows.new_empty(size, n_rows) for size in sizes]
            gradients = [self._scratch.like(value, i) for i, value in enumerate(values)]
            products = [
                plan(*layer, (values[i], values[i + 1]), (gradients[i], gradients[i + 1]))
                for i, layer in enumerate(
                    zip(self._weights, self._of_weights, self._parts, strict=True)
                )
            ]
            x = np.empty((len(self._moved), n_rows), self._biases[0].dtype)
            self._memories[n_rows] = _Memory.of(values, gradients, products, x)
        return self._memories[n_rows]


class _Memory(NamedTuple):
    """What a pass over a layer holds of a batch, as tensors and as the same arrays."""

    values: list[Tensor]
    """Inputs of each linear layer, then the outputs of the last."""
    products: list[Products]
    hidden: list[tuple[Array, Array]]
    """What each hidden layer gives, and its gradient."""
    raw: Array
    of_raw: Array
    of_inputs: Tensor
    x: Array
    """The features that move, as they came."""

    @classmethod
    def of(
        cls, values: list[Tensor], gradients: list[Tensor], products: list[Products], x: Array
    ) -> _Memory:
        pairs = [(v.numpy(), g.numpy()) for v, g in zip(values, gradients, strict=True)]
        return cls(values, products, pairs[1:-1], *pairs[-1], gradients[0], x)


def values_and_gradients(parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The memory of parameters and that of their gradients, which start at zero."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [p.grad for p in parameters if p.grad is not None]
    return [parameter.detach() for parameter in parameters], gradients


@compiled
def _map_features(
    rows: Array,
    moved: Array,
    raw: Array,
    bias: Array,
    is_spline: bool,
    options: Array,
    x: Array,
    log_det: Array,
) -> None:
    """Add the bias to the parameters, keep the features that move in x, and map them in place."""
    for k in range(len(raw)):
        values, offset = raw[k], bias[k]
        for i in range(len(values)):
            values[i] += offset
    for j in range(len(moved)):
        x[j] = rows[moved[j]]
    z, log_slope = np.empty_like(x), np.empty_like(x)
    params = raw.reshape((len(raw) // len(moved), x.size))
    if is_spline:
        map_spline(x.reshape(-1), params, options, z.reshape(-1), log_slope.reshape(-1))
    else:
        map_affine(x.reshape(-1), params, options, z.reshape(-1), log_slope.reshape(-1))
    for j in range(len(moved)):
        rows[moved[j]] = z[j]
        slopes = log_slope[j]
        for i in range(len(slopes)):
            log_det[i] += slopes[i]


@compiled
def _differentiate_features(
    of_rows: Array,
    of_log_det: Array,
    moved: Array,
    raw: Array,
    is_spline: bool,
    options: Array,
    x: Array,
    of_raw: Array,
    of_bias: Array,
) -> None:
    """Turn gradients of z into those of x in place, and fill those of the parameters."""
    of_z, of_log_slope, of_x = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    for j in range(len(moved)):
        of_z[j] = of_rows[moved[j]]
        of_log_slope[j] = of_log_det
    shape = len(raw) // len(moved), x.size
    params, of_params = raw.reshape(shape), of_raw.reshape(shape)
    gradients = of_z.reshape(-1), of_log_slope.reshape(-1), of_x.reshape(-1), of_params
    if is_spline:
        differentiate_spline(x.reshape(-1), params, options, *gradients)
    else:
        differentiate_affine(x.reshape(-1), params, options, *gradients)
    for j in range(len(moved)):
        of_rows[moved[j]] = of_x[j]
    for k in range(len(of_raw)):
        of_bias[k] = total(of_raw[k])
