"""Convolutions of half precision while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixedPrecision(nn.Module):
    """A network whose products may run in bfloat16 while it trains; weights stay as they are.

    What goes in and comes out keeps its number type, so transforms and log-dets never see less
    than float32 (as in Micikevicius 2018), and scores come from full precision.
    """

    low_precision: torch.dtype | None = None

    def forward(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        low = self.low_precision if self.training else None
        with torch.autocast(x.device.type, low, enabled=low is not None):
            outputs: Tensor = self.compute(x, *inputs)
        return outputs.to(x.dtype)

    def compute(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        """What `forward` would be."""
        raise NotImplementedError


def use_low_precision(module: nn.Module, dtype: torch.dtype) -> None:
    """Let all networks inside a module train in a lower precision."""
    for part in module.modules():
        if isinstance(part, MixedPrecision):
            part.low_precision = dtype


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster on a device than those in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
