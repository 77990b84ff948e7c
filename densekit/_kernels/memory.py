"""Memory that stays with the process between results."""

from __future__ import annotations

import torch

# glibc learns from freed blocks of up to 32 MiB, their headers included (mallopt(3),
# M_MMAP_THRESHOLD).
_BYTES = 2**25 - 2**16


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the results to come, in the whole process.

    By default glibc gives the memory of results back to the system, which fills it with zeros page
    by page when the next ones need it: that can take as long as all products of a flow. It does so
    less after a large block was freed: up to 64 MiB that are free at the end of its memory stay,
    and so do blocks below 32 MiB that are freed in front of one in use. Other C libraries take no
    notice.
    """
    torch.empty(_BYTES, dtype=torch.uint8, device="cpu")
