"""The gradients of `solve`: implicitly, and with every hidden unit differentiated once.

Where z = f(x), a gradient of x and of the inverse's log-determinant is one of z and of f's own
log-determinant that f's backward pass would turn into it. Since f is triangular, that is found
feature by feature from the last: a feature's own is known once those behind it are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densekit.kernels.affine import differentiate_affine, map_affine
from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array, MapKernel
from densekit.kernels.numbers import exp
from densekit.kernels.perceptron import differentiate_layers, masked, run_layers
from densekit.kernels.solve import BLOCK, solve
from densekit.kernels.spline import differentiate_spline, map_spline


class Solver(NamedTuple):
    """An autoregressive layer, as the functions that invert it want it."""

    kernel: MapKernel
    order: Tensor
    """Features in their order of dependence."""
    place: Tensor
    """Where each feature stands in it."""
    network: Any
    """Its weights as `solve` takes them."""
    masks: list[Tensor]


def solve_with_gradient(
    z: Tensor,
    context: Tensor | None,
    solver: Solver,
    weights: list[Tensor],
    biases: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """Give x, and the log-determinant of the inverse map, with features first.

    Parameters
    ----------
    z : Tensor of shape (n_features, n_rows)
    context : Tensor of shape (n_context, n_rows), optional
    solver : Solver
    weights, biases : lists of Tensor
        Those of the network, from its inputs to its outputs, which get gradients.
    """
    result: tuple[Tensor, Tensor] = _Solve.apply(
        z, context, solver, len(weights), *weights, *biases
    )
    return result


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        context: Tensor | None,
        solver: Solver,
        n_layers: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        rows = z[solver.order]
        given = z.new_empty(0, z.shape[1]) if context is None else context.contiguous()
        x, log_slopes = torch.empty_like(rows), torch.empty_like(rows)
        kernel = solver.kernel
        solve(
            *(rows.numpy(), given.numpy(), solver.network, kernel.is_spline),
            *(kernel.numbers(z.dtype), x.numpy(), log_slopes.numpy()),
        )
        x = x[solver.place]
        weights = masked(parameters[:n_layers], solver.masks)
        values = run_layers(torch.cat([x, given]), weights, parameters[n_layers:])
        ctx.solver, ctx.n_layers, ctx.n_context = solver, n_layers, len(given)
        ctx.save_for_backward(*values, *weights)
        return x, log_slopes.sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_x: Tensor, of_log_det: Tensor) -> tuple[Any, ...]:
        solver, kernel, n_values = ctx.solver, ctx.solver.kernel, ctx.n_layers + 1
        values, weights = ctx.saved_tensors[:n_values], ctx.saved_tensors[n_values:]
        n_features, n_rows = of_x.shape
        x = values[0][:n_features][solver.order]
        raw = values[-1].view(-1, n_features, n_rows)[:, solver.order]
        of_z, of_raw = torch.empty_like(x), torch.empty_like(raw)
        unsolve(
            *(x.numpy(), raw.numpy(), tuple(value.numpy() for value in values[1:-1])),
            *(ctx.n_context, solver.network, kernel.is_spline, kernel.numbers(x.dtype)),
            *(of_x[solver.order].numpy(), of_log_det.contiguous().numpy()),
            *(of_z.numpy(), of_raw.numpy()),
        )
        of_outputs = of_raw[:, solver.place].neg_().view(-1, n_rows)
        of_inputs, of_parameters = differentiate_layers(
            values[:-1], weights, solver.masks, of_outputs, ctx.n_context > 0
        )
        of_context = None if of_inputs is None else of_inputs[n_features:]
        return of_z[solver.place], of_context, None, None, *of_parameters


@compiled
def unsolve(
    x: Array,
    raw: Array,
    hidden: Any,
    n_context: int,
    network: Any,
    is_spline: bool,
    options: Array,
    of_x: Array,
    of_log_det: Array,
    of_z: Array,
    of_raw: Array,
) -> None:
    """Fill the gradients of z, and those that f's backward pass gives to its raw parameters.

    Parameters
    ----------
    x, of_x, of_z : arrays of shape (n_features, n_rows)
        Features stand in their order of dependence.
    raw, of_raw : arrays of shape (n_params, n_features, n_rows)
    hidden : tuple of arrays of shape (n_units, n_rows)
        What each hidden layer gave.
    n_context : int
    network, is_spline, options :
        As in `solve`.
    of_log_det : array of shape (n_rows,)
        Gradient of the inverse's log-determinant.
    """
    n_params, n_features, n_rows = raw.shape
    width = n_context + n_features
    for layer in hidden:
        width = max(width, len(layer))
    sums = np.empty((len(hidden) + 1, width, BLOCK), x.dtype)
    params, of_params = np.zeros((n_params, BLOCK), x.dtype), np.zeros((n_params, BLOCK), x.dtype)
    block = np.zeros((6, BLOCK), x.dtype)
    for first in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - first)
        sums[:] = 0
        block[1, :n] = of_log_det[first : first + n]
        for place in range(n_features - 1, -1, -1):
            block[0, :n] = x[place, first : first + n]
            for p in range(n_params):
                params[p, :n] = raw[p, place, first : first + n]
            block[2, :n] = of_x[place, first : first + n] - sums[0, n_context + place, :n]
            _unsolve_feature(block, params, is_spline, options, of_params)
            of_z[place, first : first + n] = block[3, :n]
            for p in range(n_params):
                of_raw[p, place, first : first + n] = of_params[p, :n]
            _retreat(place, n_context, network, hidden, first, n, of_params, sums)


@compiled
def _unsolve_feature(
    block: Array, params: Array, is_spline: bool, options: Array, of_params: Array
) -> None:
    """Find the gradient of z that the map's backward pass turns into the given one of x.

    The block's rows are x, the gradient of the log-slope, that of x, then the result.
    """
    x, of_log_slope, of_x, of_z, own, log_slope = block
    of_z[:] = 0
    if is_spline:
        map_spline(x, params, options, own, log_slope)
        differentiate_spline(x, params, options, of_z, of_log_slope, own, of_params)
    else:
        map_affine(x, params, options, own, log_slope)
        differentiate_affine(x, params, options, of_z, of_log_slope, own, of_params)
    for i in range(len(x)):
        of_z[i] = (of_x[i] - own[i]) * exp(-log_slope[i])
    if is_spline:
        differentiate_spline(x, params, options, of_z, of_log_slope, own, of_params)
    else:
        differentiate_affine(x, params, options, of_z, of_log_slope, own, of_params)


@compiled
def _retreat(
    place: int,
    n_context: int,
    network: Any,
    hidden: Any,
    first: int,
    n: int,
    of_params: Array,
    sums: Array,
) -> None:
    """Carry the gradients of a feature's parameters to the units that no earlier feature sees."""
    weights, _, ends, out_weight, _ = network
    for p in range(len(of_params)):
        _spread(out_weight[place, p], of_params[p], sums[-1], ends[-1, place])
    for layer in range(len(weights) - 1, -1, -1):
        start = ends[layer, place - 1] if place > 0 else 0
        n_below = ends[layer - 1, place] if layer > 0 else n_context + place
        for unit in range(start, ends[layer, place]):
            of_unit, value = sums[layer + 1, unit], hidden[layer][unit, first : first + n]
            for i in range(n):
                of_unit[i] = of_unit[i] if abs(value[i]) < 1 else of_unit[i] - of_unit[i]
            _spread(weights[layer][unit], of_unit, sums[layer], n_below)


@compiled
def _spread(weight: Array, gradient: Array, sums: Array, n_inputs: int) -> None:
    for j in range(n_inputs):
        factor, row = weight[j], sums[j]
        for i in range(BLOCK):
            row[i] += factor * gradient[i]
