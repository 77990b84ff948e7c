"""The autoregressive conditioner (Germain 2015), and its evaluation one feature at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densekit._kernels import MapKernel, Network, solve, solve_with_gradient
from densekit.exceptions import ParameterError
from densekit.networks.mlp import perceptron


class MaskedLinear(nn.Linear):
    """Linear layer whose weight is multiplied by a fixed mask of zeros and ones."""

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype))
        # A unit that sees few inputs starts with larger weights, as if its layer were that narrow.
        with torch.no_grad():
            fan_in = self.mask.sum(1, keepdim=True).clamp_min(1)
            self.weight.mul_(self.mask * (mask.shape[1] / fan_in).sqrt())

    def weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """The masked weight, and the bias as a column for products with features in rows."""
        return self.weight * self.mask, self.bias[:, None]


class MaskedMLP(nn.Module):
    """Perceptron with hard tanh whose outputs for a feature depend on the features before it only.

    Hidden units are sorted by degree: a unit of degree g sees the first g features of the order.
    So each unit can be computed as soon as those are known, which is what `solve` does.

    Parameters
    ----------
    n_features : int
    n_params : int
        Outputs per feature.
    hidden_sizes : sequence of int
    order : {"natural", "reversed", "random"} or sequence of int, default="natural"
        ``order[t]`` is the feature that stands at place t.
    n_context : int, default=0
        Numbers of context, which every output may depend on.
    """

    index_buffers = ("order", "place")
    order: Tensor
    place: Tensor

    def __init__(
        self,
        n_features: int,
        n_params: int,
        hidden_sizes: tuple[int, ...],
        order: str | Sequence[int] = "natural",
        n_context: int = 0,
    ):
        super().__init__()
        self.n_features, self.n_params, self.n_context = n_features, n_params, n_context
        self.register_buffer("order", _parse_order(order, n_features))
        self.register_buffer("place", torch.argsort(self.order))
        # Without context a unit of degree 0 would see nothing.
        lowest = 0 if n_context else 1
        widths = hidden_sizes if n_features > lowest else ()
        degrees = [_spread_degrees(width, lowest, n_features) for width in widths]
        # For each hidden layer and place: how many units can be computed by then.
        self._ends = [
            torch.searchsorted(degree, torch.arange(n_features), right=True).numpy()
            for degree in degrees
        ]
        masks = _masks(self.place, n_params, n_context, degrees)
        self.hidden = nn.ModuleList(MaskedLinear(mask) for mask in masks[:-1])
        self.output = MaskedLinear(masks[-1])
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (batch, n_features) to parameters of shape (batch, n_features, n_params)."""
        if context is not None:
            x = torch.cat([x, context.to(x.dtype)], 1)
        weights, biases = self.weights_and_biases()
        masked = [weight * mask for weight, mask in zip(weights, self.masks(), strict=True)]
        return perceptron(x, masked, biases).unflatten(1, (self.n_params, self.n_features)).mT

    def weights_and_biases(self) -> tuple[list[Tensor], list[Tensor]]:
        """Those of each layer, from the inputs to the outputs, before masking."""
        layers = self._layers
        return [layer.weight for layer in layers], [layer.bias for layer in layers]

    def masks(self) -> list[Tensor]:
        """Zeros and ones that multiply the weights."""
        return [layer.mask for layer in self._layers]

    @property
    def _layers(self) -> list[MaskedLinear]:
        return cast("list[MaskedLinear]", [*self.hidden, self.output])

    def solve(
        self, step: Callable[[int, Tensor], Tensor], n_rows: int, context: Tensor | None = None
    ) -> Tensor:
        """Find x, feature by feature, each from the parameters that the ones before it give.

        Every hidden unit is computed once, when the features that it depends on are known, so the
        arithmetic is that of about one pass and not of one pass per feature.

        Parameters
        ----------
        step : callable (feature, params of shape (n_rows, n_params)) -> (n_rows,)
            Gives the values of one feature.
        n_rows : int
        context : Tensor of shape (n_rows, n_context), optional

        Returns
        -------
        x : Tensor of shape (n_rows, n_features)
        """
        hidden, (weights, biases) = self._prepare(context)
        known = _GrowingRows(self.n_features, n_rows, like=self.output.weight)
        units = [_GrowingRows(len(weight), n_rows, like=weight) for weight, _ in hidden]
        for place, feature in enumerate(self.order.tolist()):
            below = known
            for (weight, bias), rows, ends in zip(hidden, units, self._ends, strict=True):
                new = slice(rows.count, ends[place])
                if new.stop > new.start:
                    rows.append(F.hardtanh(_addmm(bias[new], weight[new], below)))
                below = rows
            params = _addmm(biases[feature], weights[feature], below)
            known.append(step(feature, params.T)[None])
        return known.filled()[self.place].T

    def solve_map(
        self, kernel: MapKernel, z: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Do what `solve` does for a compiled map, all in machine code and without gradients.

        Parameters
        ----------
        kernel : MapKernel
        z : Tensor of shape (n_rows, n_features)
        context : Tensor of shape (n_rows, n_context), optional

        Returns
        -------
        x, log_slopes : Tensors of shape (n_rows, n_features)
            Log-slopes are those of the inverse map.
        """
        given = None if context is None else context.to(z.dtype).T
        x, log_slopes = solve(z.T, given, self.for_inverse(), kernel)
        return x.T, log_slopes.T

    def solve_map_with_gradient(
        self, kernel: MapKernel, z: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Do the same with gradients; instead of log-slopes give their sums, of shape (n_rows,)."""
        given = None if context is None else context.to(z.dtype).T
        parameters = self.weights_and_biases()
        network, masks = self.for_inverse(), self.masks()
        x, log_det = solve_with_gradient(z.T, given, network, kernel, masks, parameters)
        return x.T, log_det

    def for_inverse(self) -> Network:
        """The network as the sequential inverse wants it: inputs in order behind the context."""
        inputs = torch.arange(self.n_features, self.n_features + self.n_context)
        inputs = torch.cat([inputs, self.order])
        weights = [layer.weight.detach() for layer in self._layers]  # what masks hide is not read
        weights[0] = weights[0][:, inputs]
        by_feature = (self.n_params, self.n_features, -1)
        output = weights.pop().view(by_feature)[:, self.order].transpose(0, 1).contiguous()
        bias = self.output.bias.detach().view(by_feature)[:, self.order, 0].T.contiguous()
        return Network(
            order=self.order,
            place=self.place,
            n_context=self.n_context,
            weights=weights,
            biases=[layer.bias.detach() for layer in self._layers[:-1]],
            ends=torch.from_numpy(np.array(self._ends, dtype=np.int64)),
            out_weight=output,
            out_bias=bias,
        )

    def _prepare(
        self, context: Tensor | None
    ) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
        """Weights and biases with the context folded into the biases, and inputs in their order.

        The output layer's come feature by feature: (n_features, n_params, n_inputs).
        """
        layers = [layer.weight_and_bias() for layer in self._layers]
        weight, bias = layers[0]
        if context is not None:
            bias = torch.addmm(bias, weight[:, self.n_features :], context.to(weight.dtype).T)
        layers[0] = weight[:, self.order], bias
        weight, bias = layers.pop()
        by_feature = (self.n_params, self.n_features, -1)
        return layers, (
            weight.view(by_feature).transpose(0, 1),
            bias.view(by_feature).transpose(0, 1),
        )


class _GrowingRows:
    """Matrix of shape (size, n_rows) that is filled from the top, a slab at a time."""

    def __init__(self, size: int, n_rows: int, like: Tensor):
        self.count = 0
        # A buffer written in place is fastest, but autograd needs the old versions: concatenate.
        self._buffer = like.new_empty((0 if torch.is_grad_enabled() else size, n_rows))

    def append(self, slab: Tensor) -> None:
        if torch.is_grad_enabled():
            self._buffer = torch.cat([self._buffer, slab])
        else:
            self._buffer[self.count : self.count + len(slab)] = slab
        self.count += len(slab)

    def filled(self) -> Tensor:
        return self._buffer[: self.count]


def _addmm(bias: Tensor, weight: Tensor, below: _GrowingRows) -> Tensor:
    """The linear layer on those inputs that are known; the mask is zero for all others."""
    return torch.addmm(bias, weight[:, : below.count], below.filled())


def _masks(place: Tensor, n_params: int, n_context: int, degrees: list[Tensor]) -> list[Tensor]:
    """Mask of each layer: a unit of degree g sees units of degree g or less, and features before g.

    (Germain 2015, eqs. 11 and 12.)
    """
    outputs = place.repeat(n_params)
    first = degrees[0] if degrees else outputs
    sees_context = torch.ones(len(first), n_context, dtype=torch.bool)
    masks = [torch.cat([first[:, None] > place[None, :], sees_context], 1)]
    layers = [*degrees, outputs] if degrees else []
    for below, above in itertools.pairwise(layers):
        masks.append(above[:, None] >= below[None, :])
    return masks


def _parse_order(order: str | Sequence[int], n_features: int) -> Tensor:
    named = {
        "natural": lambda: torch.arange(n_features),
        "reversed": lambda: torch.arange(n_features).flip(0),
        "random": lambda: torch.randperm(n_features),
    }
    if isinstance(order, str) and order in named:
        return named[order]()
    if not isinstance(order, str) and sorted(order) == list(range(n_features)):
        return torch.tensor(list(order), dtype=torch.long)
    raise ParameterError(
        f"order got {order!r}, expected 'natural', 'reversed', 'random' or a permutation of "
        f"0 to {n_features - 1}."
    )


def _spread_degrees(width: int, lowest: int, n_features: int) -> Tensor:
    """Sorted degrees from `lowest` to n_features - 1, as evenly spread as the width allows."""
    return torch.linspace(lowest, n_features - 1, width, dtype=torch.float64).round().long()
