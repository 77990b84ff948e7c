"""The clock of the benchmarks."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import torch


def now() -> float:
    """Seconds: of the processor with one thread, so that other work beside does not count.

    With more threads than one, those on the wall.
    """
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def processor() -> str:
    """The name of the processor, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
