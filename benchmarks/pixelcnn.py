"""Sampling of PixelCNN: each pixel once, beside a full pass for every pixel, in one run."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from densekit.densities.likelihoods import Bernoulli, LogisticMixture
from densekit.images import PixelCNN

SIDE, N_LAYERS, N_CHANNELS, BATCH = 28, 7, 64, 16
SEED = 0


def measure(repeats: int) -> dict[str, Any]:
    """Sample from an untrained network of random weights, of 2 and of 256 levels."""
    cells = []
    for likelihood, n_levels in ((Bernoulli(), 2), (LogisticMixture(256), 256)):
        torch.manual_seed(SEED)
        density = PixelCNN(
            (1, SIDE, SIDE),
            likelihood=likelihood,
            n_levels=n_levels,
            n_layers=N_LAYERS,
            n_channels=N_CHANNELS,
        ).eval()
        torch.nn.init.normal_(density.network.head.outputs.weight, std=0.1)
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            drawn = density.sample(BATCH, generator=_generator())
            seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        expected = _by_full_passes(density)
        cells.append(
            {
                "n_levels": n_levels,
                "seconds": statistics.median(seconds[1:]),
                "full_pass_seconds": time.perf_counter() - start,
                "share_equal": float((drawn == expected).double().mean()),
            }
        )
    return {"threads": torch.get_num_threads(), "repeats": repeats, "cells": cells}


@torch.no_grad()
def _by_full_passes(density: PixelCNN) -> Tensor:
    """The samples that `density.sample` draws, by one pass over the whole image for each pixel."""
    generator, x = _generator(), torch.zeros(BATCH, 1, SIDE, SIDE)
    for row in range(SIDE):
        for column in range(SIDE):
            params = density.network(x * (2 / (density.n_levels - 1)) - 1)
            x[:, 0, row, column] = density.likelihood.sample(params[:, 0, row, column], generator)
    return x


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
