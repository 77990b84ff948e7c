"""Initial weights from a private generator, in one dtype, whatever the process is set to."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from densekit.data.seeds import draw_seed

DTYPE = torch.float32  # of initial weights, which are cast to the density's own dtype afterwards
_OF_A_SHAPE = {torch.rand, torch.randn, torch.normal, torch.empty}
_CONVERSIONS = {Tensor.double, Tensor.float, Tensor.half, Tensor.bfloat16}
_lending = threading.Lock()


@contextmanager
def seeded_initialisation(generator: torch.Generator) -> Iterator[None]:
    """Let modules that are built inside draw their initial weights by a private seed.

    Only this thread is concerned, and torch's default generators are neither read nor moved:
    every operation of torch that draws gets a generator of its own, those of other authors' layers
    too. They draw the numbers that torch's default generator would give after `manual_seed`.
    Tensors without a dtype are of `DTYPE`, whatever `torch.set_default_dtype` says.
    """
    with _PrivateDraws(draw_seed(generator)):
        if torch.get_default_dtype() == DTYPE:
            yield
        else:
            with _FixedDtype():
                yield


class LightDispatchMode(TorchDispatchMode):
    """A mode that does without torch's compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: to hide from torch.compile, torch would import it, which takes seconds."""
        return False


class _PrivateDraws(LightDispatchMode):
    """Give operations that draw from a default generator a private one instead."""

    def __init__(self, seed: int):
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or kwargs.get("generator"):
            return func(*args, **kwargs)
        device = _device(args, kwargs)
        if device.type == "meta":
            return func(*args, **kwargs)
        source = self._generator(device)
        seeded = _with_generator(func)
        if seeded is not None:
            return seeded(*args, **kwargs | {"generator": source})
        # The few that take no generator, such as dropout, which no constructor is known to call:
        # for the time of the call they are lent the default one, whose state comes back.
        others = [] if device.type == "cpu" else [device]
        module = torch.get_device_module(device) if others else torch.default_generator
        with _lending, torch.random.fork_rng(others, device_type=device.type if others else "cuda"):
            module.manual_seed(draw_seed(source))
            return func(*args, **kwargs)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


class _FixedDtype(TorchFunctionMode):
    """Let tensors be of `DTYPE` where they would be of another default dtype."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = list(_leaves((args, tuple(kwargs.values()))))
        if func in _CONVERSIONS or any(_has_dtype(value) for value in given):
            return func(*args, **kwargs)
        if func in _OF_A_SHAPE:  # the dtype decides which numbers are drawn
            return func(*args, **kwargs | {"dtype": DTYPE})
        result = func(*args, **kwargs)
        is_default = isinstance(result, Tensor) and result.dtype == torch.get_default_dtype()
        if not is_default:
            return result
        if any(isinstance(value, Tensor) for value in given):  # of whole numbers, as in n / 3
            return func(*_as_numbers(args), **{k: _as_numbers(v) for k, v in kwargs.items()})
        try:
            return func(*args, **kwargs | {"dtype": DTYPE})
        except TypeError:  # a function that takes no dtype
            return result.to(DTYPE)


def _as_numbers(value: Any) -> Any:
    """Arguments with tensors of whole numbers as tensors of `DTYPE`."""
    if isinstance(value, tuple | list):
        return type(value)(map(_as_numbers, value))
    return value.to(DTYPE) if isinstance(value, Tensor) else value


def _has_dtype(value: Any) -> bool:
    """Whether an argument decides the dtype of a result, so that the default one does not."""
    if isinstance(value, Tensor):
        return value.is_floating_point() or value.is_complex()
    return isinstance(value, torch.dtype | np.ndarray | np.generic)


@functools.cache
def _with_generator(func: Any) -> Any:
    """The overload of an operation that takes a generator and the same other arguments."""
    names = {argument.name for argument in func._schema.arguments}
    packet = func.overloadpacket
    for overload in (func, *(getattr(packet, name) for name in packet.overloads())):
        if {argument.name for argument in overload._schema.arguments} == names | {"generator"}:
            return overload
    return None


def _device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Where an operation draws."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    tensors = [v for v in _leaves((args, tuple(kwargs.values()))) if isinstance(v, Tensor)]
    return tensors[0].device if tensors else torch.device("cpu")


def _leaves(value: Any) -> Iterator[Any]:
    """What stands inside lists and tuples of arguments."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
