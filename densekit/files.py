"""The one container of everything that densekit writes: a safetensors file with a checksum.

The header's ``__metadata__`` holds one text, ``densekit``: JSON with the kind of content, the
number of the format, a SHA-256 over the whole file (with zeros where its own digits stand), and
the content's description. Reading runs no code that a file could choose: no pickle anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from densekit.errors import (
    AlteredFileError,
    ModelFileError,
    NewerFormatError,
    NotAModelFileError,
    TruncatedFileError,
)

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1  # goes up when an older densekit could not read what is written
KEY = "densekit"
MAX_HEADER_BYTES = 2**23  # descriptions take kilobytes; arrays are tensors and not in here
_LENGTH_BYTES = 8
_NO_DIGEST = "0" * 64
_CHUNK_BYTES = 2**20
_DRAFT_END = ".tmp"


class Container(NamedTuple):
    """What a file holds: a description of JSON's types, and tensors on the CPU."""

    description: dict[str, Any]
    tensors: dict[str, Tensor]


def write(
    path: str | os.PathLike[str],
    kind: str,
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> None:
    """Write a container so that a kill at any moment leaves the old file or the new one.

    Parameters
    ----------
    path : str or path-like
        Is replaced if it is there; a link's target is.
    kind : str
        What `read` must ask for, such as "model".
    description : mapping
        Of JSON's types; numbers must be finite.
    tensors : mapping from names to Tensors

    Raises
    ------
    OSError
        The folder is not there, or cannot be written; an old file is as it was.
    """
    from safetensors.torch import save

    envelope = {"kind": kind, "format": FORMAT, "sha256": _NO_DIGEST, "content": description}
    text = json.dumps(envelope, allow_nan=False, ensure_ascii=True)
    content = save(_for_disk(tensors), {KEY: text})
    n_bytes = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if n_bytes > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"The description of what should go to {os.fspath(path)!r} takes {n_bytes:,} bytes, "
            f"expected {MAX_HEADER_BYTES:,} at most; store large values as arrays."
        )
    start = content.index(_digest_field(_NO_DIGEST)) + len(_digest_field(""))
    digest = hashlib.sha256(content).hexdigest().encode()
    with _replacing(Path(os.path.realpath(path))) as file:
        file.write(content[:start])
        file.write(digest)
        file.write(memoryview(content)[start + len(digest) :])


