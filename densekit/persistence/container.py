"""The one container of everything that densekit writes: a safetensors file with a checksum.

The header's ``__metadata__`` holds one text, ``densekit``: JSON with the kind of content, the
number of the format, a SHA-256 over the whole file (with zeros where its own digits stand), and
the content's description. Reading runs no code that a file could choose: no pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from densekit.exceptions import (
    AlteredFileError,
    ModelFileError,
    NewerFormatError,
    NotAModelFileError,
    TruncatedFileError,
    shorten,
)
from densekit.persistence.replacing import replacing

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2  # goes up when an older densekit could not read what is written
KEY = "densekit"
# What any file may hold. They bound the memory and the time that reading takes: descriptions take
# kilobytes, arrays are tensors and not in there, and a density has some thousand tensors at most.
MAX_HEADER_BYTES = 2**23
MAX_STRUCTURES = 2**18  # lists and objects of the description, each of 64 bytes and more
MAX_TENSORS = 2**15
MAX_DIMENSIONS = 32
MAX_FILE_BYTES = 2**48
MAX_DIGITS = 100  # of a number
MAX_HOLES = 2**25  # bytes of a file that may not be on the disk, and two thirds of a larger one
_LENGTH_BYTES = 8
_NO_DIGEST = "0" * 64
_CHUNK_BYTES = 2**20


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
        Is replaced if it is there, and keeps its mode; a link's target is.
    kind : str
        What `read` must ask for, such as "model".
    description : mapping
        Of JSON's types; numbers must be finite.
    tensors : mapping from names to Tensors

    Raises
    ------
    OSError
        The folder is not there, or cannot be written, or `path` is no regular file; an old file is
        as it was.
    """
    from safetensors.torch import save

    envelope = {"kind": kind, "format": FORMAT, "sha256": _NO_DIGEST, "content": description}
    text = json.dumps(envelope, allow_nan=False, ensure_ascii=True)
    content = save(_for_disk(tensors), {KEY: text})
    n_bytes = int.from_bytes(content[:_LENGTH_BYTES], "little")
    _check_limits(content[_LENGTH_BYTES : _LENGTH_BYTES + n_bytes], os.fspath(path))
    start = content.index(_digest_field(_NO_DIGEST)) + len(_digest_field(""))
    digest = hashlib.sha256(content).hexdigest().encode()
    with replacing(path) as file:
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

    source = repr(os.fspath(path))
    try:
        header, content = _read_checked(path, source)
        description = _open_envelope(header, kind, source)
        del header
        return Container(description, load(content))
    except (SafetensorError, AssertionError, KeyError, RuntimeError, TypeError) as error:
        raise AlteredFileError(f"{source} holds no proper tensors: {shorten(error)}") from None
    except MemoryError:
        raise ModelFileError(f"{source} is larger than the memory that is free.") from None


