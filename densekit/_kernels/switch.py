"""Whether the fast path may be taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from densekit._kernels.library import load

_is_plain: ContextVar[bool] = ContextVar("densekit_plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Take the plain path inside this context: ordinary operations that autograd records.

    It is slower and gives the same numbers up to rounding. Derivatives of derivatives need it.

    Examples
    --------
    >>> import torch
    >>> import densekit
    >>> from densekit.transforms import Coupling
    >>> x = torch.zeros(1, 2, requires_grad=True)
    >>> with densekit.plain():
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
    """Whether the fast path can take these tensors: real, all of one dtype, and outside torch.func
    and forward-mode AD."""
    return not (
        _is_plain.get()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or any(t.device.type != "cpu" or t.dtype not in dtypes for t in tensors)
        or len({t.dtype for t in tensors}) > 1
        or load() is None
    )
