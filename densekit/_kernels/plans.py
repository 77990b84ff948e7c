"""The compiled steps of a chain of layers for rows without gradients, kept from call to call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from densekit._kernels.steps import CompiledStep, PlainStep


class Plan:
    """Steps, and the parameters and buffers that they were made of, at which pointers lead."""

    def __init__(self, module: nn.Module, steps: list[CompiledStep]):
        # Where all layers are plain, there is nothing to gain.
        self.steps = None if all(isinstance(step, PlainStep) for step in steps) else steps
        self._watched: list[tuple[dict[str, Any], str, Tensor, int, int]] = [
            (held, name, tensor, tensor._version, tensor.data_ptr())
            for part in module.modules()
            for held in (part._parameters, part._buffers)
            for name, tensor in held.items()
            if tensor is not None
        ]

    def is_current(self) -> bool:
        """Whether each tensor is the same, where it was, and was not written to."""
        return all(
            held[name] is tensor and tensor._version == version and tensor.data_ptr() == pointer
            for held, name, tensor, version, pointer in self._watched
        )


# Plans that are free: a thread takes one while it works, so that no two share memory.
_free: WeakKeyDictionary[nn.Module, list[Plan]] = WeakKeyDictionary()


@contextmanager
def steps_of(
    module: nn.Module, build: Callable[[], list[CompiledStep]]
) -> Iterator[list[CompiledStep] | None]:
    """The steps of a module for one pass; None where the plain way is as fast."""
    plans = _free.setdefault(module, [])
    plan = None
    while plans and plan is None:
        try:
            plan = plans.pop()
        except IndexError:  # another thread was quicker
            break
        if not plan.is_current():
            plan = None
    if plan is None:
        with torch.inference_mode(False), torch.no_grad():
            plan = Plan(module, build())
    yield plan.steps
    plans.append(plan)
