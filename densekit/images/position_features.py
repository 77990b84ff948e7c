"""Features of places, and context as an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_INITIAL_DEVIATION = 0.3


class PlaceMap(nn.Module):
    """Learned features of each place, which context moves at each place otherwise.

    Convolutions alone do not know where on the image they are, and a layer that adds the same
    biases everywhere knows the class of a digit and not where its strokes go (van den Oord 2016b,
    eq. 5, with a linear map in place of the deconvolutions).

    Parameters
    ----------
    n_context : int
        Zero for features that are the same for all images.
    n_features : int
    size : (height, width)
    step : int, default=1
        Pixels from one place that is learned to the next; features between are interpolated, and
        few images teach more about a place.
    """

    def __init__(self, n_context: int, n_features: int, size: Sequence[int], *, step: int = 1):
        super().__init__()
        self.size = tuple(size)
        self.shape = (n_features, *(-(-side // step) for side in size))
        _, height, width = self.shape
        n_outputs = n_features * height * width
        self.linear = nn.Linear(max(1, n_context), n_outputs)
        deviation = min(MAX_INITIAL_DEVIATION, max(1, n_context) ** -0.5)
        nn.init.normal_(self.linear.weight, std=deviation)
        nn.init.zeros_(self.linear.bias)

    def forward(self, context: Tensor | None = None) -> Tensor:
        """Map (batch, n_context) to (batch, n_features, height, width); without context, one for
        all images."""
        if context is None:
            context = torch.ones_like(self.linear.weight[:1, :1])
        image: Tensor = self.linear(context).unflatten(1, self.shape)
        if self.shape[1:] == self.size:
            return image
        return F.interpolate(image, size=self.size, mode="bilinear", align_corners=False)
