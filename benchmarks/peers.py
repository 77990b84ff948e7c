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

    return Contender(flow, score, lambda n: flow().sample((n,)), _adam(flow, score), lambda: score)


def nflows(architecture: Architecture, n_features: int) -> Contender:
    """nflows' flow; its autoregressive conditioners are residual nets without residual blocks."""
    from nflows import transforms
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow

    layers = [
        _nflows_layer(architecture, n_features, i, transforms) for i in range(architecture.n_layers)
    ]
    flow = Flow(transforms.CompositeTransform(layers), StandardNormal([n_features]))
    return Contender(
        flow, flow.log_prob, flow.sample, _adam(flow, flow.log_prob), lambda: flow.log_prob
    )


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


def normflows(architecture: Architecture, n_features: int) -> Contender:
    """normflows' flow; affine couplings keep the first half, so features are swapped between."""
    import normflows as nf

    spline: dict[str, Any] = {"num_bins": N_BINS, "tail_bound": 5.0}
    layers: list[Any] = []
    for _ in range(architecture.n_layers):
        sizes = (n_features, len(HIDDEN) - 1, HIDDEN[0])
        if architecture.is_spline:
            kind = nf.flows.CoupledRationalQuadraticSpline
            if architecture.is_autoregressive:
                kind = nf.flows.AutoregressiveRationalQuadraticSpline
            layers.append(kind(*sizes, **spline))
        elif architecture.is_autoregressive:
            options = {"num_blocks": len(HIDDEN) - 1, "use_residual_blocks": False}
            layers.append(nf.flows.MaskedAffineAutoregressive(n_features, HIDDEN[0], **options))
        else:
            n_kept = (n_features + 1) // 2
            network = nf.nets.MLP([n_kept, *HIDDEN, 2 * (n_features - n_kept)], init_zeros=True)
            layers.append(nf.flows.AffineCouplingBlock(network))
        layers.append(nf.flows.Permute(n_features, mode="swap"))
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(n_features, trainable=False), layers)
    return Contender(
        flow, flow.log_prob, flow.sample, _adam(flow, flow.log_prob), lambda: flow.log_prob
    )


def torchflows(architecture: Architecture, n_features: int) -> Contender:
    """torchflows' flow, which adds elementwise affine layers and ActNorm of its own."""
    from torchflows import flows
    from torchflows.bijections.finite.autoregressive import architectures

    names = {
        "realnvp": "RealNVP",
        "maf": "MAF",
        "nsf_c": "CouplingRQNSF",
        "nsf_ar": "MaskedAutoregressiveRQNSF",
    }
    options: dict[str, Any] = {"n_layers": architecture.n_layers}
    options["conditioner_kwargs"] = {"n_hidden": HIDDEN[0], "n_layers": len(HIDDEN) + 1}
    if architecture.is_spline:
        options["transformer_kwargs"] = {"n_bins": N_BINS}
    flow = flows.Flow(getattr(architectures, names[architecture.name])((n_features,), **options))
    return Contender(
        flow, flow.log_prob, flow.sample, _adam(flow, flow.log_prob), lambda: flow.log_prob
    )


def _adam(flow: Any, score: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], None]:
    """A training step as the peer's users write it."""
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)

    def step(x: torch.Tensor) -> None:
        loss = -score(x).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _contender(flow: Any) -> Contender:
    step = _adam(flow, flow.log_prob)
    return Contender(flow, flow.log_prob, flow.sample, step, lambda: flow.log_prob)


_PEERS: dict[str, Callable[[Architecture, int], Contender]] = {
    "zuko": zuko,
    "nflows": nflows,
    "normflows": normflows,
    "torchflows": torchflows,
}


def available() -> dict[str, Callable[[Architecture, int], Contender]]:
    """Builders of the peers that are installed."""
    return {name: build for name, build in _PEERS.items() if importlib.util.find_spec(name)}


def missing() -> list[str]:
    """Names of the peers that are not installed."""
    return [name for name in _PEERS if not importlib.util.find_spec(name)]
