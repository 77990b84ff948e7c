"""The sequential inverse of an autoregressive layer, with every hidden unit computed once."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit._kernels.elementwise import MapKernel
from densekit._kernels.library import function
from densekit._kernels.products import product


class Network(NamedTuple):
    """A masked network as the inverse wants it: features in their order of dependence."""

    order: Tensor
    """``order[t]`` is the feature that stands at place t."""
    place: Tensor
    """Where each feature stands."""
    n_context: int
    weights: Sequence[Tensor]
    """Of the hidden layers, (n_units, n_inputs), whose first inputs are the context."""
    biases: Sequence[Tensor]
    ends: Tensor
    """How many units of each hidden layer depend only on features before a place, (n_layers,
    n_features)."""
    out_weight: Tensor
    """(n_features, n_params, n_units of the last layer)"""
    out_bias: Tensor
    """(n_features, n_params)"""


class _Network(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n_layers", "n_features", "n_params", "n_context")),
        *(
            (name, ctypes.c_void_p)
            for name in ("n_units", "weights", "biases", "ends", "out_weight", "out_bias")
        ),
    ]


def solve(
    z: Tensor, context: Tensor | None, network: Network, kernel: MapKernel
) -> tuple[Tensor, Tensor]:
    """Give x, and the log-slopes of the inverse map of each feature, without gradients.

    Parameters
    ----------
    z : Tensor of shape (n_features, n_rows)
    context : Tensor of shape (n_context, n_rows), optional
    network : Network
    kernel : MapKernel

    Returns
    -------
    x, log_slopes : Tensors of shape (n_features, n_rows)
    """
    rows = z.detach()[network.order]
    given = z.new_empty(0, z.shape[1]) if context is None else context.detach().contiguous()
    x, log_slopes = torch.empty_like(rows), torch.empty_like(rows)
    if rows.numel():
        passed, _held = _structure(network)
        function("solve", z.dtype)(
            *(ctypes.addressof(passed), z.shape[1], rows.data_ptr(), given.data_ptr()),
            *(kernel.inverse[z.dtype], kernel.numbers(z.dtype).data_ptr()),
            *(x.data_ptr(), log_slopes.data_ptr()),
        )
    return x[network.place], log_slopes[network.place]


def solve_with_gradient(
    z: Tensor,
    context: Tensor | None,
    network: Network,
    kernel: MapKernel,
    masks: Sequence[Tensor],
    parameters: tuple[Sequence[Tensor], Sequence[Tensor]],
) -> tuple[Tensor, Tensor]:
    """Give x, and the log-determinant of the inverse map, with gradients.

    Parameters
    ----------
    z, context, network, kernel
        As in `solve`.
    masks : sequence of Tensor
        Of the network's weights.
    parameters : tuple of sequences of Tensor
        Weights and biases, from the inputs to the outputs, which get gradients.
    """
    weights, biases = parameters
    result: tuple[Tensor, Tensor] = _Solve.apply(
        z, context, network, kernel, masks, len(weights), *weights, *biases
    )
    return result


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        context: Tensor | None,
        network: Network,
        kernel: MapKernel,
        masks: Sequence[Tensor],
        n_layers: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        x, log_slopes = solve(z, context, network, kernel)
        inputs = x if context is None else torch.cat([x, context])
        weights, biases = masked(parameters[:n_layers], masks), parameters[n_layers:]
        *values, raw = run_hidden(inputs, weights, biases)
        raw += biases[-1][:, None]
        ctx.network, ctx.kernel, ctx.masks, ctx.n_layers = network, kernel, masks, n_layers
        ctx.save_for_backward(x, raw, *values, *weights)
        return x, log_slopes.sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_x: Tensor, grad_log_det: Tensor) -> tuple[Any, ...]:
        network, kernel = ctx.network, ctx.kernel
        x, raw, *saved = ctx.saved_tensors
        values, weights = saved[: ctx.n_layers], saved[ctx.n_layers :]
        (n_features, n_rows), dtype = x.shape, x.dtype
        own, given = x[network.order], grad_x[network.order]
        params = raw.view(-1, n_features, n_rows)[:, network.order]
        grad_z, grad_raw = torch.empty_like(own), torch.empty_like(params)
        grad_log_det = grad_log_det.contiguous()
        hidden = values[1:]
        pointers = (ctypes.c_void_p * max(1, len(hidden)))(*(h.data_ptr() for h in hidden))
        passed, _held = _structure(network)
        function("grad_solve", dtype)(
            *(ctypes.addressof(passed), n_rows, own.data_ptr(), params.data_ptr()),
            *(ctypes.addressof(pointers), kernel.forward[dtype], kernel.gradient[dtype]),
            *(kernel.numbers(dtype).data_ptr(), given.data_ptr(), grad_log_det.data_ptr()),
            *(grad_z.data_ptr(), grad_raw.data_ptr()),
        )
        gradient = grad_raw[:, network.place].neg_().view(-1, n_rows)
        grad_weights, grad_biases = [], []
        grad_context = None
        for i in reversed(range(ctx.n_layers)):
            of_weight = product(gradient, values[i].T, is_over_rows=True)
            grad_weights.append(of_weight.mul_(ctx.masks[i]))
            grad_biases.append(gradient.sum(1))
            if i > 0:
                gradient = product(weights[i].T, gradient) * (values[i].abs() < 1)
            elif network.n_context:
                grad_context = product(weights[0].T, gradient)[n_features:]
        gradients = [*reversed(grad_weights), *reversed(grad_biases)]
        return grad_z[network.place], grad_context, None, None, None, None, *gradients


def _structure(network: Network) -> tuple[_Network, list[Any]]:
    """The network for the library, and what it points to."""
    n_layers, n_features = len(network.weights), len(network.order)
    length = max(1, n_layers)
    n_units = (ctypes.c_int64 * length)(*(len(weight) for weight in network.weights))
    weights = (ctypes.c_void_p * length)(*(weight.data_ptr() for weight in network.weights))
    biases = (ctypes.c_void_p * length)(*(bias.data_ptr() for bias in network.biases))
    passed = _Network(
        *(n_layers, n_features, network.out_weight.shape[1], network.n_context),
        *(ctypes.addressof(array) for array in (n_units, weights, biases)),
        *(network.ends.data_ptr(), network.out_weight.data_ptr(), network.out_bias.data_ptr()),
    )
    return passed, [n_units, weights, biases]


def masked(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Weights times masks."""
    return [weight * mask for weight, mask in zip(weights, masks, strict=True)]


def run_hidden(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """The inputs of each linear layer of a perceptron with hard tanh, and the outputs of the last,
    without their bias."""
    add_and_bound, values = function("add_and_bound", x.dtype), [x]
    for i, weight in enumerate(weights):
        outputs = product(weight, values[-1])
        if i < len(weights) - 1:
            bias = biases[i].detach()
            add_and_bound(*outputs.shape, outputs.data_ptr(), bias.data_ptr())
        values.append(outputs)
    return values
