"""Autoregressive layers: each feature is mapped by parameters that the features before it give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from densekit import kernels
from densekit.networks import MaskedMLP
from densekit.transforms.base import RowMap, Transform, build_elementwise, check_vector, fold_layer

if TYPE_CHECKING:
    from densekit.testing.cases import TransformCase


class Autoregressive(Transform):
    """z_t = f(x_t; network(x_1, ..., x_{t-1})) (Papamakarios 2017, section 3).

    `forward` costs one network pass. `inverse` goes feature by feature, but computes every hidden
    unit once, so its arithmetic is that of about one pass as well.

    Parameters
    ----------
    event_shape : sequence of int
        ``(n_features,)``.
    elementwise : str, Elementwise or class, optional
        The monotone map f; None is "affine", or "spline" for a single feature.
    order : {"natural", "reversed", "random"} or sequence of int, default="natural"
    hidden_sizes : sequence of int, default=(64, 64)
    context_shape : sequence of int, optional
        Shape of the context, which all parameters may depend on.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        elementwise: Any = None,
        order: str | Sequence[int] = "natural",
        hidden_sizes: Sequence[int] = (64, 64),
        context_shape: Sequence[int] | None = None,
    ):
        super().__init__(event_shape, context_shape=context_shape)
        self.elementwise = build_elementwise(elementwise, event_shape)
        self.network = MaskedMLP(
            check_vector("Autoregressive", event_shape),
            self.elementwise.n_params,
            tuple(hidden_sizes),
            order,
            n_context=0 if self.context_shape is None else math.prod(self.context_shape),
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kernel, network = self.elementwise.kernel, self.network
        if kernel and kernels.is_usable(x, network.output.weight):
            everything = slice(None)
            layer = kernels.Layer(kernel, everything, everything, network.masks())
            given = self._flat(context)
            rows, log_det = kernels.map_layer(
                x.T.contiguous(),
                None if given is None else given.T.to(x.dtype),
                layer,
                *network.weights_and_biases(),
            )
            return rows.T, log_det
        params = network(x, self._flat(context))
        z, log_slope = self.elementwise.forward(x, params)
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kernel = self.elementwise.kernel
        is_fast = len(self.network.hidden) and kernels.is_usable(z, self.network.output.weight)
        if kernel and is_fast:
            if torch.is_grad_enabled():
                return self.network.solve_map_with_gradient(kernel, z, self._flat(context))
            x, slopes = self.network.solve_map(kernel, z, self._flat(context))
            return x, slopes.sum(1)
        log_slopes = []

        def step(feature: int, params: Tensor) -> Tensor:
            x, log_slope = self.elementwise.inverse(z[:, feature], params)
            log_slopes.append(log_slope)
            return x

        x = self.network.solve(step, len(z), self._flat(context))
        return x, torch.stack(log_slopes).sum(0)

    def fold(self) -> RowMap:
        kernel, network = self.elementwise.kernel, self.network
        if kernel is None or not len(network.hidden) or self.context_shape is not None:
            return super().fold()
        features = torch.arange(network.n_features)
        weights, biases = network.weights_and_biases()
        masked = [w * mask for w, mask in zip(weights, network.masks(), strict=True)]
        return fold_layer(kernel, features, features, masked, biases)

    def passes(self, scratch: kernels.Scratch) -> list[kernels.Pass]:
        kernel, network = self.elementwise.kernel, self.network
        weights, biases = network.weights_and_biases()
        if kernel is None or not kernels.is_usable(*weights):
            return super().passes(scratch)
        if not kernels.is_learned(*weights, *biases):
            return super().passes(scratch)
        everything = slice(None)
        layer = kernels.Layer(kernel, everything, everything, network.masks())
        features = torch.arange(network.n_features)
        return [kernels.LayerPass(layer, features, weights, biases, scratch)]

    def _flat(self, context: Tensor | None) -> Tensor | None:
        if self.context_shape is None or context is None:
            return None
        return context.flatten(1)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        from densekit.testing.cases import TransformCase

        return [
            TransformCase("Autoregressive(affine)", lambda: cls((4,))),
            TransformCase(
                "Autoregressive(spline, reversed)",
                lambda: cls((3,), elementwise="spline", order="reversed"),
            ),
            TransformCase(
                "Autoregressive(random, with context)",
                lambda: cls((5,), order="random", hidden_sizes=(7, 11), context_shape=(2,)),
            ),
            TransformCase("Autoregressive(one feature)", lambda: cls((1,), elementwise="spline")),
            TransformCase("Autoregressive(no hidden layer)", lambda: cls((3,), hidden_sizes=())),
        ]
