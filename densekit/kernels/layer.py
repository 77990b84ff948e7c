"""A whole layer in one step of autograd: a network makes of some features what maps others.

Everything has features first in memory: (n_features, batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.elementwise import MapKernel
from densekit.kernels.perceptron import differentiate_layers, masked, run_layers


class Layer(NamedTuple):
    """What stays the same while a layer is trained."""

    kernel: MapKernel
    kept: slice | Tensor
    """Features that the network sees."""
    moved: slice | Tensor
    """Features that are mapped; they may overlap with the others."""
    masks: Sequence[Tensor] | None
    """Zeros and ones that multiply the network's weights."""


def map_layer(
    rows: Tensor,
    context: Tensor | None,
    layer: Layer,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Map rows, with gradients where autograd asks for them.

    Parameters
    ----------
    rows : Tensor of shape (n_features, batch)
    context : Tensor of shape (n_context, batch), optional
        The network sees it behind the kept features.
    layer : Layer
    weights, biases : sequences of Tensor
        Of the network, from its inputs to its outputs, which are (n_params * n_moved, batch).

    Returns
    -------
    z : Tensor of shape (n_features, batch)
    log_det : Tensor of shape (batch,)
    """
    if not torch.is_grad_enabled():
        weights = masked(weights, layer.masks)
        z, log_det, *_ = _run(layer.kernel.forward, rows, context, layer, weights, biases)
        return z, log_det
    result: tuple[Tensor, Tensor] = _MapLayer.apply(
        rows, context, layer, len(weights), *weights, *biases
    )
    return result


def unmap_layer(
    rows: Tensor,
    context: Tensor | None,
    layer: Layer,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Invert `map_layer` without gradients, for a layer that moves none of the kept features."""
    z, log_det, *_ = _run(layer.kernel.inverse, rows, context, layer, weights, biases)
    return z, log_det


def _run(
    function: Any,
    rows: Tensor,
    context: Tensor | None,
    layer: Layer,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Give z, the log-determinants, the features that were mapped, and what the network held."""
    x, inputs = rows[layer.moved], rows[layer.kept]
    if context is not None:
        inputs = torch.cat([inputs, context])
    values = run_layers(inputs, weights, biases)
    z, log_slope = rows.clone(), torch.empty_like(x)
    mapped = z[layer.moved]  # a view if it is a slice
    layer.kernel.fill(function, x, values[-1], mapped, log_slope)
    if not isinstance(layer.moved, slice):
        z[layer.moved] = mapped
    return z, log_slope.sum(0), x, values


class _MapLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        context: Tensor | None,
        layer: Layer,
        n_layers: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        weights = masked(parameters[:n_layers], layer.masks)
        z, log_det, x, values = _run(
            layer.kernel.forward, rows, context, layer, weights, parameters[n_layers:]
        )
        ctx.layer, ctx.n_layers = layer, n_layers
        ctx.n_context = 0 if context is None else len(context)
        ctx.save_for_backward(x, *values, *weights)
        return z, log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Any, ...]:
        layer, n_layers = ctx.layer, ctx.n_layers
        x, *values, params = ctx.saved_tensors[: n_layers + 2]
        of_rows = of_z.clone(memory_format=torch.contiguous_format)
        of_log_slope = of_log_det.expand_as(x).contiguous()
        of_x, of_params = torch.empty_like(x), torch.empty_like(params)
        layer.kernel.fill_gradients(x, params, of_rows[layer.moved], of_log_slope, of_x, of_params)
        of_inputs, of_parameters = differentiate_layers(
            values,
            ctx.saved_tensors[n_layers + 2 :],
            layer.masks,
            of_params,
            any(ctx.needs_input_grad[:2]),
        )
        of_context = None
        if of_inputs is not None:
            n_kept = len(of_inputs) - ctx.n_context
            of_rows[layer.moved] = of_x
            of_rows[layer.kept] += of_inputs[:n_kept]
            of_context = of_inputs[n_kept:] if ctx.n_context else None
        return of_rows, of_context, None, None, *of_parameters
