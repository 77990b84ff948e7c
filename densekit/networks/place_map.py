"""Context as an image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class PlaceMap(nn.Module):
    """Context as an image of features: what it says may differ from place to place.

    A layer that adds the same biases everywhere knows the class of a digit and not where its
    strokes go (van den Oord 2016b, eq. 5, with a linear map in place of the deconvolutions).

    Parameters
    ----------
    n_context : int
    n_features : int
    size : (height, width)
    """

    def __init__(self, n_context: int, n_features: int, size: Sequence[int]):
        super().__init__()
        self.shape = n_features, *size
        height, width = size
        self.linear = nn.Linear(n_context, n_features * height * width)

    def forward(self, context: Tensor) -> Tensor:
        """Map (batch, n_context) to (batch, n_features, height, width)."""
        image: Tensor = self.linear(context).unflatten(1, self.shape)
        return image
