"""Objects that remember the arguments they were built with, so that a file can name them."""

from __future__ import annotations

from typing import Any, Self

_PLAIN = (type(None), bool, int, float, str, type)


class Recorded:
    """Keep the arguments of the constructor, where they are plain values or recorded objects.

    `arguments` is then the pair (args, kwargs); it is None where an argument is anything else, such
    as a generator, of which no second use could be made.
    """

    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        is_plain = _is_plain(args) and _is_plain(kwargs)
        # Past the attribute hooks of torch's modules, which are not there yet.
        object.__setattr__(self, "arguments", (args, kwargs) if is_plain else None)
        return self


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, (*_PLAIN, range, Recorded))


def is_defined_with(instance: Any, method: str, other: str) -> bool:
    """Whether a class that says how `other` works says so of `method`, too.

    A subclass that overrides `other` alone would inherit a fast `method` that does something else.
    """
    homes = [
        next(i for i, cls in enumerate(type(instance).__mro__) if name in vars(cls))
        for name in (method, other)
    ]
    return homes[0] <= homes[1]
