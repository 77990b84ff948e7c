"""The additive map of NICE."""

import torch
from torch import Tensor

from densekit.elementwise.base import Elementwise


class Shift(Elementwise):
    """z = x + shift, with a slope of one (Dinh 2014, eq. 6): volume is preserved."""

    n_params = 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return x + params[..., 0], torch.zeros_like(x)

    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return z - params[..., 0], torch.zeros_like(z)
