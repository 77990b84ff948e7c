"""The clock of the benchmarks."""

from __future__ import annotations

import time

import torch


def now() -> float:
    """Seconds: of the processor with one thread, so that other work beside does not count.

    With more threads than one, those on the wall.
    """
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
