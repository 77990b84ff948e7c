"""Where results go: no output is an input, and standard output is written whole or fails."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from densekit.cli.io.table import STANDARD_INPUT
from densekit.exceptions import OutputError, TableError

STANDARD_OUTPUT = STANDARD_INPUT


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


class StandardOutput:
    """Bytes to standard output, all of them or an error: a raw stream may take a part only."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputError("Standard output is closed; open it, or give a file as --out.")
        self._stream: Any = sys.stdout.buffer
        with self.explained():
            sys.stdout.flush()

    def write(self, content: bytes) -> int:
        """Write everything."""
        rest = memoryview(content)
        with self.explained():
            while rest:
                n_written = self._stream.write(rest)
                if n_written is None:
                    raise BlockingIOError("it takes nothing for now, and does not wait")
                rest = rest[n_written:]
        return len(content)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        with self.explained():
            self._stream.flush()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say what is wrong where something inside cannot be written."""
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
