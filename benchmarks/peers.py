"""The peers' flows in the same architectures; a peer that is not installed is skipped by name."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.architectures import HIDDEN, N_BINS, Architecture, Contender


def zuko(architecture: Architecture, n_features: int) -> Contender:
    """zuko's flow of the architecture; its NICE is affine, in spite of the name."""
    from zuko import flows
    from zuko.transforms import MonotonicRQSTransform

    build = flows.MAF if architecture.is_autoregressive else flows.NICE
    options: dict[str, Any] = {}
    if architecture.is_spline:
        options["univariate"] = MonotonicRQSTransform
        options["shapes"] = [(N_BINS,), (N_BINS,), (N_BINS - 1,)]
    flow = build(n_features, transforms=architecture.n_layers, hidden_features=HIDDEN, **options)

    def score(x: torch.Tensor) -> torch.Tensor:
        return flow().log_prob(x)

    return Contender(flow, score, lambda n: flow().sample((n,)), _adam(flow), lambda: score)


def nflows(architecture: Architecture, n_features: int) -> Contender:
    """nflows' flow; its autoregressive conditioners are residual nets without residual blocks."""
    from nflows import transforms
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow

    layers = [
        _nflows_layer(architecture, n_features, i, transforms) for i in range(architecture.n_layers)
    ]
    flow = Flow(transforms.CompositeTransform(layers), StandardNormal([n_features]))
    return Contender(flow, flow.log_prob, flow.sample, _adam(flow), lambda: flow.log_prob)


def _nflows_layer(architecture: Architecture, n_features: int, i: int, transforms: Any) -> Any:
    spline: dict[str, Any] = {"num_bins": N_BINS, "tails": "linear", "tail_bound": 5.0}
    if architecture.is_autoregressive:
        options: dict[str, Any] = {"features": n_features, "hidden_features": HIDDEN[0]}
        options |= {"num_blocks": len(HIDDEN) - 1, "use_residual_blocks": False}
        if architecture.is_spline:
            kind = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform
            return kind(**options, **spline)
        return transforms.MaskedAffineAutoregressiveTransform(**options)
    mask = torch.ones(n_features)
    mask[: n_features // 2] = -1
    mask = mask if i % 2 else -mask

    if architecture.is_spline:
        kind = transforms.PiecewiseRationalQuadraticCouplingTransform
        return kind(mask, _Conditioner, **spline)
    return transforms.AffineCouplingTransform(mask, _Conditioner)


class _Conditioner(torch.nn.Sequential):
    """Perceptron that nflows calls with a context."""

    def __init__(self, n_inputs: int, n_outputs: int):
        widths = (n_inputs, *HIDDEN)
        layers: list[torch.nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        super().__init__(*layers, torch.nn.Linear(HIDDEN[-1], n_outputs))

    def forward(self, x: torch.Tensor, context: object = None) -> torch.Tensor:
        result: torch.Tensor = super().forward(x)
        return result


def _adam(flow: Any) -> Callable[[Any], None]:
    """A training step as the peer's users write it."""
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)

    def after_backward(_: Any) -> None:
        optimiser.step()
        optimiser.zero_grad()

    return after_backward


_PEERS: dict[str, Callable[[Architecture, int], Contender]] = {"zuko": zuko, "nflows": nflows}


def available() -> dict[str, Callable[[Architecture, int], Contender]]:
    """Builders of the peers that are installed."""
    return {name: build for name, build in _PEERS.items() if importlib.util.find_spec(name)}


def missing() -> list[str]:
    """Names of the peers that are not installed."""
    return [name for name in _PEERS if not importlib.util.find_spec(name)]
