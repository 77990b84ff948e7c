"""Functions compiled to machine code by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Contraction to fused multiply-adds and division by reciprocals change the last digit only, and
# alike for every element; NaN and infinity keep their meaning.
_FLAGS = {"contract", "arcp", "nsz"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk where a folder is writable."""
    return _compile(function, _FLAGS)


def compiled_sums(function: Callable[..., Any]) -> Any:
    """Do the same, and let sums be taken in another order, which vector instructions need."""
    return _compile(function, _FLAGS | {"reassoc"})


def _compile(function: Callable[..., Any], flags: set[str]) -> Any:
    # A function that others call goes into each of them whole. Otherwise a process that compiles it
    # runs the callee's own machine code, one that finds it on disk the copy inside the caller's,
    # and the two may contract differently.
    options: dict[str, Any] = {
        "fastmath": flags,
        "error_model": "numpy",
        "nogil": True,
        "forceinline": True,
    }
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no folder that it may write to
        return numba.njit(**options)(function)
