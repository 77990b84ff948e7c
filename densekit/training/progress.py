"""Progress bars."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tqdm.auto import tqdm


def progress_bar(*, is_shown: bool, **options: Any) -> AbstractContextManager[tqdm[Any] | None]:
    """Open a bar of tqdm's, or none: one that is not shown would start tqdm's thread all the same.

    Parameters
    ----------
    is_shown : bool
    **options
        For ``tqdm``.
    """
    return tqdm(**options) if is_shown else nullcontext()
