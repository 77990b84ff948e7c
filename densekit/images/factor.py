"""Multi-scale flows: some latents leave early."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from densekit.cases import TransformCase
from densekit.elementwise import Affine
from densekit.images.residual_conv import ResidualConvNet
from densekit.images.squeeze import check_image
from densekit.transforms.base import Transform


class Factor(Transform):
    """Some channels leave, standardised given the others, which go on (Dinh 2016, section 3.6).

    ``z = (rest(kept), scale(kept) * left + shift(kept))`` as one vector. The network learns the
    mean and the scale of what leaves, as Glow's split prior does (Kingma 2018, section 3), so that
    one standard normal is the base of everything.

    Parameters
    ----------
    event_shape : (channels, height, width)
    rest : Transform
        What the first channels go through, as many as it takes.
    n_channels : int, default=64
        Hidden channels of the network.
    context_shape : sequence of int, optional
        Numbers, or an image, that scale and shift may depend on, beside those of `rest`.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        rest: Transform,
        n_channels: int = 64,
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape, context_shape=context_shape)
        check_image("Factor", event_shape)
        self._n_kept = rest.event_shape[0]
        self.rest = rest
        self._affine = Affine()
        self.network = ResidualConvNet(
            self._n_kept,
            self._affine.n_params * (self.event_shape[0] - self._n_kept),
            n_channels=n_channels,
            n_blocks=0,
            context_shape=self.context_shape,
            size=self.event_shape[1:],
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (math.prod(self.event_shape),)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, left = x[:, : self._n_kept], x[:, self._n_kept :]
        left, log_slope = self._affine.forward(left, self._params(kept, context))
        z, log_det = self.rest(kept, context)
        z = torch.cat([z.flatten(1), left.flatten(1)], 1)
        return z, log_det + log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        n_kept = math.prod(self.rest.event_shape)
        kept = z[:, :n_kept].unflatten(1, self.rest.output_shape)
        left = z[:, n_kept:].unflatten(1, (-1, *self.event_shape[1:]))
        kept, log_det = self.rest.inverse(kept, context)
        left, log_slope = self._affine.inverse(left, self._params(kept, context))
        return torch.cat([kept, left], 1), log_det + log_slope.flatten(1).sum(1)

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        self.rest.fit_statistics(x[:, : self._n_kept])

    def _params(self, kept: Tensor, context: Tensor | None) -> Tensor:
        given = context if self.context_shape is not None else None
        params: Tensor = self.network(kept, given)
        return params.unflatten(1, (self._affine.n_params, -1)).movedim(1, -1)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        from densekit.images.conv_coupling import ConvCoupling

        def build(context_shape: tuple[int, ...] | None) -> Factor:
            options = {"n_channels": 4, "context_shape": context_shape}
            return cls((4, 2, 2), rest=ConvCoupling((2, 2, 2), **options), **options)  # type: ignore[arg-type]

        return [
            TransformCase("Factor", lambda: build(None)),
            TransformCase("Factor(with labels)", lambda: build((2,))),
        ]
