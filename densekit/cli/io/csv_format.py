"""How a table is written as text: separator, decimal mark, comments, header; found by looking."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from densekit.cli.io.text_source import PLAIN_ENCODING
from densekit.exceptions import TableError

N_ROWS_SEEN = 50
SEPARATORS = (",", ";", "\t", "|")
BLANKS = r"\s+"  # as pandas writes it
NAMED_SEPARATORS = {r"\t": "\t", "tab": "\t", "space": BLANKS, " ": BLANKS, BLANKS: BLANKS}
COMMENT = "#"
SHARE_OF_WHOLE_NUMBERS = 0.1  # among the cells below a header of whole numbers, at most
# What pandas calls the column of an index that was written without a name and read again.
INDEX_NAMES = ("", "Unnamed: 0")
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_WHOLE = re.compile(r"[-+]?\d+")
_GROUPS = {".": r"\.", ",": ",", " ": r"[ \u00a0\u202f]", "'": "['\u2019]"}
_ODD_NUMBER = re.compile(r"[-+]?[\d.,' \u00a0\u202f\u2019]+([eE][-+]?\d+)?")
_AMBIGUOUS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True)
class CsvOptions:
    """What the caller says about a table in text; None is found by looking.

    Attributes
    ----------
    separator, decimal, encoding : str or None
    has_header : bool or None
        Whether the first line holds the columns' names.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    has_header: bool | None = None

    def __post_init__(self) -> None:
        separator = NAMED_SEPARATORS.get(self.separator or "", self.separator)
        if separator is not None and separator != BLANKS and len(separator) != 1:
            raise TableError(
                f"The separator is {self.separator!r}, expected one character, 'tab' or 'space'."
            )
        if self.decimal not in (None, ".", ","):
            raise TableError(f"The decimal mark is {self.decimal!r}, expected '.' or ','.")
        object.__setattr__(self, "separator", separator)


@dataclass(frozen=True)
class CsvFormat:
    """What was found.

    Attributes
    ----------
    names : tuple of str
        Of all columns in the text, stripped of blanks.
    n_lines_before : int
        Lines in front of the header, or of the first row where no header follows.
    header_follows : bool
    separator, decimal : str
    thousands : str or None
        Mark between groups of three digits.
    has_comments : bool
    numbers, percentages : frozenset of int
        Columns whose cells are numbers in this format, and those that are percentages.
    notes : tuple of str
        What is not as in plain CSV, in words.
    """

    names: tuple[str, ...]
    n_lines_before: int
    header_follows: bool
    separator: str
    decimal: str
    thousands: str | None
    has_comments: bool
    numbers: frozenset[int]
    percentages: frozenset[int]
    notes: tuple[str, ...] = ()


def find_format(
    lines: Sequence[str], encoding: str, options: CsvOptions, *, source: str
) -> CsvFormat:
    """Find out how a table is written by its first lines.

    Raises
    ------
    TableError
        A ValueError: there is no header, or the decimal mark can be told by no cell.
    """
    n_before, declared = _prologue(lines)
    comments = [line for line in lines[:n_before] if line.startswith(COMMENT)]
    separator = options.separator or declared or _find_separator(lines[n_before:])
    rows = _rows(lines[n_before:], separator)
    if not rows:
        raise TableError(f"{source} has no rows; give at least one, below a header.")
    names = _commented_header(comments, rows, separator) if options.has_header is None else None
    is_commented = names is not None
    header_follows = not is_commented and options.has_header is not False
    decimal, thousands, numbers, percentages = _find_numbers(
        rows[1:] if header_follows else rows, options.decimal, source
    )
    if options.has_header is False:
        names = [f"x{i}" for i in range(len(rows[0]))]
    is_of_numbers = header_follows and all(map(_PLAIN.fullmatch, rows[0]))
    if is_of_numbers and options.has_header is None:
        _check_numbers_are_names(rows, source)
    found = CsvFormat(
        names=tuple(name.strip() for name in names or rows[0]),
        n_lines_before=n_before,
        header_follows=header_follows,
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        has_comments=any(line.startswith(COMMENT) for line in lines),
        numbers=numbers,
        percentages=percentages,
    )
    unusual = {
        f"the encoding {encoding}": encoding != PLAIN_ENCODING,
        "the names in the last of them": is_commented,
        "the numbers in its first line as the columns' names": is_of_numbers
        and not _are_counted(rows[0]),
        "the names x0, x1 and so on": options.has_header is False,
    }
    notes = _notes(found, unusual)
    if thousands is None and options.decimal is not None:  # said, so that the other is no decimal
        thousands = "." if options.decimal == "," else ","
    return replace(found, notes=notes, thousands=thousands)


