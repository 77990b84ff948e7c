"""A limit to what rebuilding may allocate, whatever sizes a file claims."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densekit.data.initialisation import LightDispatchMode
from densekit.exceptions import AlteredFileError

# Loading may take ten times the file's size and 100 MB. Reading takes twice the size, decoding as
# much as the description, and the rest is given out from here: to arrays, texts, objects and to
# what building allocates, as long as it is held. What building allocates in all, most of it for a
# moment, bounds its time: densekit's own densities take up to eleven bytes for a stored one, and
# eight steps for a tensor, of some 20 microseconds each.
BYTES_AT_LEAST = 2**26
BYTES_PER_STORED_BYTE = 6
HELD_BYTES_AT_LEAST = 2**24  # of those, for building, which also holds lists that nobody counts
HELD_BYTES_PER_STORED_BYTE = 4  # densekit's own densities hold up to 2.7
PASSING_BYTES_AT_LEAST = 2**28
PASSING_BYTES_PER_STORED_BYTE = 48
BYTES_OF_A_NUMBER = 8  # or what the inputs' own take, if more
STEPS_AT_LEAST = 1000
STEPS_PER_TENSOR = 24
MAX_STEPS = 2**15
SECONDS_AT_LEAST = 5.0  # of the processor, where other steps take milliseconds
STORED_BYTES_PER_SECOND = 2**24
# Their results hold no more numbers than their tensors do together.
_NO_LONGER = {torch.ops.aten.cat.default, torch.ops.aten.all.default}


class Allowance:
    """How many bytes are left to all that is made of a file: one total for every kind of thing.

    Parameters
    ----------
    n_bytes : int
        What the file's tensors and its description hold.
    """

    def __init__(self, n_bytes: int):
        self._n_left = BYTES_AT_LEAST + BYTES_PER_STORED_BYTE * n_bytes
        self._n_left_to_build = HELD_BYTES_AT_LEAST + HELD_BYTES_PER_STORED_BYTE * n_bytes

    def take(self, n_bytes: int) -> None:
        """Count bytes that are about to be allocated; raise an AlteredFileError if too many."""
        self._n_left -= n_bytes
        self._refuse_if_used_up()

    def take_to_build(self, n_bytes: int) -> None:
        """Do the same for what building holds until it calls `give_back`."""
        self._n_left_to_build -= n_bytes
        self.take(n_bytes)

    def give_back(self, n_bytes: int) -> None:
        """Count bytes of building that are free again."""
        self._n_left_to_build += n_bytes
        self._n_left += n_bytes

    def _refuse_if_used_up(self) -> None:
        if self._n_left < 0 or self._n_left_to_build < 0:
            raise AlteredFileError(
                "its description asks for far more memory than its tensors would fill"
            )


class Budget(LightDispatchMode):
    """Refuse torch's operations once they allocate, or take, far more than a file bears out.

    The size of each result is first taken from the shapes of the inputs, or asked of torch, which
    takes no memory.

    Parameters
    ----------
    allowance : Allowance
        Of bytes, which others take from too.
    tensors : collection of Tensor
        What the file holds.
    """

    def __init__(self, allowance: Allowance, tensors: Collection[Tensor]):
        super().__init__()
        self._allowance = allowance
        n_filled = sum(tensor.numel() > 0 for tensor in tensors)  # empty ones cost a file nothing
        self._n_steps = min(STEPS_AT_LEAST + STEPS_PER_TENSOR * n_filled, MAX_STEPS)
        n_bytes = sum(tensor.nbytes for tensor in tensors)
        self._n_passing = PASSING_BYTES_AT_LEAST + PASSING_BYTES_PER_STORED_BYTE * n_bytes
        seconds = SECONDS_AT_LEAST + n_bytes / STORED_BYTES_PER_SECOND
        self._end = time.thread_time() + seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        n_bytes = _bytes_of_result(func, args, kwargs)
        self._n_steps -= 1
        self._n_passing -= n_bytes
        if self._n_steps < 0 or self._n_passing < 0 or time.thread_time() > self._end:
            raise AlteredFileError(
                "its description asks for far more building steps than its tensors need"
            )
        self._allowance.take_to_build(n_bytes)
        result = func(*args, **kwargs)
        self._allowance.give_back(n_bytes - self._held(result, args, kwargs))
        return result

    def _held(self, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Bytes of a result's own memory, which are given back once nothing holds it."""
        known = {t.untyped_storage()._cdata for t in _tensors((*args, *kwargs.values()))}
        n_bytes = 0
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata in known or tensor.device.type == "meta":
                continue
            known.add(storage._cdata)
            size = storage.nbytes()
            n_bytes += size
            weakref.finalize(storage, self._allowance.give_back, size).atexit = False
        return n_bytes


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
    lists = [part if isinstance(part, tuple | list) else [part] for part in parts]
    return [part for inner in lists for part in inner if isinstance(part, Tensor)]


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple | list):
        return type(value)(map(_on_meta, value))
    return value
