"""Matrix products by the fastest library at hand."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from llvmlite import binding
from torch import Tensor

MIN_WORK = 2**19  # multiplications from which oneDNN's start-up is paid back
# oneDNN and BLAS add up in the same order where neither splits the sum, so that a row's score is
# the same beside few rows and beside many. Longer sums always go to oneDNN, thin results to BLAS.
MAX_SHARED_SUM = 128
MIN_ONEDNN_ROWS = 4
COLUMNS_OF_A_TILE = 16  # of a result, by which BLAS goes along

Call = tuple[Callable[..., Any], Sequence[Tensor], Tensor]  # a function, its inputs, its output


def product(a: Tensor, b: Tensor, is_over_rows: bool = False) -> Tensor:
    """``a @ b`` of two matrices; `is_over_rows` says that it sums over a batch.

    oneDNN uses all vector instructions of any processor. So does MKL, the BLAS in torch's wheels,
    on Intel's, and saves oneDNN's copies; on AMD's oneDNN takes half the time.
    """
    n_rows, n_summed = a.shape
    is_long = n_summed > MAX_SHARED_SUM and not is_over_rows
    is_faster = _is_work(a, b) and not _has_own_blas()
    if n_rows >= MIN_ONEDNN_ROWS and (is_long or is_faster) and _is_for_onednn(a):
        return _by_onednn(a, b)
    return torch.mm(a, b)


def call_into(a: Tensor, b: Tensor, out: Tensor, *, is_added: bool = False) -> Call:
    """The fastest call for ``out = a @ b``, or ``out += a @ b``, between tensors that stay.

    oneDNN only gives products in memory of its own. Copying them costs more than it gains, but for
    vectors twice as wide as those of the BLAS.
    """
    if _has_wide_vectors() and _is_work(a, b) and _is_for_onednn(a):
        return (_add_by_onednn if is_added else _write_by_onednn), (a, b), out
    if is_added:
        return _add_by_blas, (a, b), out
    leaves_a_tile_half_empty = out.shape[1] < out.shape[0] and out.shape[1] % COLUMNS_OF_A_TILE
    is_turned = leaves_a_tile_half_empty and not _has_own_blas()
    return (_turned_product if is_turned else torch.mm), (a, b), out


def _is_work(a: Tensor, b: Tensor) -> bool:
    return len(a) * b.numel() >= MIN_WORK


def _is_for_onednn(a: Tensor) -> bool:
    is_possible = a.dtype == torch.float32 and a.device.type == "cpu"
    return is_possible and _onednn_linear() is not None


def _by_onednn(a: Tensor, b: Tensor) -> Tensor:
    result: Tensor = _onednn_linear()(a, b.T, None, "none", [], "")
    return result


def _write_by_onednn(a: Tensor, b: Tensor, out: Tensor) -> None:
    out.copy_(_by_onednn(a, b))


def _add_by_onednn(a: Tensor, b: Tensor, out: Tensor) -> None:
    out.add_(_by_onednn(a, b))


def _add_by_blas(a: Tensor, b: Tensor, out: Tensor) -> None:
    torch.addmm(out, a, b, out=out)


def _turned_product(a: Tensor, b: Tensor, out: Tensor) -> None:
    out.copy_(torch.mm(b.T, a.T).T)


@functools.cache
def _has_own_blas() -> bool:
    """Whether torch's BLAS is made for this processor: MKL on Intel's, as far as names tell."""
    is_amd = re.match(r"znver|btver|bdver|amdfam|k8|opteron|athlon", binding.get_host_cpu_name())
    return torch.backends.mkl.is_available() and not is_amd


@functools.cache
def _has_wide_vectors() -> bool:
    """Whether this is AMD's Zen 5 or a later one, whose vectors have 512 bits.

    The BLAS in torch's wheels keeps to 256 on AMD's processors.
    """
    generation = re.fullmatch(r"znver(\d+)", binding.get_host_cpu_name())
    return generation is not None and int(generation[1]) >= 5


@functools.cache
def _onednn_linear() -> Any:
    """torch's call to oneDNN, or None where this build of torch has none that works."""
    try:
        linear = torch.ops.mkldnn._linear_pointwise
        a, b = (torch.ones(shape, dtype=torch.float32, device="cpu") for shape in ((2, 3), (3, 4)))
        works = torch.equal(linear(a, b.T, None, "none", [], ""), a @ b)
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return linear if works else None
