"""Coupling layers: some features are kept, and give the parameters that map the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.cases import TransformCase
from densekit.exceptions import ParameterError
from densekit.networks import MLP
from densekit.transforms.base import Transform, build_elementwise, check_vector, kernel_of


class Coupling(Transform):
    """z = x where the mask is true, and f(x; network(kept x)) elsewhere (Dinh 2014, section 3.2).

    Both directions cost one network pass. A single feature is never kept: its map has constant
    parameters.

    Parameters
    ----------
    event_shape : sequence of int
        ``(n_features,)``.
    elementwise : str, Elementwise or class, optional
        The monotone map f; None is "affine", or "spline" for a single feature.
    mask : {"first", "last", "even", "odd"} or sequence of bool, default="first"
        The features that are kept: the first or last half, or every other one from 0 or from 1.
    hidden_sizes : sequence of int, default=(64, 64)
    context_shape : sequence of int, optional
        Shape of the context, which all parameters may depend on.
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
        mask: str | Sequence[bool] = "first",
        hidden_sizes: Sequence[int] = (64, 64),
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape, context_shape=context_shape)
        is_kept = _parse_mask(mask, check_vector("Coupling", event_shape))
        self.register_buffer("kept", is_kept.nonzero()[:, 0])
        self.register_buffer("moved", (~is_kept).nonzero()[:, 0])
        self.register_buffer("restore", torch.argsort(torch.cat([self.kept, self.moved])))
        self.elementwise = build_elementwise(elementwise, event_shape)
        n_context = 0 if self.context_shape is None else math.prod(self.context_shape)
        self.network = MLP(
            len(self.kept) + n_context,
            self.elementwise.n_params * len(self.moved),
            tuple(hidden_sizes),
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(x, context, self.elementwise.forward)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map(z, context, self.elementwise.inverse)

    def _map(self, x: Tensor, context: Tensor | None, direction: Any) -> tuple[Tensor, Tensor]:
        rows = x.T.contiguous()  # features first
        kept, moved = rows[self.kept], rows[self.moved]
        mapped, log_slope = direction(moved.T, self._params(kept, context))
        return torch.cat([kept, mapped.T])[self.restore].T, log_slope.sum(1)

    def compiled_steps(
        self, workspace: kernels.Workspace, *, learns: bool
    ) -> list[kernels.CompiledStep]:
        kernel = kernel_of(self.elementwise)
        weights, biases = self.network.weights_and_biases()
        if kernel is None or (learns and not kernels.is_learned(*weights, *biases)):
            return super().compiled_steps(workspace, learns=learns)
        layer = kernels.Layer(kernel, self.kept, self.moved, weights, biases)
        return [kernels.LayerStep(layer, workspace, learns=learns)]

    def _params(self, kept: Tensor, context: Tensor | None) -> Tensor:
        given = self._flat(context, kept.dtype)
        outputs = self.network(kept if given is None else torch.cat([kept, given]))
        return outputs.view(self.elementwise.n_params, len(self.moved), -1).permute(2, 1, 0)

    def _flat(self, context: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        if self.context_shape is None or context is None:
            return None
        return context.flatten(1).to(dtype).T

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [
            TransformCase("Coupling(affine)", lambda: cls((4,))),
            TransformCase(
                "Coupling(shift, even)", lambda: cls((3,), elementwise="shift", mask="even")
            ),
            TransformCase(
                "Coupling(spline, with context)",
                lambda: cls((3,), elementwise="spline", mask="odd", context_shape=(2,)),
            ),
            TransformCase("Coupling(one feature)", lambda: cls((1,), elementwise="spline")),
        ]


def _parse_mask(mask: str | Sequence[bool], n_features: int) -> Tensor:
    place = torch.arange(n_features)
    if n_features == 1:
        return torch.zeros(1, dtype=torch.bool)
    named = {
        "first": place < n_features // 2,
        "last": place >= n_features - n_features // 2,
        "even": place % 2 == 0,
        "odd": place % 2 == 1,
    }
    if isinstance(mask, str) and mask in named:
        return named[mask]
    is_flags = not isinstance(mask, str) and {bool(m) == m for m in mask} == {True}
    if is_flags and len(mask) == n_features and not all(mask):
        return torch.tensor([bool(m) for m in mask])
    raise ParameterError(
        f"Coupling got mask={mask!r}, expected {', '.join(map(repr, named))} or {n_features} "
        "booleans that are not all true."
    )
