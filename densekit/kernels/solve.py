"""The inverse of an autoregressive map, with every hidden unit computed once.

A block of rows at a time goes through all features, so that what is known of it stays in the
nearest cache, and every loop is over the rows of the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from densekit.kernels.affine import invert_affine
from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array
from densekit.kernels.spline import invert_spline

BLOCK = 128


@compiled
def solve(
    z: Array,
    context: Array,
    network: Any,
    is_spline: bool,
    options: Array,
    x: Array,
    log_slopes: Array,
) -> None:
    """Fill x and the log-slopes of the inverse map.

    Parameters
    ----------
    z, x, log_slopes : arrays of shape (n_features, n_rows)
        Features stand in their order of dependence.
    context : array of shape (n_context, n_rows)
    network : tuple
        Weights of the hidden layers (n_units, n_inputs), whose first inputs are the context, and
        their biases (n_units,); for each hidden layer and feature how many units depend only on
        features before it; weights (n_features, n_params, n_units) and biases (n_features,
        n_params) of the output layer.
    is_spline : bool
        Whether the map is the spline; it is the affine one otherwise.
    options : array
        The map's own.
    """
    weights, _, _, out_weight, _ = network
    n_features, n_params, _ = out_weight.shape
    width = len(context) + n_features
    for weight in weights:
        width = max(width, len(weight))
    # What is known of a block: inputs, then the units of each hidden layer; and how many of each.
    values = np.empty((len(weights) + 1, width, BLOCK), z.dtype)
    counts = np.empty(len(weights) + 1, np.int64)
    params, result = np.empty((n_params, BLOCK), z.dtype), np.empty((3, BLOCK), z.dtype)
    for first in range(0, z.shape[1], BLOCK):
        n = min(BLOCK, z.shape[1] - first)
        counts[:] = 0
        counts[0] = len(context)
        values[0, : len(context), :n] = context[:, first : first + n]
        for place in range(n_features):
            _extend(place, network, values, counts, params)
            result[0, :n] = z[place, first : first + n]
            if is_spline:
                invert_spline(result[0], params, options, result[1], result[2])
            else:
                invert_affine(result[0], params, options, result[1], result[2])
            values[0, counts[0]] = result[1]
            counts[0] += 1
            x[place, first : first + n] = result[1, :n]
            log_slopes[place, first : first + n] = result[2, :n]


@compiled
def _extend(place: int, network: Any, values: Array, counts: Array, params: Array) -> None:
    """Compute the hidden units that a feature needs and none before it did, and its parameters."""
    weights, biases, ends, out_weight, out_bias = network
    for layer in range(len(weights)):
        for unit in range(counts[layer + 1], ends[layer, place]):
            row = values[layer + 1, unit]
            _weigh(weights[layer][unit], biases[layer][unit], values[layer], counts[layer], row)
            _bound(row)
        counts[layer + 1] = ends[layer, place]
    for p in range(len(params)):
        _weigh(out_weight[place, p], out_bias[place, p], values[-1], counts[-1], params[p])


@compiled
def _weigh(weight: Array, bias: Any, inputs: Array, n_inputs: int, output: Array) -> None:
    """One unit of a linear layer, from its first inputs; four at a time spare loads and stores."""
    output[:] = bias
    n_fours = n_inputs - n_inputs % 4
    for j in range(0, n_fours, 4):
        a, b, c, d = weight[j], weight[j + 1], weight[j + 2], weight[j + 3]
        in_a, in_b, in_c, in_d = inputs[j], inputs[j + 1], inputs[j + 2], inputs[j + 3]
        for i in range(BLOCK):
            output[i] += a * in_a[i] + b * in_b[i] + c * in_c[i] + d * in_d[i]
    for j in range(n_fours, n_inputs):
        row = inputs[j]
        for i in range(BLOCK):
            output[i] += weight[j] * row[i]


@compiled
def _bound(row: Array) -> None:
    """Hard tanh; a NaN stays."""
    one = row.dtype.type(1)
    for i in range(len(row)):
        row[i] = -one if row[i] < -one else (one if row[i] > one else row[i])
