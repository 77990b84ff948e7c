"""Names and texts in CSV that are inert in spreadsheets and terminals, and names read back.

A text that begins with ``=``, ``+``, ``-`` or ``@`` is written with an apostrophe in front, unless
it is a number; so is one that begins with apostrophes and then one of these. Control characters,
and blanks at the ends, are written as ``\\x1b`` or ``\\u2028``, and so is the backslash of a text
that looks like that. The reader undoes both in names, so that those in what densekit writes come
back.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|^\s+|\s+$|\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")


def as_written(text: str) -> str:
    """A name or text cell as it stands in CSV."""
    text = _CONTROL.sub(lambda found: "".join(map(_escaped, found[0])), text)
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def as_read(text: str) -> str:
    """Undo `as_written`."""
    if text.startswith("'") and _FORMULA.match(text) is not None:
        text = text[1:]
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
