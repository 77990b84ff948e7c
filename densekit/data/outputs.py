"""Where results go: no output is an input, a file is there whole or not at all, stdout too."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from densekit.data.table import STANDARD_INPUT
from densekit.errors import OutputError, TableError

PARTIAL_SUFFIX = ".densekit-partial"
STANDARD_OUTPUT = STANDARD_INPUT
MAX_BYTES_OF_A_NAME = 100  # inside the name of a draft: systems allow 255 for the whole
N_ATTEMPTS = 100  # to make a draft that no other process removes; the second one succeeds


def check_place(path: Path) -> None:
    """Check that a file can be made here: its folder exists, and no folder has its name.

    Raises
    ------
    TableError
        A ValueError that says which.
    OutputError
        A ValueError: the path is ``-``.
    """
    if str(path) == STANDARD_OUTPUT:
        raise OutputError("This does not go to standard output; give a file as --out.")
    if not path.parent.is_dir():
        raise TableError(f"There is no folder {str(path.parent)!r} to write {path.name!r} into.")
    if path.exists() and not path.is_file():
        raise TableError(f"{path} is there and is no file; choose another name.")


def check_no_input_is_replaced(
    outputs: Mapping[str, str | Path | None], inputs: Mapping[str, str | Path | None]
) -> None:
    """Refuse outputs that are one of the inputs, or one another, however their paths are spelled.

    Parameters
    ----------
    outputs, inputs : mapping from a name to a path
        None is left out, and ``-`` is standard output or input.

    Raises
    ------
    OutputError
        A ValueError that names both.
    """
    known = {name: _identity(path, 0) for name, path in inputs.items() if path is not None}
    written: dict[str, Any] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        found = _identity(path, 1)
        clash = next((other for other, file in known.items() if file == found is not None), None)
        if clash is not None:
            raise OutputError(
                f"{name} ({_shown(path, 'output')}) is {clash} "
                f"({_shown(inputs[clash], 'input')}) itself, which would be lost; choose another "
                "name."
            )
        place = found or os.path.realpath(path)
        twin = next((other for other, file in written.items() if file == place), None)
        if twin is not None and str(path) != STANDARD_OUTPUT:
            raise OutputError(f"{name} and {twin} are one file ({path}); give each its own.")
        written[name] = place


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a draft that takes the place of `path` when the block ends without an error.

    An old file's permissions are kept. A draft that a killed process left is removed.
    """
    path = path.resolve()
    _remove_stale(path)
    file, draft = _new_draft(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError, AttributeError):  # Windows has no fchmod
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            if os.name != "nt":  # under its lock, so that nobody takes it for a stale one
                os.replace(draft, path)
        if os.name == "nt":
            os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


class StandardOutput:
    """Bytes to standard output, all of them or an error: a raw stream may take a part only."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputError("Standard output is closed; open it, or give a file as --out.")
        sys.stdout.flush()
        self._stream: Any = sys.stdout.buffer

    def write(self, content: bytes) -> int:
        """Write everything."""
        rest = memoryview(content)
        with self._explained():
            while rest:
                n_written = self._stream.write(rest)
                if n_written is None:
                    raise BlockingIOError("it takes nothing for now, and does not wait")
                rest = rest[n_written:]
        return len(content)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        with self._explained():
            self._stream.flush()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # the reader has enough, which is no error of ours
            raise
        except (OSError, ValueError) as error:
            self._abandon()
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"Standard output cannot be written: {reason}.") from error

    def _abandon(self) -> None:
        """Let Python's own flush at the end go nowhere, or it would fail once more."""
        with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _identity(path: str | Path, descriptor: int) -> tuple[int, int] | None:
    """Device and number of a regular file; None of what is none, or is not there."""
    try:
        found = os.fstat(descriptor) if str(path) == STANDARD_INPUT else os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _shown(path: Any, stream: str) -> str:
    return f"standard {stream}" if str(path) == STANDARD_INPUT else str(path)


def _new_draft(path: Path) -> tuple[BinaryIO, Path]:
    """A new locked file beside `path`, under a name that no other writer has."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for _ in range(N_ATTEMPTS):
        name = f"{_draft_start(path)}{secrets.token_hex(8)}{PARTIAL_SUFFIX}"
        draft = path.with_name(name)
        file: BinaryIO = open(os.open(draft, flags, 0o666), "w+b")  # noqa: SIM115
        if _lock(file) and draft.exists():
            return file, draft
        file.close()  # another process took it for a stale one before it was locked
    raise OutputError(f"{path} cannot be written: other processes remove its drafts.")


def _draft_start(path: Path) -> str:
    name = os.fsencode(path.name)
    if len(name) > MAX_BYTES_OF_A_NAME:
        digest = hashlib.sha256(name).hexdigest()[:16]
        return f".{name[:MAX_BYTES_OF_A_NAME].decode(errors='ignore')}.{digest}."
    return f".{path.name}."


def _lock(file: BinaryIO) -> bool:
    """Lock a file for this process; False where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows, where an open file cannot be removed anyway
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(path: Path) -> None:
    """Remove drafts that killed processes left; one that is being written is locked."""
    form = re.compile(f"{re.escape(_draft_start(path))}[0-9a-f]{{16}}{re.escape(PARTIAL_SUFFIX)}")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            if form.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    if _lock(file):
                        os.unlink(entry.path)
