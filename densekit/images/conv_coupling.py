"""Coupling layers of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit.cases import TransformCase
from densekit.exceptions import ParameterError
from densekit.images.residual_conv import ResidualConvNet
from densekit.images.squeeze import check_even, check_image
from densekit.transforms.base import Transform, build_elementwise

MASKS = ("first", "last", "checkerboard", "inverse_checkerboard")


class ConvCoupling(Transform):
    """A coupling whose network is convolutional: some channels or pixels are kept, and give the
    parameters that map the others (Dinh 2016, eq. 7 and section 3.4).

    Parameters
    ----------
    event_shape : (channels, height, width)
    elementwise : str, Elementwise or class, optional
        The monotone map; None is "affine".
    mask : {"first", "last", "checkerboard", "inverse_checkerboard"}, default="first"
        What is kept: the first or last half of the channels, or every other pixel. A checkerboard
        is taken apart into channels of half the height and width, which the network sees.
    n_channels, n_blocks : int, default=64 and 1
        Hidden channels and residual blocks of the network.
    context_shape : sequence of int, optional
        Numbers, or an image, that all parameters may depend on.
    """

    index_buffers = ("kept", "moved", "restore")
    kept: Tensor
    moved: Tensor
    restore: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        elementwise: Any = None,
        mask: str = "first",
        n_channels: int = 64,
        n_blocks: int = 1,
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape, context_shape=context_shape)
        is_kept = self._parse_mask(mask)
        self.register_buffer("kept", is_kept.nonzero()[:, 0])
        self.register_buffer("moved", (~is_kept).nonzero()[:, 0])
        self.register_buffer("restore", torch.argsort(torch.cat([self.kept, self.moved])))
        self.elementwise = build_elementwise("affine" if elementwise is None else elementwise, (2,))
        self.network = ResidualConvNet(
            len(self.kept),
            len(self.moved) * self.elementwise.n_params,
            n_channels=n_channels,
            n_blocks=n_blocks,
            context_shape=self.context_shape,
            size=[side // (2 if self._is_checkered else 1) for side in self.event_shape[1:]],
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(x, context, self.elementwise.forward)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(z, context, self.elementwise.inverse)

    def _map(self, x: Tensor, context: Tensor | None, direction: Any) -> tuple[Tensor, Tensor]:
        rows = F.pixel_unshuffle(x, 2) if self._is_checkered else x
        kept, moved = rows[:, self.kept], rows[:, self.moved]
        given = context if self.context_shape is not None else None
        params = self.network(kept, given)
        params = params.unflatten(1, (self.elementwise.n_params, -1)).movedim(1, -1)
        mapped, log_slope = direction(moved, params)
        rows = torch.cat([kept, mapped], 1)[:, self.restore]
        rows = F.pixel_shuffle(rows, 2) if self._is_checkered else rows
        return rows, log_slope.flatten(1).sum(1)

    def _parse_mask(self, mask: str) -> Tensor:
        """Which channels are kept, of the image or of its checkerboard taken apart."""
        if mask not in MASKS:
            raise ParameterError(
                f"ConvCoupling got mask={mask!r}, expected one of {', '.join(map(repr, MASKS))}."
            )
        check_image("ConvCoupling", self.event_shape)
        channels = self.event_shape[0]
        self._is_checkered = "checkerboard" in mask
        if self._is_checkered:
            check_even("ConvCoupling with a checkerboard", self.event_shape)
            is_black = torch.tensor([True, False, False, True]).repeat(channels)
            return is_black if mask == "checkerboard" else ~is_black
        if channels < 2:
            raise ParameterError(
                f"ConvCoupling got mask={mask!r} for images of one channel, expected a "
                "checkerboard, or a Squeeze before it."
            )
        place = torch.arange(channels)
        if mask == "first":
            return place < channels // 2
        return place >= channels - channels // 2

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        def case(name: str, shape: tuple[int, ...], **options: Any) -> TransformCase:
            build = lambda: cls(shape, n_channels=4, **options)  # noqa: E731
            return TransformCase(f"ConvCoupling({name})", build)

        return [
            case("checkerboard", (1, 4, 4), mask="checkerboard"),
            case("first, with labels", (3, 2, 2), context_shape=(2,)),
            case("last, with images", (2, 2, 4), mask="last", context_shape=(2, 1, 2)),
            case("spline", (2, 2, 2), mask="inverse_checkerboard", elementwise="spline"),
        ]
