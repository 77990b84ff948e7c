"""Matrix products by the fastest library at hand."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MIN_WORK = 2**19  # multiplications from which oneDNN's start-up is paid back
# oneDNN and BLAS add up in the same order where neither splits the sum, so that a row's score is
# the same beside few rows and beside many. Longer sums always go to oneDNN, thin results to BLAS.
MAX_SHARED_SUM = 128
MIN_ONEDNN_ROWS = 4
ZEN_5 = 26  # the family of AMD's processors from which vectors have 512 bits

Call = tuple[Callable[..., Any], Sequence[Tensor], Tensor]  # a function, its inputs, its output


def product(a: Tensor, b: Tensor, is_over_rows: bool = False) -> Tensor:
    """``a @ b`` of two matrices; `is_over_rows` says that it sums over a batch."""
    return _by_onednn(a, b) if _goes_to_onednn(a, b, is_over_rows) else torch.mm(a, b)


def call_into(a: Tensor, b: Tensor, out: Tensor, *, learns: bool) -> Call:
    """The fastest call for ``out = a @ b`` between tensors that stay.

    oneDNN only gives products in memory of its own. In training copying them costs more than it
    gains, but for vectors twice as wide as those of the BLAS.
    """
    if learns:
        by_onednn = _amd_family() >= ZEN_5 and _is_work(a, b) and _is_for_onednn(a)
    else:
        by_onednn = _goes_to_onednn(a, b, is_over_rows=False)
    return (_write_by_onednn if by_onednn else torch.mm), (a, b), out


def _goes_to_onednn(a: Tensor, b: Tensor, is_over_rows: bool) -> bool:
    """Whether oneDNN is faster, or keeps a row's score the same beside many rows.

    oneDNN uses all vector instructions of any processor. So does MKL, the BLAS in torch's wheels,
    on Intel's, and saves oneDNN's copies; on AMD's oneDNN takes half the time.
    """
    n_rows, n_summed = a.shape
    is_long = n_summed > MAX_SHARED_SUM and not is_over_rows
    is_faster = _is_work(a, b) and _amd_family() > 0
    return n_rows >= MIN_ONEDNN_ROWS and (is_long or is_faster) and _is_for_onednn(a)


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


@functools.cache
def _amd_family() -> int:
    """The family of a processor of AMD's, on which MKL does not use all vector instructions; 0 for
    others, and where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return 0
    family = re.search(r"^cpu family\s*: (\d+)$", text, re.MULTILINE)
    return int(family[1]) if family is not None and "AuthenticAMD" in text else 0


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
