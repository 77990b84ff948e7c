"""Densities as training leaves them: no weight is zero."""

import torch


def noisy(density, seed=0):
    """A density in float64 whose every weight takes part."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in density.parameters():
            parameter.data.add_(0.3 * torch.randn(parameter.shape))
    return density.double().eval()
