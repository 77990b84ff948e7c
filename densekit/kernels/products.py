"""Matrix products by the fastest library at hand."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

MIN_WORK = 2**19  # multiplications from which oneDNN's start-up is paid back
MIN_TRAINING_WORK = 2**23  # the same where small products follow one another, their inputs cached
# oneDNN and BLAS add up in the same order where neither splits the sum, so that a row's score is
# the same beside few rows and beside many. Longer sums always go to oneDNN, thin results to BLAS.
MAX_SHARED_SUM = 128
MIN_ONEDNN_ROWS = 4
COLUMNS_OF_A_TILE = 16  # of a result, by which BLAS goes along


def product(a: Tensor, b: Tensor, is_over_rows: bool = False) -> Tensor:
    """``a @ b`` of two matrices; `is_over_rows` says that it sums over a batch.

    oneDNN uses all vector instructions of any processor; the BLAS in torch's wheels does not on
    AMD's, where oneDNN takes half the time.
    """
    n_rows, n_summed = a.shape
    is_long = n_summed > MAX_SHARED_SUM and not is_over_rows
    is_worth_it = is_long or n_rows * b.numel() >= MIN_WORK
    is_possible = a.dtype == torch.float32 and a.device.type == "cpu"
    if is_possible and is_worth_it and n_rows >= MIN_ONEDNN_ROWS:
        linear = _onednn_linear()
        if linear is not None:
            result: Tensor = linear(a, b.T, None, "none", [], "")
            return result
    return torch.mm(a, b)


def product_into(a: Tensor, b: Tensor, out: Tensor) -> None:
    """``out = a @ b`` in training, where rounding may differ from batch to batch."""
    if a.shape[0] * b.numel() >= MIN_TRAINING_WORK and a.dtype == torch.float32:
        out.copy_(product(a, b, is_over_rows=True))
    elif out.shape[1] < out.shape[0] and out.shape[1] % COLUMNS_OF_A_TILE:
        out.copy_(torch.mm(b.T, a.T).T)  # which leaves no tile half empty
    else:
        torch.mm(a, b, out=out)


@functools.cache
def _onednn_linear() -> Any:
    """torch's call to oneDNN, or None where this build of torch has none that works."""
    try:
        linear = torch.ops.mkldnn._linear_pointwise
        a, b = torch.ones(2, 3), torch.ones(3, 4)
        works = torch.equal(linear(a, b.T, None, "none", [], ""), a @ b)
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return linear if works else None
