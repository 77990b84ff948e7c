"""A perceptron with hard tanh, forward and backward, with features in rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

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
        return _run(x, _masked(weights, masks), biases)[-1]
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
    for i, (weight, bias) in enumerate(zip(_masked(weights, masks), biases, strict=True)):
        h = F.linear(F.hardtanh(h) if i else h, weight, bias)
    return h.T


def _masked(weights: Sequence[Tensor], masks: Sequence[Tensor] | None) -> Sequence[Tensor]:
    if masks is None:
        return weights
    return [weight * mask for weight, mask in zip(weights, masks, strict=True)]


def _run(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """The inputs of each layer, and the outputs of the last."""
    values = [x]
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if i > 0:
            values[-1].clamp_(-1.0, 1.0)
        values.append(product(weight, values[-1]).add_(bias[:, None]))
    return values


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, masks: Sequence[Tensor] | None, n_layers: int, *parameters: Tensor
    ) -> Tensor:
        weights = _masked(parameters[:n_layers], masks)
        *inputs, outputs = _run(x, weights, parameters[n_layers:])
        ctx.save_for_backward(*inputs, *weights)
        ctx.masks = masks
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        n_layers = len(ctx.saved_tensors) // 2
        inputs, weights = ctx.saved_tensors[:n_layers], ctx.saved_tensors[n_layers:]
        of_weights, of_biases = [], []
        of_x = None
        gradient = gradient.contiguous()
        for i in reversed(range(n_layers)):
            of_weight = product(gradient, inputs[i].T)
            of_weights.append(of_weight if ctx.masks is None else of_weight.mul_(ctx.masks[i]))
            of_biases.append(gradient.sum(1))
            if i > 0:
                gradient = product(weights[i].T, gradient)
                # Between the bounds the slope is one, also as seen from the result.
                gradient = torch.ops.aten.hardtanh_backward(gradient, inputs[i], -1.0, 1.0)
            elif ctx.needs_input_grad[0]:
                of_x = product(weights[0].T, gradient)
        return of_x, None, None, *reversed(of_weights), *reversed(of_biases)
