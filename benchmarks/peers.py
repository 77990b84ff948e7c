"""The peers' flows in the same architectures; a peer that is not installed is skipped by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.speed import Architecture

Contender = tuple[Callable[[Any], object], Callable[[int], object]]  # score(x), sample(n)


def zuko(architecture: Architecture, n_features: int) -> Contender:
    """zuko's flow of the architecture; its NICE is affine, in spite of the name."""
    from zuko import flows
    from zuko.transforms import MonotonicRQSTransform

    from benchmarks.speed import HIDDEN, N_BINS

    build = flows.MAF if architecture.is_autoregressive else flows.NICE
    options: dict[str, Any] = {}
    if architecture.is_spline:
        options["univariate"] = MonotonicRQSTransform
        options["shapes"] = [(N_BINS,), (N_BINS,), (N_BINS - 1,)]
    flow = build(n_features, transforms=architecture.n_layers, hidden_features=HIDDEN, **options)
    flow.eval()
    return lambda x: flow().log_prob(x), lambda n: flow().sample((n,))


_PEERS: dict[str, Callable[[Architecture, int], Contender]] = {"zuko": zuko}


def available() -> dict[str, Callable[[Architecture, int], Contender]]:
    """Builders of the peers that are installed."""
    return {name: build for name, build in _PEERS.items() if importlib.util.find_spec(name)}


def missing() -> list[str]:
    """Names of the peers that are not installed."""
    return [name for name in _PEERS if not importlib.util.find_spec(name)]
