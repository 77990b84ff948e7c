"""Gated masked convolutions: the network of PixelCNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.images.gated_layer import GatedLayer, RowCache, channels_last, matrix
from densekit.images.position_features import PlaceMap
from densekit.networks.precision import MixedPrecision

# Features of places are learned every few pixels of large images. After an epoch over 8,000
# binarized digits they save 4 nats; the context of grey ones in features of each pixel's own is 5
# nats worse.
N_PLACE_FEATURES = 16
MAX_PLACE_STEP, MIN_PLACES = 4, 7  # pixels from place to place, and places along a side


class GatedConvNet(MixedPrecision):
    """Features of each pixel that depend on all earlier pixels within reach, and on no other.

    Pixels are in raster order. A vertical stack sees the rows above, a horizontal stack the
    pixels to the left, and hears of the rows above from the vertical one, so that there is no
    blind spot (van den Oord 2016b, section 2.2 and eq. 2). Layers are residual, and features of
    places, which are learned, move their biases. A head of 1x1 convolutions, in which a channel
    also sees the channels before it of the same pixel, makes the parameters of each number.

    Parameters
    ----------
    event_shape : (channels, height, width)
    n_params : int
        Parameters of each number.
    n_layers : int
        Layers of both stacks.
    n_channels : int
        Channels of both stacks.
    kernel_size : int
        Odd side of the kernels but the first; half of each is masked.
    first_kernel_size : int
        Odd side of the first layer's kernels.
    dilation : int
        Pixels from number to number of the kernels in the later half of the layers; the first layer
        is never among them. Up to 3 leave no gaps behind a first kernel of 7.
    n_context : int
        Numbers of context, which move the features of places (van den Oord 2016b, eq. 5).
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        n_params: int,
        *,
        n_layers: int,
        n_channels: int,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        dilation: int = 1,
        n_context: int = 0,
    ):
        super().__init__()
        self.event_shape = tuple(event_shape)
        n_inputs = self.event_shape[0]
        sizes = [first_kernel_size] + [kernel_size] * (n_layers - 1)
        widths = [n_inputs] + [n_channels] * (n_layers - 1)
        steps = [dilation if 2 * i >= max(n_layers, 2) else 1 for i in range(n_layers)]
        self.layers = nn.ModuleList(
            GatedLayer(width, n_channels, N_PLACE_FEATURES, size, dilation=step, is_first=i == 0)
            for i, (width, size, step) in enumerate(zip(widths, sizes, steps, strict=True))
        )
        self.head = ChannelHead(n_channels, n_inputs, n_params)
        size = self.event_shape[1:]
        step = min(MAX_PLACE_STEP, max(1, min(size) // MIN_PLACES))
        self.places = PlaceMap(n_context, N_PLACE_FEATURES, size, step=step)

    def compute(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Map (batch, channels, height, width), and context (batch, n_context), to parameters of
        shape (batch, channels, height, width, n_params)."""
        vertical = horizontal = channels_last(x)
        places = channels_last(self.places(context))
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, places)
        params: Tensor = self.head(horizontal, x)
        return params

    @torch.no_grad()
    def solve(
        self,
        step: Callable[[int, int, int, Tensor], Tensor],
        x: Tensor,
        context: Tensor | None = None,
        *,
        on_row: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """Go through the pixels in raster order, and compute each pixel's features once.

        Parameters
        ----------
        step : callable (channel, row, column, params) -> (batch,)
            Chooses a number, given its parameters (batch, n_params).
        x : Tensor of shape (batch, channels, height, width)
            Is filled with what `step` chooses.
        context : Tensor of shape (batch, n_context), optional
        on_row : callable, optional
            Called after each row.

        Returns
        -------
        Tensor
            `x` itself.
        """
        channels, height, width = self.event_shape
        layers = cast("list[GatedLayer]", list(self.layers))
        places = channels_last(self.places(context))
        caches = [RowCache(layer, len(x), width) for layer in layers]
        for row in range(height):
            if row:
                above = x[:, :, row - 1]
                for cache in caches:
                    above = cache.see_row(above)
            for cache in caches:
                cache.start_row(places[:, row])
            for column in range(width):
                features = x[:, :, row, column - 1] if column else torch.zeros_like(x[:, :, 0, 0])
                for cache in caches:
                    features = cache.see_pixel(column, features)
                for channel in range(channels):
                    params = self.head.at(features, x[:, :, row, column], channel)
                    x[:, channel, row, column] = step(channel, row, column, params)
            on_row()
        return x


class ChannelHead(nn.Module):
    """Parameters of each channel from a pixel's features and the pixel's channels before it.

    Parameters
    ----------
    n_features : int
    n_channels : int
        Channels of the images.
    n_params : int
        Of each number.
    """

    mask: Tensor

    def __init__(self, n_features: int, n_channels: int, n_params: int):
        super().__init__()
        self.n_channels, self.n_hidden, self.n_params = n_channels, n_features, n_params
        self.hidden = nn.Conv2d(n_features, n_channels * n_features, 1)
        n_hidden, n_outputs = n_channels * n_features, n_channels * n_params
        self.outputs = nn.Conv2d(n_hidden, n_outputs, 1, groups=n_channels)
        nn.init.zeros_(self.outputs.weight)
        nn.init.zeros_(self.outputs.bias)  # type: ignore[arg-type]
        if n_channels > 1:
            is_earlier = torch.ones(n_channels, n_channels).tril(-1)
            self.register_buffer("mask", is_earlier.repeat_interleave(n_features, 0))
            self.earlier = nn.Parameter(torch.randn(n_channels * n_features, n_channels) / 2)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """(batch, H, W, n_features) and x (batch, n_channels, H, W) -> (batch, n_channels, H, W,
        n_params)."""
        hidden = F.linear(F.relu(features), matrix(self.hidden), self.hidden.bias)
        if self.n_channels == 1:
            params = F.linear(F.relu(hidden), matrix(self.outputs), self.outputs.bias)
            return params[:, None]
        hidden = hidden + F.linear(x.movedim(1, 3), self.earlier * self.mask)
        params = self.outputs(F.relu(hidden).movedim(3, 1)).movedim(1, 3)
        return params.unflatten(3, (self.n_channels, self.n_params)).movedim(3, 1)

    def at(self, features: Tensor, x: Tensor, channel: int) -> Tensor:
        """The parameters (batch, n_params) of one number, of which x holds the channels before."""
        own = slice(channel * self.n_hidden, (channel + 1) * self.n_hidden)
        weight, bias = self.hidden.weight[own, :, 0, 0], self.hidden.bias[own]  # type: ignore[index]
        hidden = torch.addmm(bias, F.relu(features), weight.T)
        if channel:
            hidden = hidden + x[:, :channel] @ self.earlier[own, :channel].T
        made = slice(channel * self.n_params, (channel + 1) * self.n_params)
        weight, bias = self.outputs.weight[made, :, 0, 0], self.outputs.bias[made]  # type: ignore[index]
        return torch.addmm(bias, F.relu(hidden), weight.T)