def read_description(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read what `read` would return first; the file is checked as a whole."""
    source = repr(os.fspath(path))
    return _open_envelope(_read_checked(path, source, is_kept=False)[0], kind, source)


def _check_limits(header: bytes, path: str | bytes) -> None:
    """Refuse to write what `read` would refuse."""
    source = f"What should go to {path!r}"
    if len(header) > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{source} has a description of {len(header):,} bytes, expected {MAX_HEADER_BYTES:,} "
            "at most; store large values as arrays."
        )
    parsed = _parse(header, source)
    _n_data_bytes(parsed, source)
    _envelope(parsed, source)


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


def _read_checked(
    path: str | os.PathLike[str], source: str, *, is_kept: bool = True
) -> tuple[bytes, bytes]:
    """The header and, if it is to be kept, the whole file, whose checksum was right."""
    _check_regular(os.stat(path), source)  # opening a pipe could wait for ever
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        _check_regular(status, source)
        size = status.st_size
        _check_holes(file.fileno(), size, source)
        start = file.read(_LENGTH_BYTES)
        n_bytes = int.from_bytes(start, "little")
        if len(start) < _LENGTH_BYTES or not 2 <= n_bytes <= MAX_HEADER_BYTES:
            raise NotAModelFileError(_no_file_of_ours(source))
        header = file.read(n_bytes)
        if header[:1] != b"{":
            raise NotAModelFileError(_no_file_of_ours(source))
        if len(header) < n_bytes:
            raise TruncatedFileError(_cut_off(source, size))
        parsed = _parse(header, source)
        expected = _LENGTH_BYTES + n_bytes + _n_data_bytes(parsed, source)
        if size < expected:
            raise TruncatedFileError(_cut_off(source, size, expected))
        if size > expected:
            raise AlteredFileError(
                f"{source} has {size:,} bytes, expected {expected:,}; something was added to it."
            )
        digest = _digest_of(parsed, source)
        del parsed
        n_left = expected - _LENGTH_BYTES - n_bytes
        rest = _check_digest(file, n_left, start + header, digest, source, is_kept=is_kept)
    return header, start + header + rest


def _check_regular(status: os.stat_result, source: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotAModelFileError(f"{source} is a folder, a pipe or a device, expected a file.")


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file that may have become a pipe in the meantime."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_holes(descriptor: int, size: int, source: str) -> None:
    """Refuse a sparse file, which takes little of the disk and would take much memory."""
    if size > MAX_HOLES and size - _n_bytes_in_holes(descriptor, size) < size // 3:
        raise AlteredFileError(
            f"{source} is {size:,} bytes long, but most of them are not on the disk: it is a "
            "sparse file, which densekit does not write."
        )


def _n_bytes_in_holes(descriptor: int, size: int) -> int:
    """How many bytes of a file take no place on the disk; 0 where the system does not tell."""
    n_bytes, place = 0, 0
    try:
        while place < size:
            start = os.lseek(descriptor, place, os.SEEK_HOLE)
            if start >= size:
                break
            try:
                place = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError:  # nothing but a hole comes
                place = size
            n_bytes += place - start
    except (AttributeError, OSError):
        return 0
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return n_bytes


def _no_file_of_ours(source: str) -> str:
    return f"{source} is no file of densekit's, or damaged at its start."


def _check_digest(
    file: BinaryIO, n_left: int, start: bytes, digest: str, source: str, *, is_kept: bool
) -> bytearray:
    """Compare the checksum of the start and the rest of a file; return the rest."""
    field = _digest_field(digest)
    if start.count(field) != 1:
        raise AlteredFileError(f"{source} has no checksum where it should stand.")
    found = hashlib.sha256(start.replace(field, _digest_field(_NO_DIGEST)))
    rest = bytearray()
    while chunk := file.read(min(_CHUNK_BYTES, n_left)):
        n_left -= len(chunk)
        found.update(chunk)
        if is_kept:
            rest += chunk
    if found.hexdigest() != digest:
        raise AlteredFileError(f"{source} is not as it was written: its checksum is another.")
    return rest


def _cut_off(source: str, size: int, expected: int | None = None) -> str:
    whole = f", expected {expected:,}" if expected else ""
    return f"{source} is cut off: it has {size:,} bytes{whole}."


def _digest_field(digest: str) -> bytes:
    """The checksum as it stands in the header, where quotes inside a text have a backslash."""
    return rf"\"sha256\": \"{digest}".encode()


def _parse(text: bytes | str, source: str) -> dict[str, Any]:
    """JSON as an object whose names are unique, and whose numbers are of usual size."""
    n_structures = (
        text.count("[") + text.count("{")
        if isinstance(text, str)
        else text.count(b"[") + text.count(b"{")
    )
    if n_structures > MAX_STRUCTURES:
        raise AlteredFileError(f"{source} has a header of too many parts.")
    try:
        found = json.loads(
            text,
            object_pairs_hook=_without_twins,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        reason = "it is nested too deep" if isinstance(error, RecursionError) else shorten(error)
        raise AlteredFileError(f"{source} has a header that is no proper JSON: {reason}") from None
    if not isinstance(found, dict):
        raise AlteredFileError(f"{source} has a header that is no JSON object.")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    found = float(digits) if len(digits) <= MAX_DIGITS else math.inf
    if not math.isfinite(found):
        raise ValueError(f"{digits[:MAX_DIGITS]} is no number of usual size")
    return found


def _n_data_bytes(header: dict[str, Any], source: str) -> int:
    """Where the last tensor ends; safetensors checks the rest of what is said about tensors."""
    if len(header) > MAX_TENSORS:
        raise AlteredFileError(
            f"{source} holds {len(header):,} tensors, expected {MAX_TENSORS:,} at most."
        )
    ends = [0]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets: Any = entry.get("data_offsets") if isinstance(entry, dict) else None
        is_pair = isinstance(offsets, list) and len(offsets) == 2
        if not (is_pair and all(type(n) is int and 0 <= n <= MAX_FILE_BYTES for n in offsets)):
            raise AlteredFileError(f"{source} does not say where the tensor {name[:80]!r} lies.")
        shape: Any = entry.get("shape")
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
            raise AlteredFileError(f"{source} gives the tensor {name[:80]!r} no proper shape.")
        ends.append(offsets[1])
    return max(ends)


def _envelope(header: dict[str, Any], source: str) -> dict[str, Any]:
    metadata = header.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise NotAModelFileError(f"{source} is a safetensors file, but none of densekit's.")
    return _parse(text, source)


def _digest_of(header: dict[str, Any], source: str) -> str:
    digest = _envelope(header, source).get("sha256")
    if not isinstance(digest, str) or len(digest) != len(_NO_DIGEST):
        raise AlteredFileError(f"{source} has no checksum.")
    return digest


def _open_envelope(header: bytes, kind: str, source: str) -> dict[str, Any]:
    """The description of a file whose checksum was right; its format and kind are checked."""
    envelope = _envelope(_parse(header, source), source)
    version, content = envelope.get("format"), envelope.get("content")
    if type(version) is not int or version < 1:
        raise AlteredFileError(f"{source} has format={version!r}, expected a number from 1.")
    if version > FORMAT:
        raise NewerFormatError(
            f"{source} has format {version}, but this densekit reads formats up to {FORMAT}; "
            "install a newer densekit."
        )
    if envelope.get("kind") != kind:
        found = str(envelope.get("kind"))[:40]
        raise NotAModelFileError(f"{source} holds a {found}, not a {kind}.")
    if not isinstance(content, dict):
        raise AlteredFileError(f"{source} has no description of its content.")
    return content
