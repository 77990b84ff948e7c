"""The flows that every library builds alike, densekit's own, and the limit of their arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densekit.densities import Flow, Normal
from densekit.elementwise import Affine, Spline
from densekit.training import Learner, Trainer
from densekit.transforms import Autoregressive, Chain, Coupling, Transform

HIDDEN = (128, 128)
N_BINS = 8


@dataclass(frozen=True)
class Architecture:
    """A flow that every library builds alike."""

    name: str
    n_layers: int
    is_autoregressive: bool
    is_spline: bool

    def layer_sizes(self, n_features: int) -> list[int]:
        """Widths of one conditioner, from its inputs to its outputs."""
        n_params = 3 * N_BINS - 1 if self.is_spline else 2
        n_inputs = n_features if self.is_autoregressive else n_features // 2
        n_moved = n_features if self.is_autoregressive else n_features - n_inputs
        return [n_inputs, *HIDDEN, n_params * n_moved]


ARCHITECTURES = (
    Architecture("realnvp", 8, False, False),
    Architecture("maf", 5, True, False),
    Architecture("nsf_c", 5, False, True),
    Architecture("nsf_ar", 5, True, True),
)


Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A fitted density: how it scores rows, and when its best weights were found, if it says so.

    `seconds_elsewhere` are those of another process, which the clock of this one does not see.
    """

    score: Callable[[Array], Array]
    seconds_to_best: float | None = None
    seconds_elsewhere: float = 0.0


@dataclass(frozen=True)
class Contender:
    """One library's flow: how to score, to sample, and to take a training step.

    `prepare_few` gives the fastest way to score few rows with the present weights.
    """

    flow: Any
    score: Callable[[Tensor], Tensor]
    sample: Callable[[int], object]
    train_step: Callable[[Tensor], None]
    prepare_few: Callable[[], Callable[[Tensor], object]]


def densekit(architecture: Architecture, n_features: int) -> Contender:
    """The architecture in densekit's own layers, trained as its Trainer does."""
    elementwise = Spline(N_BINS) if architecture.is_spline else Affine()
    options: dict[str, Any] = {"elementwise": elementwise, "hidden_sizes": HIDDEN}
    layers: list[Transform] = []
    for i in range(architecture.n_layers):
        if architecture.is_autoregressive:
            order = ("natural", "reversed")[i % 2]
            layers.append(Autoregressive((n_features,), order=order, **options))
        else:
            mask = ("first", "last")[i % 2]
            layers.append(Coupling((n_features,), mask=mask, **options))
    flow = Flow(Chain(layers), Normal((n_features,)))
    learner = Learner(flow, 1e-3, Trainer.average_decay)

    def train_step(x: Tensor) -> None:
        learner.step(x, None, x.new_ones(len(x)))

    return Contender(flow, flow.log_prob, flow.sample, train_step, lambda: flow.log_prob)


def forward_limit(architecture: Architecture, n_features: int, batch: int) -> Callable[[], None]:
    """The conditioners' matrix products alone, into outputs that are there already."""
    sizes = architecture.layer_sizes(n_features)
    weights = [torch.randn(a, b) for a, b in itertools.pairwise(sizes)]
    rows = [torch.randn(batch, size) for size in sizes]

    def products() -> None:
        for _ in range(architecture.n_layers):
            for i, weight in enumerate(weights):
                torch.mm(rows[i], weight, out=rows[i + 1])

    return products


def training_limit(architecture: Architecture, n_features: int, batch: int) -> Callable[[], None]:
    """The products of the forward pass and those of both gradients."""
    forward = forward_limit(architecture, n_features, batch)
    sizes = architecture.layer_sizes(n_features)
    weights = [torch.randn(a, b) for a, b in itertools.pairwise(sizes)]
    rows = [torch.randn(batch, size) for size in sizes]
    of_weights = [torch.empty_like(weight) for weight in weights]
    of_rows = [torch.empty_like(row) for row in rows]

    def products() -> None:
        forward()
        for _ in range(architecture.n_layers):
            for i, weight in enumerate(weights):
                torch.mm(rows[i].T, rows[i + 1], out=of_weights[i])
                torch.mm(rows[i + 1], weight.T, out=of_rows[i])

    return products
