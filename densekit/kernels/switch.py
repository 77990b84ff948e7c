"""Whether the fast path may be taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numba
import torch
from torch import Tensor

_is_plain: ContextVar[bool] = ContextVar("densekit_plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Take the plain path inside this context: ordinary operations that autograd records.

    It is slower and gives the same numbers up to rounding. Derivatives of derivatives need it.

    Examples
    --------
    >>> import torch
    >>> from densekit import kernels
    >>> from densekit.transforms import Coupling
    >>> x = torch.zeros(1, 2, requires_grad=True)
    >>> with kernels.plain():
    ...     z, log_det = Coupling((2,))(x)
    """
    token = _is_plain.set(True)
    try:
        yield
    finally:
        _is_plain.reset(token)


def is_usable(
    *tensors: Tensor, dtypes: Collection[torch.dtype] = (torch.float32, torch.float64)
) -> bool:
    """Whether kernels for these dtypes can take these tensors: real, all of one dtype, and outside
    torch.func and forward-mode AD."""
    return not (
        _is_plain.get()
        or numba.config.DISABLE_JIT  # by NUMBA_DISABLE_JIT=1: kernels would run as slow Python
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or any(t.device.type != "cpu" or t.dtype not in dtypes for t in tensors)
        or len({t.dtype for t in tensors}) > 1
    )
