"""A step of Adam over all weights in one pass, with clipping and averaging."""

from __future__ import annotations

from typing import Any

import numpy as np

from densekit.kernels.compiled import compiled, compiled_sums
from densekit.kernels.elementwise import Array


@compiled_sums
def norm_squared(gradient: Array) -> float:
    """Sum of squares, in float64, so that no finite gradient overflows."""
    total = 0.0
    for i in range(len(gradient)):
        value = float(gradient[i])
        total += value * value
    return total


@compiled
def step_adam(
    weights: Array, gradient: Array, moments: Any, average: Array, decays: Any, factors: Any
) -> None:
    """Move weights along the gradient, and the averaged weights towards them.

    Parameters
    ----------
    weights, gradient, average : arrays of shape (n,)
    moments : tuple of two arrays of shape (n,)
        Running means of the gradient and of its square.
    decays : tuple of float
        Of the two moments.
    factors : tuple of float
        What the gradient is multiplied by, the rate over the first moment's bias, one over the
        root of the second's, epsilon, and the average's share of the new weights.
    """
    first, second = moments
    kind = weights.dtype.type
    keep_first, keep_second = kind(decays[0]), kind(decays[1])
    add_first, add_second = kind(1 - decays[0]), kind(1 - decays[1])
    clip, rate, spread = kind(factors[0]), kind(factors[1]), kind(factors[2])
    epsilon, share = kind(factors[3]), kind(factors[4])
    for i in range(len(weights)):
        slope = clip * gradient[i]
        first[i] = keep_first * first[i] + add_first * slope
        second[i] = keep_second * second[i] + add_second * slope * slope
        weights[i] -= rate * first[i] / (np.sqrt(second[i]) * spread + epsilon)
        average[i] += share * (weights[i] - average[i])
