"""A layer of PixelCNN, over whole images and one pixel after another."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit import _kernels as kernels


class GatedLayer(nn.Module):
    """One layer of both stacks; the first does not see the pixel itself.

    Parameters
    ----------
    n_inputs, n_channels, n_place_features : int
    kernel_size : int
        Odd.
    dilation : int
        Pixels from number to number of the kernels.
    is_first : bool
        Whether the inputs are pixels, of which the horizontal stack sees those to the left only.
    """

    def __init__(
        self,
        n_inputs: int,
        n_channels: int,
        n_place_features: int,
        kernel_size: int,
        *,
        dilation: int,
        is_first: bool,
    ):
        super().__init__()
        half, n_outputs = kernel_size // 2, 2 * n_channels
        self.reach, self.dilation, self.is_first = dilation * half, dilation, is_first
        self.vertical = nn.Conv2d(n_inputs, n_outputs, (half + 1, kernel_size), dilation=dilation)
        self.crossing = nn.Conv2d(n_outputs, n_outputs, 1)
        self.horizontal = nn.Conv2d(
            n_inputs, n_outputs, (1, half + (not is_first)), dilation=dilation, bias=False
        )
        self.output = nn.Conv2d(n_channels, n_channels, 1)
        self.of_places = nn.Conv2d(n_place_features, 4 * n_channels, 1, bias=False)

    def forward(
        self, vertical: Tensor, horizontal: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map both stacks, each (batch, height, width, channels), at places with features."""
        reach, width = self.reach, horizontal.shape[2]
        for_above, for_left = self.weights_of_places()
        padded = F.pad(vertical, (0, 0, reach, reach, reach, 0))
        above = _convolved(padded, self.vertical, self.vertical.bias)
        above = _plus_product(above, places, for_above)
        to_the_left = F.pad(horizontal, (0, 0, reach, 0))[:, :, : width + reach - self.is_first]
        left = _convolved(to_the_left, self.horizontal, self.crossing.bias)
        left = _plus_product(left, places, for_left)
        left = _plus_product(left, F.pad(above, (0, 0, 0, 0, 1, -1)), matrix(self.crossing))
        above, left = gate(above), F.linear(gate(left), matrix(self.output), self.output.bias)
        return (above, left) if self.is_first else (vertical + above, horizontal + left)

    def biases(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """What places (..., n_features) add to both stacks, (..., 2 * n_channels) each."""
        for_above, for_left = self.weights_of_places()
        return F.linear(places, for_above), F.linear(places, for_left)

    def weights_of_places(self) -> tuple[Tensor, Tensor]:
        """Of both stacks, (2 * n_channels, n_features) each."""
        above, left = matrix(self.of_places).chunk(2)
        return above, left


class RowCache:
    """What a layer remembers while pixels are drawn: the rows above and the pixels to the left.

    Parameters
    ----------
    layer : GatedLayer
    batch, width : int
    """

    def __init__(self, layer: GatedLayer, batch: int, width: int):
        self.layer, self.width = layer, width
        like, reach = layer.output.weight, layer.reach
        n_inputs, n_channels = layer.vertical.in_channels, layer.output.in_channels
        self._above = like.new_zeros(batch, width, 2 * n_channels)
        self._rows = like.new_zeros(batch, n_inputs, reach + 1, width + 2 * reach)
        self._left = like.new_zeros(batch, width + reach, n_inputs)
        self._span = (layer.horizontal.kernel_size[1] - 1) * layer.dilation
        self._kernel = layer.horizontal.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1)
        self._output = layer.output.weight[:, :, 0, 0].T, cast("Tensor", layer.output.bias)

    def see_row(self, row: Tensor) -> Tensor:
        """Take the vertical stack's row (batch, n_inputs, width); return what it makes of it."""
        reach = self.layer.reach
        self._rows = self._rows.roll(-1, 2)
        self._rows[:, :, -1, reach : reach + self.width] = row
        self._above = self.layer.vertical(self._rows)[:, :, 0].mT + self._given[0]
        above = gate(self._above).mT
        return above if self.layer.is_first else row + above

    def start_row(self, places: Tensor) -> None:
        """Forget the pixels to the left; hear of the rows above, and of the places of this row
        (batch, width, n_features)."""
        self._given = self.layer.biases(places)
        crossing = self.layer.crossing
        heard = F.linear(self._above, matrix(crossing), crossing.bias) + self._given[1]
        self._heard = heard.movedim(1, 0).contiguous()
        self._left.zero_()

    def see_pixel(self, column: int, inputs: Tensor) -> Tensor:
        """Take the horizontal stack's inputs (batch, n_inputs); return this pixel's features.

        The first layer's inputs are the pixel to the left, every other layer's this pixel's.
        """
        place = column + self.layer.reach - self.layer.is_first
        self._left[:, place] = inputs
        columns = slice(place - self._span, place + 1, self.layer.dilation)
        seen = self._left[:, columns].flatten(1)
        left = torch.addmm(self._heard[column], seen, self._kernel)
        weight, bias = self._output
        if self.layer.is_first:
            return torch.addmm(bias, gate(left), weight)
        return torch.addmm(inputs + bias, gate(left), weight)


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the channels, which come last, times sigmoid of the other (van den
    Oord 2016b, eq. 2)."""
    if kernels.is_usable(x, dtypes=(torch.float32, torch.bfloat16)):
        return kernels.gate(x)
    above, below = x.chunk(2, -1)
    return above.tanh() * below.sigmoid()


def channels_last(image: Tensor) -> Tensor:
    """(batch, channels, height, width) -> (batch, height, width, channels), the layout in which
    convolutions are fastest, and those of one pixel are products of matrices."""
    return image.movedim(1, 3).contiguous()


def _convolved(image: Tensor, convolution: nn.Conv2d, bias: Tensor | None) -> Tensor:
    result = F.conv2d(image.movedim(3, 1), convolution.weight, bias, dilation=convolution.dilation)
    return result.movedim(1, 3)


def matrix(convolution: nn.Conv2d) -> Tensor:
    """The weights (n_outputs, n_inputs) of a convolution of one pixel."""
    return convolution.weight[:, :, 0, 0]


def _plus_product(image: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """Features of images, and a matrix of weights times inputs, which may be one for all images."""
    if len(inputs) != len(image):
        return image + F.linear(inputs, weight)
    product = torch.addmm(image.flatten(0, 2), inputs.flatten(0, 2), weight.T)
    return product.view(image.shape)
