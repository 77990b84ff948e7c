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
_lock = threading.Lock()
_n_inside, _n_before = 0, 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside this context, and as many as before behind it.

    Threads of one product wait for each other: beside other programs, for far longer than the
    product takes.
    """
    global _n_inside, _n_before
    with _lock:
        if _n_inside == 0:
            _n_before = torch.get_num_threads()
            if _n_before > 1:
                torch.set_num_threads(1)
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0 and _n_before > 1:
                torch.set_num_threads(_n_before)


def n_threads() -> int:
    """How many threads torch was given, also inside `one_thread`."""
    return _n_before if _n_inside else torch.get_num_threads()


def map_parts(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Apply a function to parts without gradients, side by side, each part by one thread."""
    n_workers = min(n_threads(), len(parts))
    if n_workers < 2 or threading.current_thread().name.startswith(_NAME):
        return [function(part) for part in parts]

    def run(part: Part) -> Result:
        with torch.no_grad():
            return function(part)

    with one_thread(), ThreadPoolExecutor(n_workers, _NAME, torch.set_num_threads, (1,)) as pool:
        contexts = [contextvars.copy_context() for _ in parts]
        futures = [
            pool.submit(context.run, run, part)
            for context, part in zip(contexts, parts, strict=True)
        ]
        return [future.result() for future in futures]


_NAME = "densekit"