def read_header(file: Iterable[str], separator: str) -> list[str]:
    """Take the header's cells from a file that stands at it."""
    if separator == BLANKS:
        return next((line.split() for line in file if line.strip()), [])
    return next(csv.reader(file, delimiter=separator, skipinitialspace=True), [])


def convert(column: pd.Series, found: CsvFormat, *, is_percentage: bool) -> pd.Series:
    """Numbers of a column of text in the format; cells that are none stay text, to be named."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column
    text = column.astype("str").str.strip()
    is_number = text.str.fullmatch(_number(found.decimal, found.thousands, is_percentage))
    is_number = is_number.fillna(False).astype(bool) & column.notna()
    if found.thousands is not None:
        text = text.str.replace(_GROUPS[found.thousands], "", regex=True)
    text = text.str.replace(found.decimal, ".", regex=False).str.removesuffix("%")
    numbers = pd.to_numeric(text[is_number])
    if is_percentage:
        numbers = numbers / 100
    if is_number.all():
        return numbers
    values = column.astype(object)
    values[is_number] = numbers
    return values


def _notes(found: CsvFormat, unusual: dict[str, bool]) -> tuple[str, ...]:
    """What is not as in plain CSV, in words."""
    notes = {
        _separator_in_words(found.separator): found.separator != ",",
        "decimal commas": found.decimal == ",",
        f"{found.thousands!r} between thousands": found.thousands is not None,
        "percentages as fractions": bool(found.percentages),
        "lines that begin with # left out": found.has_comments,
        **unusual,
    }
    return tuple(note for note, is_so in notes.items() if is_so)


def _prologue(lines: Sequence[str]) -> tuple[int, str | None]:
    """Number of lines in front of the table, and the separator that one of them declares."""
    declared = None
    for i, line in enumerate(lines):
        declaration = re.fullmatch(r"sep=(.)", line.strip("\ufeff\"'"))
        if declaration and i == 0:  # which Excel knows
            declared = declaration[1]
        elif line.strip() and not line.startswith(COMMENT):
            return i, declared
    return len(lines), declared


def _find_separator(lines: Sequence[str]) -> str:
    """The separator that cuts all lines into equally many cells, and most; a comma in doubt."""
    header = next((line for line in lines if line.strip()), "")
    candidates = [separator for separator in SEPARATORS if separator in header]
    widths = {separator: _widths(lines, separator) for separator in candidates}
    regular = {separator: found[0] for separator, found in widths.items() if len(set(found)) == 1}
    if not regular and len(header.split()) > 1:
        found = _widths(lines, BLANKS)
        if len(found) > 1 and len(set(found)) == 1:
            return BLANKS
    widest = regular or {separator: found[0] for separator, found in widths.items() if found}
    return max(widest, key=lambda separator: widest[separator], default=",")


def _widths(lines: Sequence[str], separator: str) -> list[int]:
    return [len(row) for row in _rows(lines, separator)]


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Cells of the first rows, without comments and blank lines."""
    kept = (line + "\n" for line in lines if line.strip() and not line.startswith(COMMENT))
    if separator == BLANKS:
        rows: Iterator[list[str]] = (line.split() for line in kept)
    else:
        rows = csv.reader(kept, delimiter=separator, skipinitialspace=True)
    found = []
    try:
        for row in rows:
            found.append([cell.strip() for cell in row])
            if len(found) > N_ROWS_SEEN:
                break
    except csv.Error:  # a field longer than the module's limit: reading says what is wrong
        pass
    return found


def _commented_header(
    comments: Sequence[str], rows: list[list[str]], separator: str
) -> list[str] | None:
    """Names in the last comment in front of rows of numbers, as `numpy.savetxt` writes them."""
    if not comments or not all(map(_PLAIN.fullmatch, rows[0])):
        return None
    names = read_header([comments[-1].lstrip(COMMENT)], separator)
    is_one = len(names) == len(rows[0]) and not all(map(_PLAIN.fullmatch, names))
    return names if is_one else None


