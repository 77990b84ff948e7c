"""Scoring and sampling of matched architectures, interleaved with the limit."""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import peers
from densekit.densities import Flow, Normal
from densekit.elementwise import Affine, Spline
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


def densekit_flow(architecture: Architecture, n_features: int) -> Flow:
    """The architecture in densekit's own layers."""
    elementwise = Spline(N_BINS) if architecture.is_spline else Affine()
    layers: list[Transform] = []
    for i in range(architecture.n_layers):
        if architecture.is_autoregressive:
            order = ("natural", "reversed")[i % 2]
            layers.append(
                Autoregressive(
                    (n_features,), elementwise=elementwise, order=order, hidden_sizes=HIDDEN
                )
            )
        else:
            mask = ("first", "last")[i % 2]
            layers.append(
                Coupling((n_features,), elementwise=elementwise, mask=mask, hidden_sizes=HIDDEN)
            )
    return Flow(Chain(layers), Normal((n_features,))).eval()


def limit(architecture: Architecture, n_features: int, batch: int) -> Callable[[], None]:
    """The conditioners' matrix products alone, into outputs that are there already."""
    sizes = architecture.layer_sizes(n_features)
    weights = [torch.randn(a, b) for a, b in itertools.pairwise(sizes)]
    rows = [torch.randn(batch, size) for size in sizes]

    def products() -> None:
        for _ in range(architecture.n_layers):
            for i, weight in enumerate(weights):
                torch.mm(rows[i], weight, out=rows[i + 1])

    return products


def measure(dimensions: tuple[int, ...], batch: int, repeats: int) -> dict[str, object]:
    """Time every cell; the contenders take turns within a repeat."""
    cells = []
    with torch.inference_mode():
        for architecture in ARCHITECTURES:
            for n_features in dimensions:
                x = torch.randn(batch, n_features)
                actions = _actions(architecture, n_features, x)
                times = _interleave(actions, repeats)
                cells.append(
                    {"flow": architecture.name, "n_features": n_features, "seconds": times}
                )
    return {
        "batch": batch,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "skipped": peers.missing(),
        "cells": cells,
    }


def _actions(
    architecture: Architecture, n_features: int, x: Tensor
) -> dict[str, Callable[[], object]]:
    batch = len(x)
    ours = densekit_flow(architecture, n_features)
    actions: dict[str, Callable[[], object]] = {
        "limit": limit(architecture, n_features, batch),
        "densekit score": lambda: ours.log_prob(x),
        "densekit sample": lambda: ours.sample(batch),
    }
    for name, build in peers.available().items():
        score, sample = build(architecture, n_features)
        actions[f"{name} score"] = lambda score=score: score(x)  # type: ignore[misc]
        actions[f"{name} sample"] = lambda sample=sample: sample(batch)  # type: ignore[misc]
    return actions


def _interleave(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Median, least and greatest seconds of each action, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if repeat:
                times[name].append(time.perf_counter() - start)
    return {
        name: [statistics.median(values), min(values), max(values)]
        for name, values in times.items()
    }
