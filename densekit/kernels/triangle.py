"""The products of a linear layer in training, which skip a quarter that masks hide."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit.kernels.products import product_in_training

MIN_SIDE = 64  # of a weight, from which skipping pays for the calls that it takes


class Product:
    """What a weight does to a batch, forward and back.

    Units sorted by degree make a masked weight nearly triangular: the upper half of its rows sees
    few of the columns. The two halves are then multiplied one after the other.

    Parameters
    ----------
    weight, of_weight : Tensors of shape (n_outputs, n_inputs)
        The weight, masked, and the memory of its gradient, zero where masks hide.
    mask : Tensor, optional
    """

    def __init__(self, weight: Tensor, of_weight: Tensor, mask: Tensor | None):
        self._weight, self._of_weight, self._half = weight, of_weight, 0
        n_rows, n_columns = weight.shape
        if mask is None or min(n_rows, n_columns) < MIN_SIDE:
            return
        half = n_rows // 2
        seen = int(mask[:half].any(0).nonzero().max()) + 1 if mask[:half].any() else 0
        if 0 < seen <= 3 * n_columns // 4:
            self._half, self._seen = half, seen
            self._upper, self._lower = weight[:half, :seen], weight[half:]
            self._of_upper, self._of_lower = of_weight[:half, :seen], of_weight[half:]

    def forward(self, x: Tensor) -> Tensor:
        """The weight times x (n_inputs, batch)."""
        if not self._half:
            return product_in_training(self._weight, x)
        result = x.new_empty(len(self._weight), x.shape[1])
        torch.mm(self._upper, x[: self._seen], out=result[: self._half])
        torch.mm(self._lower, x, out=result[self._half :])
        return result

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient of x, given that of the outputs."""
        if not self._half:
            return product_in_training(self._weight.T, gradient)
        result = torch.mm(self._lower.T, gradient[self._half :])
        result[: self._seen].addmm_(self._upper.T, gradient[: self._half])
        return result

    def differentiate(self, gradient: Tensor, x: Tensor) -> None:
        """Write the gradient of the weight, given that of the outputs; masks are left to others."""
        if not self._half:
            product_in_training(gradient, x.T, out=self._of_weight)
            return
        torch.mm(gradient[: self._half], x[: self._seen].T, out=self._of_upper)
        torch.mm(gradient[self._half :], x.T, out=self._of_lower)
