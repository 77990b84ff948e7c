"""Text in files and on standard input: decompressed, decoded, and looked into before it is read."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from densekit.cli.io.table import STANDARD_INPUT
from densekit.exceptions import MissingExtraError, TableError

SAMPLE_BYTES = 2**20  # a header of 50,000 columns, and more rows than are looked at of others
PLAIN_ENCODING = "utf-8-sig"  # the mark that some programs write in front is skipped
FALLBACK_ENCODING = "latin-1"  # in which every sequence of bytes is text
LINE_END = re.compile(r"\r\n|\r|\n")
# Bytes at the start of what a compressor wrote, and the ending of its files.
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\0": ".xz",
    b"PK\x03\x04": ".zip",
    b"\x28\xb5\x2f\xfd": ".zst",
}
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, PLAIN_ENCODING),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = re.compile(rb"[\x00-\x08]")


class TextSource:
    """The text of a file, which may be opened again, or of a stream, which is read once.

    Parameters
    ----------
    path : Path
        ``-`` is standard input. Text may be compressed; without an ending that says so, its first
        bytes tell.
    encoding : str, optional
        By default a mark at the start says it, or else UTF-8 is taken, or Latin-1 where the first
        megabyte is no UTF-8.

    Attributes
    ----------
    lines : list of str
        Whole lines of the start, without their ends.
    encoding : str
    is_once : bool
        Whether the text can be opened only once.

    Raises
    ------
    TableError
        A ValueError: the file holds no text, or there is no such encoding.
    OSError
        The file cannot be opened.
    """

    def __init__(self, path: Path, encoding: str | None = None):
        self.path = path
        is_standard = str(path) == STANDARD_INPUT
        self.source = "standard input" if is_standard else str(path)
        self._pipe = None if is_standard else _open_pipe(path)
        self._stream: Any = _standard_input() if is_standard else self._pipe
        self.is_once = self._stream is not None
        with self._open_bytes() as file:
            sample = _read(file, SAMPLE_BYTES)
            if self.is_once:
                self._stream = _Replayed(sample, file)
        is_whole = len(sample) < SAMPLE_BYTES
        self.encoding = self._encoding(sample, encoding, is_whole)
        self.lines = self._whole_lines(sample, is_whole)

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The text from its start."""
        with self._open_bytes() as file:
            text = io.TextIOWrapper(file, encoding=self.encoding, newline="")
            try:
                yield text
            finally:
                if self.is_once:
                    text.detach()
                if self._pipe is not None:
                    self._pipe.close()

    @contextmanager
    def _open_bytes(self) -> Iterator[Any]:
        if self._stream is not None:
            if isinstance(self._stream, _Replayed):
                yield io.BufferedReader(self._stream)
            else:
                yield _decompressed(self._stream)
            return
        ending = self.path.suffix.lower()
        if ending not in _OPENERS:
            with open(self.path, "rb") as file:
                ending = _ending_of(file.read(max(map(len, _MAGIC)))) or ""
        opener: Callable[[Any], Any] = _OPENERS.get(ending, _open_plain)
        with opener(self.path) as opened:
            yield opened

    def _encoding(self, sample: bytes, given: str | None, is_whole: bool) -> str:
        if given is not None:
            try:
                return codecs.lookup(given).name.replace("utf-8", PLAIN_ENCODING)
            except LookupError:
                raise TableError(
                    f"There is no encoding {given!r}; examples are utf-8, utf-16, latin-1, cp1252."
                ) from None
        found = _marked_encoding(sample)
        if found is not None:
            return found
        if _NO_TEXT.search(sample):
            raise TableError(
                f"{self.source} holds bytes that are no text; if it is text in an encoding of its "
                "own, give it, such as --encoding utf-16-le."
            )
        try:
            codecs.getincrementaldecoder("utf-8")().decode(sample, final=is_whole)
        except UnicodeDecodeError:
            return FALLBACK_ENCODING
        return PLAIN_ENCODING

    def _whole_lines(self, sample: bytes, is_whole: bool) -> list[str]:
        try:
            decoder = codecs.getincrementaldecoder(self.encoding)()
            lines = LINE_END.split(decoder.decode(sample, final=is_whole))
        except UnicodeDecodeError as error:
            raise TableError(
                f"{self.source} is no text in the encoding {self.encoding}: {error}; give another "
                "by --encoding, such as latin-1."
            ) from None
        if not is_whole and len(lines) > 1:
            lines.pop()  # cut off somewhere
        return lines


class _Replayed(io.RawIOBase):
    """A stream of which the start was read already."""

    def __init__(self, start: bytes, rest: BinaryIO):
        super().__init__()
        self._start, self._rest = io.BytesIO(start), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._start.read(len(buffer)) or self._rest.read(len(buffer)) or b""
        buffer[: len(found)] = found
        return len(found)


def is_pipe(path: Path) -> bool:
    """Whether a path is a pipe or another stream, as the shell's ``<(...)`` is."""
    mode = os.stat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _open_pipe(path: Path) -> BinaryIO | None:
    return open(path, "rb") if is_pipe(path) else None


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise TableError("Standard input is closed; give a file as DATA, or open it.")
    stream: BinaryIO = sys.stdin.buffer
    return stream


def _decompressed(stream: BinaryIO) -> Any:
    start = _read(stream, max(map(len, _MAGIC)))
    whole = io.BufferedReader(_Replayed(start, stream))
    ending = _ending_of(start)
    if ending == ".zip":  # its contents stand at its end
        return _only_member(zipfile.ZipFile(io.BytesIO(whole.read())), "standard input")
    return whole if ending is None else _OPENERS[ending](whole)


def _read(file: BinaryIO, n_bytes: int) -> bytes:
    """So many bytes, or all there are: a pipe gives fewer at a time."""
    pieces: list[bytes] = []
    while n_bytes > 0 and (piece := file.read(n_bytes)):
        pieces.append(piece)
        n_bytes -= len(piece)
    return b"".join(pieces)


def _ending_of(start: bytes) -> str | None:
    return next((ending for magic, ending in _MAGIC.items() if start.startswith(magic)), None)


def _open_plain(file: Any) -> Any:
    return open(file, "rb")


def _open_zip(file: Any) -> Any:
    return _only_member(zipfile.ZipFile(file), str(file))


def _only_member(archive: zipfile.ZipFile, source: str) -> Any:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise TableError(f"{source} holds {len(names)} files, expected one; unpack it.")
    return archive.open(names[0])


def _open_zst(file: Any) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError(".zst files need pyarrow: pip install 'densekit[io]'.") from None
    source = str(file) if isinstance(file, Path) else pyarrow.PythonFile(file, mode="r")
    return pyarrow.input_stream(source, compression="zstd")


_OPENERS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
    ".zst": _open_zst,
}
COMPRESSED = tuple(_OPENERS)


def _marked_encoding(sample: bytes) -> str | None:
    """The encoding by the mark at the start, or by where its zero bytes stand."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    half = max(1, len(sample) // 2)
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if sample[start::2].count(0) > 0.5 * half and sample[1 - start :: 2].count(0) == 0:
            return name
    return None
