"""The affine map of RealNVP and MAF."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.cases import ElementwiseCase
from densekit.elementwise.base import Elementwise
from densekit.exceptions import ParameterError


class Affine(Elementwise):
    """z = exp(log_scale) * x + shift (Dinh 2016, eq. 4; Papamakarios 2017, eq. 4).

    Parameters
    ----------
    max_log_scale : float, default=3.0
        Bound of ``|log_scale|``, approached smoothly and alike from both sides, so that no layer
        explodes or vanishes: a layer stretches or shrinks by at most exp(3), about 20.
    """

    n_params = 2

    def __init__(self, max_log_scale: float = 3.0):
        if not max_log_scale > 0:
            raise ParameterError(
                f"Affine got max_log_scale={max_log_scale!r}, expected a number above 0."
            )
        self.max_log_scale = max_log_scale

    @property
    def kernel(self) -> kernels.MapKernel | None:
        return kernels.native("affine", self.n_params, (self.max_log_scale,))

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = params[..., 0], self._log_scale(params[..., 1])
        return torch.addcmul(shift, x, log_scale.exp()), log_scale

    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = params[..., 0], self._log_scale(params[..., 1])
        return (z - shift) * torch.exp(-log_scale), -log_scale

    def _log_scale(self, raw: Tensor) -> Tensor:
        # The soft sign nears its bound so slowly that gradients stay alive, and costs no
        # transcendental function; its slope is one at zero.
        return raw / (1 + raw.abs() / self.max_log_scale)

    @classmethod
    def example_cases(cls) -> list[ElementwiseCase]:
        return [
            ElementwiseCase("Affine", cls),
            ElementwiseCase("Affine(max_log_scale=1)", lambda: cls(max_log_scale=1.0)),
        ]
