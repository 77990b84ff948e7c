"""A limit to what rebuilding may allocate, whatever sizes a file claims."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from densekit.errors import AlteredFileError

# densekit's own densities take below three bytes for a stored one, and eight steps for a tensor.
BYTES_AT_LEAST = 2**22
BYTES_PER_STORED_BYTE = 16
BYTES_OF_A_NUMBER = 8  # or what the inputs' own take, if more
STEPS_AT_LEAST = 500
STEPS_PER_TENSOR = 32
# Their results hold no more numbers than their tensors do together.
_NO_LONGER = {torch.ops.aten.cat.default, torch.ops.aten.all.default}


class Budget(TorchDispatchMode):
    """Refuse torch's operations once their results are larger, all together, than a file bears out.

    The size of each result is first taken from the shapes of the inputs, or asked of torch, which
    takes no memory.

    Parameters
    ----------
    n_bytes, n_tensors : int
        What the file holds.
    """

    def __init__(self, n_bytes: int, n_tensors: int):
        super().__init__()
        self._bytes = BYTES_AT_LEAST + BYTES_PER_STORED_BYTE * n_bytes
        self._steps = STEPS_AT_LEAST + STEPS_PER_TENSOR * n_tensors

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: to hide from torch.compile, torch would import it, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._steps -= 1
        self._bytes -= _bytes_of_result(func, args, kwargs)
        if self._bytes < 0 or self._steps < 0:
            raise AlteredFileError(
                "its description asks for a far larger model than its tensors would fill"
            )
        return func(*args, **kwargs)


def _bytes_of_result(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Size of what an operation would allocate; views and changes in place allocate nothing."""
    if func.is_view or func._schema.is_mutable:
        return 0
    # For some of these, torch would import its compiler to ask, which takes seconds.
    if func in _NO_LONGER:
        tensors = _tensors(args[0])
        return _bytes_of_a_number(tensors) * sum(tensor.numel() for tensor in tensors)
    if torch.Tag.pointwise in func.tags:
        tensors = _tensors(args)
        n_numbers = math.prod(np.broadcast_shapes(*(tensor.shape for tensor in tensors)))
        return len(func._schema.returns) * _bytes_of_a_number(tensors) * n_numbers
    twins = {key: _on_meta(value) for key, value in kwargs.items() if key != "generator"}
    if "device" in twins:
        twins["device"] = torch.device("meta")
    try:
        result = func(*map(_on_meta, args), **twins)
    except (NotImplementedError, RuntimeError):  # a result that depends on values is no larger
        sizes = (tensor.numel() * max(1, tensor.ndim) for tensor in _tensors(args))
        return BYTES_OF_A_NUMBER * sum(sizes)
    return sum(tensor.nbytes for tensor in _tensors(result))


def _bytes_of_a_number(tensors: list[Tensor]) -> int:
    """The most that a number takes in the result of an operation on tensors."""
    return max([BYTES_OF_A_NUMBER, *(tensor.itemsize for tensor in tensors)])


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of what an operation takes or gives."""
    parts = value if isinstance(value, tuple | list) else [value]
    return [part for part in parts if isinstance(part, Tensor)]


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple | list):
        return type(value)(map(_on_meta, value))
    return value
