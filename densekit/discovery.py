"""What installed distributions register through entry points.

densekit's own classes come by the same way. Listing imports nothing. A plugin is imported when it
is first asked for, so a broken one breaks its own name only.
"""

from __future__ import annotations

import dis
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any

import densekit

OWN_DISTRIBUTION = "densekit"
ALLOW_LIST_VARIABLE = "DENSEKIT_PLUGINS"
_PREFIX = "densekit."
GROUPS = ("elementwise", "transforms", "bases", "estimators", "meta")


@dataclass(frozen=True)
class Plugin:
    """One name that one distribution registers in one group."""

    group: str
    name: str
    distribution: str
    version: str
    target: str

    @property
    def qualified_name(self) -> str:
        """The name that stays unique when two distributions claim the same one."""
        return f"{self.distribution}:{self.name}"


def plugins() -> list[Plugin]:
    """List everything that installed distributions register, without importing any of it.

    The environment variable ``DENSEKIT_PLUGINS`` restricts the list: ``none`` leaves densekit's
    own names only, ``a,b`` those of the distributions ``a`` and ``b`` besides.
    """
    return [plugin for plugin in _scan() if _is_allowed(plugin.distribution)]


@functools.cache
def _scan() -> tuple[Plugin, ...]:
    found: dict[tuple[str, str, str], Plugin] = {}
    seen: set[str] = set()
    own: list[tuple[Distribution, list[EntryPoint]]] = []
    for distribution in distributions():
        points, name, version = _read(distribution)
        if not points or name in seen:  # the first on the path is the one that is imported
            continue
        if _normalized(name) == OWN_DISTRIBUTION:
            own.append((distribution, points))
            continue
        seen.add(name)
        for point in points:
            group = point.group.removeprefix(_PREFIX)
            plugin = Plugin(group, point.name, name, version, point.value)
            found[group, plugin.qualified_name, plugin.target] = plugin
    for point, version in _own_points(own):
        group = point.group.removeprefix(_PREFIX)
        plugin = Plugin(group, point.name, OWN_DISTRIBUTION, version, point.value)
        found.setdefault((group, plugin.qualified_name, ""), plugin)
    return tuple(sorted(found.values(), key=lambda p: (p.group, p.name, p.distribution)))


def _read(distribution: Distribution) -> tuple[list[EntryPoint], str, str]:
    """Entry points of the groups, name and version; what cannot be read registers nothing."""
    try:
        points = [
            point
            for point in distribution.entry_points
            if point.group.startswith(_PREFIX) and point.group.removeprefix(_PREFIX) in GROUPS
        ]
        if not points:
            return [], "", ""
        return points, distribution.metadata["Name"] or "unknown", distribution.version or "unknown"
    except Exception:  # anything may stand in the files of a broken installation
        return [], "", ""


def _own_points(
    candidates: list[tuple[Distribution, list[EntryPoint]]],
) -> Iterator[tuple[EntryPoint, str]]:
    """Entry points that lie in this package, those of the distribution that installed it first.

    Another distribution may call itself densekit; it registers nothing, or names would not be safe.
    """
    package = Path(__file__).parent

    def is_other(candidate: tuple[Distribution, list[EntryPoint]]) -> tuple[bool, bool]:
        distribution = candidate[0]
        is_elsewhere = Path(str(distribution.locate_file(package.name))) != package
        return is_elsewhere, distribution.version != densekit.__version__

    for distribution, points in sorted(candidates, key=is_other):
        for point in points:
            if point.value.startswith(f"{package.name}."):
                yield point, distribution.version


def _is_allowed(distribution: str) -> bool:
    allowed = os.environ.get(ALLOW_LIST_VARIABLE)
    if allowed is None or distribution == OWN_DISTRIBUTION:
        return True
    return _normalized(distribution) in [_normalized(name) for name in allowed.split(",")]


def _normalized(distribution: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


@functools.cache
def import_plugin(plugin: Plugin) -> tuple[Any, BaseException | None]:
    """Import a plugin once; a failure is kept, so that it is met the same way every time."""
    point = EntryPoint(plugin.name, plugin.target, f"{_PREFIX}{plugin.group}")
    try:
        return point.load(), None
    except BaseException as error:  # a plugin may fail in any way at import
        if is_interrupt(error):
            raise
        return None, error


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is an interrupt by the user, which must go on to the caller.

    An interrupt comes from outside, between two steps of the code, where a plugin that raises a
    KeyboardInterrupt itself does so by a ``raise`` statement, and is at fault.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] != "RAISE_VARARGS"
