"""Files that are there whole or not at all: a new one takes the place of the old one at once."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_DRAFT_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_OPEN_FILES = Path("/proc/self/fd")  # where Linux shows files that have no name


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block has ended.

    A kill at any moment leaves the old file or the new one. Where the system can (Linux, on usual
    file systems), the new file has no name while it is written, so that a kill leaves nothing else;
    elsewhere it is ``.densekit-….tmp`` in the same folder, with random letters that no other writer
    has. An old file's mode and, where that is allowed, its owner are kept; a new one's are those
    that the process gives to any file. Through a link its target is written.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        There is no such folder, it cannot be written, or `path` is no regular file.
    """
    target = Path(os.path.realpath(path))
    before = _status(target)
    draft = target.with_name(f".densekit-{secrets.token_hex(12)}.tmp")
    # An old file may be private: the new one is, until it gets the old one's mode.
    descriptor, has_name = _open_draft(draft, 0o666 if before is None else 0o600)
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            if before is not None:
                _keep_owner_and_mode(file.fileno(), before)
            os.fsync(file.fileno())
            if not has_name:
                _give_name(file, draft)
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _status(target: Path) -> os.stat_result | None:
    """The status of a file that is there already; None where there is none."""
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", os.fspath(target.parent))
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(
            errno.EISDIR, "This is a folder; give the name of a file in it", os.fspath(target)
        )
    if not stat.S_ISREG(found.st_mode):
        raise OSError(
            errno.EINVAL,
            "This is a device, a pipe or a socket, which a file would replace; choose another name",
            os.fspath(target),
        )
    return found


def _open_draft(draft: Path, mode: int) -> tuple[int, bool]:
    """Open a file without a name where that can be done; also say whether it has one."""
    if hasattr(os, "O_TMPFILE") and _OPEN_FILES.is_dir():
        with contextlib.suppress(OSError):  # this file system knows none
            return os.open(draft.parent, _DRAFT_FLAGS | os.O_TMPFILE, mode), False
    return os.open(draft, _DRAFT_FLAGS | os.O_CREAT | os.O_EXCL, mode), True


def _give_name(file: BinaryIO, draft: Path) -> None:
    """Let a file without a name be `draft`."""
    folder = os.open(draft.parent, os.O_PATH)
    try:
        # With folders given, os.link follows the link that /proc shows.
        source = _OPEN_FILES / str(file.fileno())
        os.link(source, draft.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:  # a sandbox may forbid it
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        with open(os.open(draft, _DRAFT_FLAGS | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fchmod(copy.fileno(), mode)
            os.fsync(copy.fileno())
    finally:
        os.close(folder)


def _keep_owner_and_mode(descriptor: int, before: os.stat_result) -> None:
    if not hasattr(os, "fchmod"):  # Windows, where neither means much
        return
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power failure, where a system lets folders be opened."""
    with contextlib.suppress(OSError):  # the file is in place, whatever comes now
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
