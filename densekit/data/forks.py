"""Children of a process that has computed with several threads."""

from __future__ import annotations

import functools
import os

import torch


@functools.cache
def prepare_for_forks() -> None:
    """Let children that `os.fork` makes from now on compute with one thread.

    The threads of OpenMP are not there in a child, but OpenMP believes that they are, and waits for
    them for ever; one thread needs no other. Called where work begins, so that an import
    does nothing.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
