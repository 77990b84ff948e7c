"""Fixed permutations of the features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from densekit.cases import TransformCase
from densekit.exceptions import ParameterError
from densekit.transforms.base import Transform, check_vector


class Permutation(Transform):
    """z[:, i] = x[:, permutation[i]], with a log-determinant of zero.

    Parameters
    ----------
    event_shape : sequence of int
    permutation : sequence of int
        Each of 0 to n_features - 1 once.
    """

    index_buffers = ("permutation", "inverse_permutation")
    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        permutation: Sequence[int],
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape)
        n_features = check_vector("Permutation", event_shape)
        if sorted(permutation) != list(range(n_features)):
            raise ParameterError(
                f"Permutation got {list(permutation)}, expected each of 0 to {n_features - 1} once."
            )
        index = torch.tensor(list(permutation), dtype=torch.long)
        self.register_buffer("permutation", index)
        self.register_buffer("inverse_permutation", torch.argsort(index))

    @classmethod
    def reverse(
        cls, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None
    ) -> Permutation:
        """Reverse the order of the features."""
        n_features = check_vector("Permutation", event_shape)
        return cls(event_shape, permutation=range(n_features)[::-1])

    @classmethod
    def random(
        cls, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None
    ) -> Permutation:
        """Draw a permutation from torch's generator, which estimators seed by `random_state`."""
        n_features = check_vector("Permutation", event_shape)
        return cls(event_shape, permutation=torch.randperm(n_features).tolist())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.T[self.permutation].T, x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.T[self.inverse_permutation].T, z.new_zeros(z.shape[0])

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [
            TransformCase("reverse", lambda: cls.reverse((4,))),
            TransformCase("permute", lambda: cls.random((5,))),
        ]
