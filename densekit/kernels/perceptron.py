"""A perceptron with hard tanh, forward and backward, with features in rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from densekit.kernels.compiled import compiled, compiled_sums
from densekit.kernels.elementwise import Array
from densekit.kernels.products import product
from densekit.kernels.switch import is_usable


def perceptron(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    masks: Sequence[Tensor] | None = None,
) -> Tensor:
    """Apply linear layers with a hard tanh between them.

    Parameters
    ----------
    x : Tensor of shape (n_inputs, batch)
    weights : sequence of Tensor of shape (n_outputs, n_inputs)
    biases : sequence of Tensor of shape (n_outputs,)
    masks : sequence of Tensor, optional
        Zeros and ones that multiply the weights.

    Returns
    -------
    Tensor of shape (n_outputs, batch)
    """
    if not is_usable(x, *weights):
        return plain_perceptron(x, weights, biases, masks)
    if not torch.is_grad_enabled():
        return run_layers(x, masked(weights, masks), biases)[-1]
    result: Tensor = _Perceptron.apply(x, masks, len(weights), *weights, *biases)
    return result


def plain_perceptron(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    masks: Sequence[Tensor] | None = None,
) -> Tensor:
    """Do the same by operations that autograd records."""
    h = x.T
    for i, (weight, bias) in enumerate(zip(masked(weights, masks), biases, strict=True)):
        h = F.linear(F.hardtanh(h) if i else h, weight, bias)
    return h.T


def masked(weights: Sequence[Tensor], masks: Sequence[Tensor] | None) -> Sequence[Tensor]:
    """Weights times masks, where there are any."""
    if masks is None:
        return weights
    return [weight * mask for weight, mask in zip(weights, masks, strict=True)]


def run_layers(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """The inputs of each layer, and the outputs of the last."""
    values = [x]
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        outputs = product(weight, values[-1])
        if i < len(weights) - 1:
            add_and_bound(outputs.numpy(), bias.detach().numpy())
        else:
            outputs.add_(bias[:, None])
        values.append(outputs)
    return values


def differentiate_layers(
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    masks: Sequence[Tensor] | None,
    gradient: Tensor,
    needs_x: bool = True,
) -> tuple[Tensor | None, list[Tensor]]:
    """Carry a gradient of the outputs to x, and to the weights and then the biases.

    Parameters
    ----------
    inputs : sequence of Tensor
        Of each layer, as `run_layers` gives them.
    """
    of_weights, of_biases = [], []
    of_x = None
    for i in reversed(range(len(weights))):
        of_weight = product(gradient, inputs[i].T, is_over_rows=True)
        of_weights.append(of_weight if masks is None else of_weight.mul_(masks[i]))
        if i == len(weights) - 1:
            of_biases.append(gradient.sum(1))
        if i > 0:
            gradient = product(weights[i].T, gradient)
            of_biases.append(gradient.new_empty(len(gradient)))
            differentiate_bound(inputs[i].numpy(), gradient.numpy(), of_biases[-1].numpy())
        elif needs_x:
            of_x = product(weights[0].T, gradient)
    return of_x, [*reversed(of_weights), *reversed(of_biases)]


@compiled
def add_and_bound(h: Array, bias: Array) -> None:
    """Add the bias of each row and apply the hard tanh; a NaN stays."""
    one = h.dtype.type(1)
    for unit in range(len(h)):
        row = h[unit]
        for i in range(len(row)):
            value = row[i] + bias[unit]
            row[i] = -one if value < -one else (one if value > one else value)


@compiled_sums
def differentiate_bound(h: Array, gradient: Array, of_bias: Array) -> None:
    """Carry a gradient from behind the hard tanh to before it, and sum it up for the bias.

    Between the bounds the slope is one, also as seen from the results h.
    """
    one = h.dtype.type(1)
    for unit in range(len(h)):
        row, value = gradient[unit], h[unit]
        total = one - one
        for i in range(len(row)):
            is_inside = abs(value[i]) < one
            row[i] = row[i] if is_inside else one - one
            total += row[i]
        of_bias[unit] = total


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, masks: Sequence[Tensor] | None, n_layers: int, *parameters: Tensor
    ) -> Tensor:
        weights = masked(parameters[:n_layers], masks)
        *inputs, outputs = run_layers(x, weights, parameters[n_layers:])
        ctx.save_for_backward(*inputs, *weights)
        ctx.masks = masks
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        n_layers = len(ctx.saved_tensors) // 2
        inputs, weights = ctx.saved_tensors[:n_layers], ctx.saved_tensors[n_layers:]
        of_x, of_parameters = differentiate_layers(
            inputs, weights, ctx.masks, gradient.contiguous(), ctx.needs_input_grad[0]
        )
        return of_x, None, None, *of_parameters
