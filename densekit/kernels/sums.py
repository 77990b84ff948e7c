"""Sums in whichever order is fastest."""

from __future__ import annotations

from densekit.kernels.compiled import compiled_sums
from densekit.kernels.elementwise import Array


@compiled_sums
def total(values: Array) -> float:
    found = values[0] - values[0]
    for i in range(len(values)):
        found += values[i]
    return found


@compiled_sums
def total_of_products(a: Array, b: Array) -> float:
    found = a[0] - a[0]
    for i in range(len(a)):
        found += a[i] * b[i]
    return found
