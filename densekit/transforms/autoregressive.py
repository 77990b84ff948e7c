"""Autoregressive layers: each feature is mapped by parameters that the features before it give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.cases import TransformCase
from densekit.networks import MaskedMLP
from densekit.transforms.base import Transform, build_elementwise, check_vector, kernel_of


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
        params = self.network(x, self._flat(context))
        z, log_slope = self.elementwise.forward(x, params)
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kernel = kernel_of(self.elementwise)
        if kernel is not None and kernels.is_usable(z, self.network.output.weight):
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

    def compiled_steps(
        self, workspace: kernels.Workspace, *, learns: bool
    ) -> list[kernels.CompiledStep]:
        kernel, network = kernel_of(self.elementwise), self.network
        weights, biases = network.weights_and_biases()
        if kernel is None or (learns and not kernels.is_learned(*weights, *biases)):
            return super().compiled_steps(workspace, learns=learns)
        everything = torch.arange(network.n_features)
        layer = kernels.Layer(
            *(kernel, everything, everything, weights, biases),
            masks=network.masks(),
            network=network.for_inverse,
        )
        return [kernels.LayerStep(layer, workspace, learns=learns)]

    def _flat(self, context: Tensor | None) -> Tensor | None:
        if self.context_shape is None or context is None:
            return None
        return context.flatten(1)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
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