def _check_numbers_are_names(rows: list[list[str]], source: str) -> None:
    """Take a first line of numbers as names only where it is quite unlike the rows below.

    Wavelengths and years are: rising whole numbers over cells that are fractions.
    """
    names = rows[0]
    if _are_counted(names):
        return
    are_whole = all(name.isdecimal() for name in names)
    is_rising = are_whole and all(int(a) < int(b) for a, b in itertools.pairwise(names))
    below = [cell for row in rows[1:] for cell in row]
    n_whole = sum(_WHOLE.fullmatch(cell) is not None for cell in below)
    if not (is_rising and below and n_whole <= SHARE_OF_WHOLE_NUMBERS * len(below)):
        raise TableError(
            f"{source} has numbers in its first line ({', '.join(names[:3])} ...), expected the "
            "columns' names; write them above the first row, or give --header if these are the "
            "names, or --no-header if there are none."
        )


def _are_counted(names: list[str]) -> bool:
    """Whether names are 0, 1, 2 and so on, as of a frame without names."""
    return names == [str(i) for i in range(len(names))]


def _number(decimal: str, thousands: str | None, is_percentage: bool) -> str:
    """Pattern of a number with a decimal mark, in groups of three where there is a mark of them."""
    whole = r"\d+"
    if thousands is not None:
        whole = rf"(?:\d{{1,3}}(?:{_GROUPS[thousands]}\d{{3}})+|\d+)"
    mark = re.escape(decimal)
    percent = r"\s*%" if is_percentage else ""
    return rf"[-+]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?{percent}"


def _find_numbers(
    rows: list[list[str]], decimal: str | None, source: str
) -> tuple[str, str | None, frozenset[int], frozenset[int]]:
    """Decimal mark, mark of thousands, and the columns of numbers and of percentages."""
    odd: dict[int, list[str]] = {}
    percentages: set[int] = set()
    whole: set[int] = set()  # numbers that are the same with every mark
    for i, column in enumerate(zip(*_rectangle(rows), strict=True)):
        cells = [cell for cell in column if cell]
        if cells and all(cell.endswith("%") for cell in cells):
            percentages.add(i)
            cells = [cell.removesuffix("%").strip() for cell in cells]
        elif all(map(_WHOLE.fullmatch, cells)):
            whole.add(i)
            continue
        if cells and all(map(_ODD_NUMBER.fullmatch, cells)):
            odd[i] = cells
    best: tuple[str, str | None] = (decimal or ".", None)
    n_best, numbers = 0, set[int]()
    for mark, thousands in _candidates(odd.values(), decimal, source):
        pattern = re.compile(_number(mark, thousands, False))
        found = {i for i, cells in odd.items() if all(map(pattern.fullmatch, cells))}
        if len(found) > n_best:
            best, n_best, numbers = (mark, thousands), len(found), found
    return (*best, frozenset(numbers | whole), frozenset(percentages & numbers))


def _candidates(
    columns: Iterable[list[str]], decimal: str | None, source: str
) -> Iterator[tuple[str, str | None]]:
    """Pairs of decimal mark and mark of thousands; the first that most columns follow is right."""
    numbers = [cell for column in columns for cell in column if "," in cell]
    if decimal is None and numbers and all(map(_AMBIGUOUS.fullmatch, numbers)):
        raise TableError(
            f"{source} holds {numbers[0]!r}, which may be a number with a decimal comma or one in "
            "thousands; give --decimal , or --decimal . to say which."
        )
    for mark in (".", ",") if decimal is None else (decimal,):
        yield mark, None
        for thousands in (",", ".", " ", "'"):
            if thousands != mark:
                yield mark, thousands


def _rectangle(rows: list[list[str]]) -> list[list[str]]:
    """Rows of equal width: the others are named when they are read."""
    width = len(rows[0]) if rows else 0
    return [row for row in rows if len(row) == width]


def _separator_in_words(separator: str) -> str:
    words: dict[str, Any] = {"\t": "tabs", BLANKS: "blanks"}
    return f"{words.get(separator, repr(separator))} between cells"
