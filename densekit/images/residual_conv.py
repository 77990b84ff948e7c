"""The conditioner of image layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.images.position_features import PlaceMap
from densekit.networks.precision import MixedPrecision

N_PLACE_FEATURES = 8  # of numbers of context, at each pixel


class ResidualConvNet(MixedPrecision):
    """Residual convolutions whose output is zero at the start of training.

    A 3x3 convolution, then blocks of a 3x3 and a 1x1 convolution with a shortcut around them, and
    a 3x3 convolution to the outputs (as in Dinh 2016, section 3.6, without batch normalisation).

    Parameters
    ----------
    n_inputs, n_outputs : int
        Channels.
    n_channels : int
        Channels of the hidden layers.
    n_blocks : int
    context_shape : sequence of int, optional
        Numbers of context, which move the biases of every block, and join the inputs and move the
        outputs at each place otherwise; or an image of context (channels, height, width), which is
        brought to the size of the inputs and joins them.
    size : (height, width)
        Of the inputs.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        *,
        n_channels: int,
        n_blocks: int,
        size: Sequence[int],
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__()
        n_seen, n_context = 0, 0
        if context_shape is not None and len(context_shape) > 1:
            n_seen = resize(torch.empty(1, *context_shape, device="meta"), size).shape[1]
        elif context_shape is not None:
            n_seen, n_context = N_PLACE_FEATURES, context_shape[0]
        self.first = nn.Conv2d(n_inputs + n_seen, n_channels, 3, padding=1)
        self.wide = nn.ModuleList(
            nn.Conv2d(n_channels, n_channels, 3, padding=1) for _ in range(n_blocks)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(n_channels, n_channels, 1) for _ in range(n_blocks))
        self.last = nn.Conv2d(n_channels, n_outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.has_numbers = n_context > 0
        if n_context:
            self.places = PlaceMap(n_context, n_seen, size)
            self.direct = PlaceMap(n_context, n_outputs, size)
            for parameter in self.direct.parameters():
                nn.init.zeros_(parameter)
            self.context = nn.Linear(n_context, n_channels * (n_blocks + 1))

    def compute(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Map (batch, n_inputs, H, W) to (batch, n_outputs, H, W)."""
        shifts: Sequence[Tensor] = ()
        numbers = None
        if context is not None and self.has_numbers:
            numbers = context.flatten(1).to(x.dtype)
            shifts = self.context(numbers)[:, :, None, None].chunk(len(self.wide) + 1, 1)
            x = torch.cat([x, self.places(numbers).to(x.dtype)], 1)
        elif context is not None:
            x = torch.cat([x, resize(context.to(x.dtype), x.shape[2:])], 1)
        h = self.first(x.contiguous(memory_format=torch.channels_last))
        if shifts:
            h = h + shifts[0]
        for i, (wide, narrow) in enumerate(zip(self.wide, self.narrow, strict=True), 1):
            inner = wide(F.relu(h))
            if shifts:
                inner = inner + shifts[i]
            h = h + narrow(F.relu(inner))
        outputs: Tensor = self.last(F.relu(h))
        return outputs if numbers is None else outputs + self.direct(numbers)


def resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """Bring an image to a size: blurred where it grows; where it shrinks by a whole factor, blocks
    of pixels become channels, so that nothing is lost, and otherwise they are averaged."""
    height, width = size
    if image.shape[2:] == (height, width):
        return image
    factor = image.shape[2] // height
    if image.shape[2:] == (factor * height, factor * width):
        return F.pixel_unshuffle(image, factor)
    if height < image.shape[2]:
        return F.adaptive_avg_pool2d(image, (height, width))
    return F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False)
