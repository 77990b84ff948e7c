"""The linear map of Glow in training, without autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit.kernels.passes import Pass, values_and_gradients


class LinearPass(Pass):
    """The pass of z = P L (U + diag(exp(log_scale))) x.

    Parameters
    ----------
    lower, upper, log_scale : Parameter
        What is below and above the diagonals, row by row of the lower one, and the diagonal.
    permutation : Tensor of int
    """

    def __init__(self, lower: Tensor, upper: Tensor, log_scale: Tensor, permutation: Tensor):
        self._values, self._gradients = values_and_gradients([lower, upper, log_scale])
        n_features = len(log_scale)
        self._below = tuple(torch.tril_indices(n_features, n_features, offset=-1))
        self._permutation, self._inverse = permutation, torch.argsort(permutation)
        self._lower = torch.eye(n_features, dtype=lower.dtype)
        self._upper = torch.zeros_like(self._lower)

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        below, above, log_scale = self._values
        row, column = self._below
        self._lower[row, column] = below
        self._upper[column, row] = above
        self._upper.diagonal().copy_(log_scale.exp())
        self._x, self._h = rows, self._upper @ rows
        log_det += log_scale.sum()
        return (self._lower @ self._h)[self._permutation]

    def backward(self, of_rows: Tensor, of_log_det: Tensor, needs_rows: bool) -> Tensor:
        of_below, of_above, of_log_scale = self._gradients
        row, column = self._below
        of_columns = of_rows[self._inverse]
        of_below.copy_((of_columns @ self._h.T)[row, column])
        of_h = self._lower.T @ of_columns
        of_upper = of_h @ self._x.T
        of_above.copy_(of_upper[column, row])
        torch.mul(of_upper.diagonal(), self._upper.diagonal(), out=of_log_scale)
        of_log_scale += of_log_det.sum()
        return self._upper.T @ of_h if needs_rows else of_rows
