"""Columns that are scaled and shifted, in training, without autograd."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from densekit.kernels.compiled import compiled
from densekit.kernels.elementwise import Array
from densekit.kernels.numbers import exp
from densekit.kernels.passes import Pass, values_and_gradients
from densekit.kernels.sums import total, total_of_products


class ColumnPass(Pass):
    """The pass of (x + shift) * exp(log_scale), with parameters of shape (n_features,)."""

    def __init__(self, shift: Tensor, log_scale: Tensor):
        values, gradients = values_and_gradients([shift, log_scale])
        self._parameters = tuple(value.numpy() for value in values)
        self._gradients = tuple(gradient.numpy() for gradient in gradients)

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        self._z = np.empty(rows.shape, self._parameters[0].dtype)
        _map_columns(rows.numpy(), *self._parameters, self._z, log_det.numpy())
        return rows

    def backward(self, of_rows: Tensor, of_log_det: Tensor, needs_rows: bool) -> Tensor:
        _differentiate_columns(
            of_rows.numpy(), of_log_det.numpy(), self._parameters[1], self._z, *self._gradients
        )
        return of_rows


@compiled
def _map_columns(rows: Array, shift: Array, log_scale: Array, z: Array, log_det: Array) -> None:
    one = rows.dtype.type(1)
    log_slope = one - one
    for j in range(len(rows)):
        row, scale, offset = rows[j], exp(log_scale[j]), shift[j]
        log_slope += log_scale[j]
        for i in range(len(row)):
            row[i] = (row[i] + offset) * scale
        z[j] = row
    for i in range(len(log_det)):
        log_det[i] += log_slope


@compiled
def _differentiate_columns(
    of_rows: Array,
    of_log_det: Array,
    log_scale: Array,
    z: Array,
    of_shift: Array,
    of_log_scale: Array,
) -> None:
    from_log_det = total(of_log_det)
    for j in range(len(of_rows)):
        row, scale = of_rows[j], exp(log_scale[j])
        of_log_scale[j] = total_of_products(row, z[j]) + from_log_det
        for i in range(len(row)):
            row[i] *= scale
        of_shift[j] = total(row)
