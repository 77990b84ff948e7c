"""Space to depth: from pixels to channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from densekit.cases import TransformCase
from densekit.exceptions import ShapeError
from densekit.transforms.base import Transform


class Squeeze(Transform):
    """Blocks of 2x2 pixels become one pixel of four times as many channels (Dinh 2016, 3.4).

    Parameters
    ----------
    event_shape : (channels, height, width)
        Of even height and width.
    context_shape : sequence of int, optional

    Raises
    ------
    ShapeError
        A side is odd.
    """

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__(event_shape)
        check_even("Squeeze", event_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        channels, height, width = self.event_shape
        return 4 * channels, height // 2, width // 2

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_shuffle(z, 2), z.new_zeros(len(z))

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [TransformCase("Squeeze", lambda: cls((2, 4, 2)))]


def check_image(source: str, event_shape: Sequence[int]) -> None:
    """Raise a ShapeError unless rows are images."""
    if len(tuple(event_shape)) != 3:
        raise ShapeError(
            f"{source} got event_shape={tuple(event_shape)}, expected (channels, height, width)."
        )


def check_even(source: str, event_shape: Sequence[int]) -> None:
    """Raise a ShapeError unless rows are images of even height and width."""
    check_image(source, event_shape)
    _, height, width = event_shape
    if height % 2 or width % 2:
        raise ShapeError(
            f"{source} got images of {height}x{width}, expected an even height and width; pad the "
            "images by a row or a column."
        )
