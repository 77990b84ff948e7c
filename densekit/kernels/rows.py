"""A whole layer, conditioner and map, for a few rows: one call of machine code."""

from __future__ import annotations

from typing import Any

import numpy as np

from densekit.kernels.affine import map_affine
from densekit.kernels.compiled import compiled, compiled_sums
from densekit.kernels.elementwise import Array
from densekit.kernels.spline import map_spline


@compiled
def map_rows(
    x: Array,
    kept: Array,
    moved: Array,
    weights: Any,
    biases: Any,
    is_spline: bool,
    options: Array,
    z: Array,
    log_det: Array,
) -> None:
    """Fill z and the log-determinants of rows, one after another.

    Parameters
    ----------
    x, z : arrays of shape (n_rows, n_features)
    kept, moved : arrays of int
        Features that the network sees, and those that are mapped; they may overlap.
    weights, biases : tuples of arrays of shape (n_outputs, n_inputs) and (n_outputs,)
        Of the network, at least one hidden layer, masks multiplied in.
    is_spline : bool
        Whether the map is the spline; it is the affine one otherwise.
    options : array
        The map's own.
    log_det : array of shape (n_rows,)
    """
    width = len(kept)
    for bias in biases:
        width = max(width, len(bias))
    values, next_values = np.empty(width, x.dtype), np.empty(width, x.dtype)
    element, result = np.empty(len(moved), x.dtype), np.empty((2, len(moved)), x.dtype)
    for row in range(len(x)):
        z[row] = x[row]
        for i in range(len(kept)):
            values[i] = x[row, kept[i]]
        n_values = len(kept)
        for layer in range(len(weights)):
            is_hidden = layer < len(weights) - 1
            _apply_linear(weights[layer], biases[layer], values[:n_values], is_hidden, next_values)
            n_values = len(biases[layer])
            values, next_values = next_values, values
        for i in range(len(moved)):
            element[i] = x[row, moved[i]]
        params = values[:n_values].reshape((n_values // len(moved), len(moved)))
        if is_spline:
            map_spline(element, params, options, result[0], result[1])
        else:
            map_affine(element, params, options, result[0], result[1])
        log_det[row] = 0
        for i in range(len(moved)):
            z[row, moved[i]] = result[0, i]
            log_det[row] += result[1, i]


@compiled_sums
def _apply_linear(weight: Array, bias: Array, x: Array, is_hidden: bool, z: Array) -> None:
    one = weight.dtype.type(1)
    for unit in range(len(weight)):
        total = bias[unit]
        row = weight[unit]
        for i in range(len(x)):
            total += row[i] * x[i]
        if is_hidden:
            total = -one if total < -one else (one if total > one else total)
        z[unit] = total
