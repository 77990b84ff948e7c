"""The compiled loops of the fast path: a shared library, called by ctypes.

It is built with the package where there is a C compiler (`hatch_build.py`). Without it everything
takes the plain path, which is slower.
"""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from densekit._kernels.memory import keep_freed_memory
from densekit.exceptions import SlowPathWarning

FOLDER = Path(__file__).parent / "native"
ENDING = {torch.float32: "_f", torch.float64: "_d", torch.bfloat16: "_h"}
# Arguments in order: n is a whole number, p a pointer.
_ARGUMENTS = {
    "exponential": "npp",
    "logarithm": "npp",
    "map_affine": "nppnnppp",
    "invert_affine": "nppnnppp",
    "grad_affine": "nppnnpppppn",
    "map_spline": "nppnnppp",
    "invert_spline": "nppnnppp",
    "grad_spline": "nppnnpppppn",
    "add_and_bound": "nnpp",
    "grad_bound": "nnppp",
    "map_features": "nnnpppppppppp",
    "grad_features": "nnnpppppppppppp",
    "map_columns": "nnppppp",
    "grad_columns": "nnpppppp",
    "solve": "pnpppppp",
    "grad_solve": "pnpppppppppp",
    "norm_squared": "np",
    "step_adam": "npppppp",
    "map_marginals": "nnnppppppp",
    "gate": "nnpp",
    "grad_gate": "nnppp",
}
_TYPES = {"n": ctypes.c_int64, "p": ctypes.c_void_p}


@functools.cache
def load() -> ctypes.CDLL | None:
    """The shared library, or None where there is none; a warning says so once."""
    if os.environ.get("DENSEKIT_PLAIN") == "1":
        return None
    keep_freed_memory()
    for path in sorted(FOLDER.glob("kernels.*")):
        if path.suffix in (".so", ".dylib", ".dll"):
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                continue
    warnings.warn(
        "densekit was built without a C compiler and takes its plain path, which gives the same "
        "numbers up to rounding, more slowly. Install a compiler and then densekit anew, "
        "or set DENSEKIT_PLAIN=1 to be spared this warning.",
        SlowPathWarning,
        stacklevel=2,
    )
    return None


@functools.cache
def function(name: str, dtype: torch.dtype) -> Any:
    """A function of the library for arrays of a dtype; pointers and counts are whole numbers."""
    found = getattr(load(), name + ENDING[dtype])
    found.argtypes = [_TYPES[kind] for kind in _ARGUMENTS[name]]
    found.restype = ctypes.c_double if name == "norm_squared" else None
    return found


@functools.cache
def address(name: str, dtype: torch.dtype) -> int:
    """The address of a function of the library, for others that call it."""
    found = ctypes.cast(function(name, dtype), ctypes.c_void_p).value
    return int(found or 0)
