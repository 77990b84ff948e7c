"""How many threads work: one for small work, and one for each part of large work."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")
_own = threading.local()  # threads have counts of their own


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside this context, and as many as before behind it.

    Threads of one product wait for each other: beside other programs, for far longer than the
    product takes.
    """
    if getattr(_own, "n_before", None) is not None:
        yield
        return
    _own.n_before = torch.get_num_threads()
    try:
        if _own.n_before > 1:
            torch.set_num_threads(1)
        yield
    finally:
        n_before, _own.n_before = _own.n_before, None
        if n_before > 1:
            torch.set_num_threads(n_before)


def n_threads() -> int:
    """How many threads torch was given, also inside `one_thread`."""
    return getattr(_own, "n_before", None) or torch.get_num_threads()


def map_parts(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Apply a function to parts without gradients, side by side, each part by one thread."""
    n_workers = min(n_threads(), len(parts))
    if n_workers < 2:
        return [function(part) for part in parts]

    def run(part: Part) -> Result:
        with torch.no_grad():
            return function(part)

    with one_thread(), ThreadPoolExecutor(n_workers, initializer=_begin_part) as pool:
        contexts = [contextvars.copy_context() for _ in parts]
        futures = [
            pool.submit(context.run, run, part)
            for context, part in zip(contexts, parts, strict=True)
        ]
        return [future.result() for future in futures]


def _begin_part() -> None:
    """Let a thread that works on parts neither use threads nor split its part again."""
    torch.set_num_threads(1)
    _own.n_before = 1
