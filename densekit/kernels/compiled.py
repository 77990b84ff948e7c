"""Functions compiled to machine code by Numba."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from densekit.errors import CompiledCacheWarning, shorten

# Contraction to fused multiply-adds and division by reciprocals change the last digit only, and
# alike for every element; NaN and infinity keep their meaning.
_FLAGS = {"contract", "arcp", "nsz"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk where a folder is writable."""
    return _compile(function, _FLAGS)


def compiled_sums(function: Callable[..., Any]) -> Any:
    """Do the same, and let sums be taken in another order, which vector instructions need."""
    return _compile(function, _FLAGS | {"reassoc"})


def _compile(function: Callable[..., Any], flags: set[str]) -> Any:
    # A function that others call goes into each of them whole. Otherwise a process that compiles it
    # runs the callee's own machine code, one that finds it on disk the copy inside the caller's,
    # and the two may contract differently.
    options: dict[str, Any] = {
        "fastmath": flags,
        "error_model": "numpy",
        "nogil": True,
        "forceinline": True,
    }
    dispatcher = numba.njit(**options)(function)
    if not numba.config.DISABLE_JIT:
        with contextlib.suppress(RuntimeError):  # Numba found no folder that it may write to
            dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):
    """Machine code on disk, which is compiled anew where it cannot be read or is not as written."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        self._cache_file = _CheckedFile(
            cache_path=self.cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # reading damaged content may end in any error
            try:
                self.flush()
            except OSError as error:
                self._give_up(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:  # such as a full disk
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.disable()
        _warn_once(f"{self.cache_path!r} ({shorten(error)})")


class _CheckedFile(IndexDataCacheFile):
    """Puts a SHA-256 in front of machine code: a processor would run damaged code as it is."""

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            digest, content = file.read(32), file.read()
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("the compiled code is not as it was written")
        return pickle.loads(content)


_pid_of_warning = 0


def _warn_once(where: str) -> None:
    global _pid_of_warning
    if _pid_of_warning == os.getpid():
        return
    _pid_of_warning = os.getpid()
    warnings.warn(
        f"Compiled code cannot be kept in {where}: each process compiles it anew, which takes a "
        "while. Make room there, or set NUMBA_CACHE_DIR to another folder.",
        CompiledCacheWarning,
        stacklevel=2,
    )
