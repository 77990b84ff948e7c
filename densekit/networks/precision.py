"""Convolutions of half precision while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixedPrecision(nn.Module):
    """A network whose products may run in bfloat16 while it trains; weights stay as they are.

    What goes in and comes out keeps its number type, so transforms and log-dets never see less
    than float32 (as in Micikevicius 2018), and scores come from full precision.
    """

    uses_bfloat16: bool | str = False
    """Whether training does; "auto" does so in place of float32 where it is faster."""

    def forward(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        is_low = self.uses_bfloat16
        if is_low == "auto":
            is_low = x.dtype == torch.float32 and has_fast_bfloat16(x.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.training and bool(is_low)):
            outputs: Tensor = self.compute(x, *inputs)
        return outputs.to(x.dtype)

    def compute(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        """What `forward` would be."""
        raise NotImplementedError


def use_bfloat16(module: nn.Module, when: bool | str) -> None:
    """Let all networks inside a module train in bfloat16: True, False or "auto"."""
    for part in module.modules():
        if isinstance(part, MixedPrecision):
            part.uses_bfloat16 = when


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster on a device than those in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
