"""A transform turned round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from densekit.cases import TransformCase
from densekit.transforms.autoregressive import Autoregressive
from densekit.transforms.base import Transform


class Inverse(Transform):
    """The inverse of a transform as a transform: its `forward` is the other's `inverse`.

    Parameters
    ----------
    transform : Transform
    """

    def __init__(self, transform: Transform):
        super().__init__(transform.output_shape, context_shape=transform.context_shape)
        self.transform = transform

    @classmethod
    def autoregressive(
        cls,
        event_shape: Sequence[int],
        *,
        context_shape: Sequence[int] | None = None,
        hidden_sizes: Sequence[int] = (64, 64),
        **options: Any,
    ) -> Inverse:
        """Inverse autoregressive layer (Kingma 2016): one network pass from latents to data."""
        options |= {"context_shape": context_shape, "hidden_sizes": hidden_sizes}
        return cls(Autoregressive(event_shape, **options))

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.transform.event_shape

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.transform(z, context)
        return result

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [
            TransformCase("inverse_autoregressive", lambda: cls.autoregressive((3,))),
            TransformCase(
                "inverse_autoregressive with context",
                lambda: cls.autoregressive((2,), context_shape=(2,), elementwise="spline"),
            ),
        ]
