"""Names and texts in CSV that no spreadsheet takes for formulas, and back.

A text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return is written with an
apostrophe in front, unless it is a number; so is one that begins with apostrophes and then one of
these. The reader takes one apostrophe off such names, so that what densekit writes comes back.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def as_written(text: str) -> str:
    """A name or text cell as it stands in CSV."""
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def as_read(text: str) -> str:
    """Undo `as_written`."""
    is_marked = text.startswith("'") and _FORMULA.match(text) is not None
    return text[1:] if is_marked else text