def read(path: str | os.PathLike[str], kind: str) -> Container:
    """Read a container, once its size, its checksum and its format are known to be right.

    Takes memory for about twice the file's size, whatever the file says.

    Raises
    ------
    NotAModelFileError, TruncatedFileError, AlteredFileError, NewerFormatError
        ModelFileErrors, which are ValueErrors.
    OSError
        The file cannot be opened.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    who = repr(os.fspath(path))
    header, content = _read_checked(path, who)
    description = _open_envelope(header, kind, who)
    del header
    try:
        return Container(description, load(content))
    except (SafetensorError, AssertionError, KeyError, RuntimeError) as error:
        raise AlteredFileError(f"{who} holds no proper tensors: {error}") from None


def read_description(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read what `read` would return first; the file is checked as a whole."""
    who = repr(os.fspath(path))
    return _open_envelope(_read_checked(path, who, is_kept=False)[0], kind, who)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, and drafts of it that a kill left; nobody else may be writing it."""
    whole = Path(os.path.realpath(path))
    for left in (whole, *whole.parent.glob(f"{glob.escape(_draft_start(whole))}*{_DRAFT_END}")):
        left.unlink(missing_ok=True)


def _for_disk(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU where tensors are not, or share memory, which files cannot."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage()
        is_alone = storage.nbytes() == plain.nbytes and storage.data_ptr() not in seen
        found[name] = plain if is_alone else plain.clone()
        seen.add(storage.data_ptr())
    return found


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside `path` that takes its place once it is safely on the disk."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", os.fspath(path.parent))
    draft = path.with_name(f"{_draft_start(path)}{secrets.token_hex(8)}{_DRAFT_END}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(draft, flags, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _draft_start(path: Path) -> str:
    return f".{path.name[:100]}."


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power failure, where a system lets folders be opened."""
    with contextlib.suppress(PermissionError):  # Windows does not
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_checked(
    path: str | os.PathLike[str], who: str, *, is_kept: bool = True
) -> tuple[bytes, bytes]:
    """The header and, if it is to be kept, the whole file, whose checksum was right."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(_LENGTH_BYTES)
        n_bytes = int.from_bytes(start, "little")
        if len(start) < _LENGTH_BYTES or not 2 <= n_bytes <= MAX_HEADER_BYTES:
            raise NotAModelFileError(f"{who} is no file of densekit's, or damaged at its start.")
        header = file.read(n_bytes)
        if header[:1] != b"{":
            raise NotAModelFileError(f"{who} is no file of densekit's, or damaged at its start.")
        if len(header) < n_bytes:
            raise TruncatedFileError(_cut_off(who, size))
        parsed = _parse(header, who)
        expected = _LENGTH_BYTES + n_bytes + _n_data_bytes(parsed, who)
        if size < expected:
            raise TruncatedFileError(_cut_off(who, size, expected))
        if size > expected:
            raise AlteredFileError(
                f"{who} has {size:,} bytes, expected {expected:,}; something was added to it."
            )
        rest = _check_digest(file, start + header, _digest_of(parsed, who), who, is_kept=is_kept)
    return header, start + header + rest


def _check_digest(
    file: BinaryIO, start: bytes, digest: str, who: str, *, is_kept: bool
) -> bytearray:
    """Compare the checksum of the start and the rest of a file; return the rest."""
    field = _digest_field(digest)
    if start.count(field) != 1:
        raise AlteredFileError(f"{who} has no checksum where it should stand.")
    found = hashlib.sha256(start.replace(field, _digest_field(_NO_DIGEST)))
    rest = bytearray()
    while chunk := file.read(_CHUNK_BYTES):
        found.update(chunk)
        if is_kept:
            rest += chunk
    if found.hexdigest() != digest:
        raise AlteredFileError(f"{who} is not as it was written: its checksum is another.")
    return rest


def _cut_off(who: str, size: int, expected: int | None = None) -> str:
    whole = f", expected {expected:,}" if expected else ""
    return f"{who} is cut off: it has {size:,} bytes{whole}."


def _digest_field(digest: str) -> bytes:
    """The checksum as it stands in the header, where quotes inside a text have a backslash."""
    return rf"\"sha256\": \"{digest}".encode()


def _parse(text: bytes | str, who: str) -> dict[str, Any]:
    """JSON as an object whose names are unique."""
    try:
        found = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise AlteredFileError(f"{who} has a header that is no proper JSON: {reason}") from None
    if not isinstance(found, dict):
        raise AlteredFileError(f"{who} has a header that is no JSON object.")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _n_data_bytes(header: dict[str, Any], who: str) -> int:
    """Where the last tensor ends; safetensors checks the rest of what is said about tensors."""
    ends = [0]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets: Any = entry.get("data_offsets") if isinstance(entry, dict) else None
        is_pair = isinstance(offsets, list) and len(offsets) == 2
        if not (is_pair and all(type(offset) is int and offset >= 0 for offset in offsets)):
            raise AlteredFileError(f"{who} does not say where the tensor {name[:80]!r} lies.")
        ends.append(offsets[1])
    return max(ends)


def _envelope(header: dict[str, Any], who: str) -> dict[str, Any]:
    metadata = header.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise NotAModelFileError(f"{who} is a safetensors file, but none of densekit's.")
    return _parse(text, who)


def _digest_of(header: dict[str, Any], who: str) -> str:
    digest = _envelope(header, who).get("sha256")
    if not isinstance(digest, str) or len(digest) != len(_NO_DIGEST):
        raise AlteredFileError(f"{who} has no checksum.")
    return digest


def _open_envelope(header: bytes, kind: str, who: str) -> dict[str, Any]:
    """The description of a file whose checksum was right; its format and kind are checked."""
    envelope = _envelope(_parse(header, who), who)
    version, content = envelope.get("format"), envelope.get("content")
    if type(version) is not int or version < 1:
        raise AlteredFileError(f"{who} has format={version!r}, expected a number from 1.")
    if version > FORMAT:
        raise NewerFormatError(
            f"{who} has format {version}, but this densekit reads formats up to {FORMAT}; "
            "install a newer densekit."
        )
    if envelope.get("kind") != kind:
        raise NotAModelFileError(f"{who} holds a {str(envelope.get('kind'))[:40]}, not a {kind}.")
    if not isinstance(content, dict):
        raise AlteredFileError(f"{who} has no description of its content.")
    return content
