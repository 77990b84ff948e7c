"""What installed distributions register through entry points.

densekit's own classes come by the same way. Listing imports nothing. A plugin is imported when it
is first asked for, so a broken one breaks its own name only.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

OWN_DISTRIBUTION = "densekit"
ALLOW_LIST_VARIABLE = "DENSEKIT_PLUGINS"
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
    found = {}
    for group in GROUPS:
        for point in entry_points(group=f"densekit.{group}"):
            plugin = _describe(group, point)
            found[group, plugin.qualified_name, plugin.target] = plugin
    return tuple(sorted(found.values(), key=lambda p: (p.group, p.name, p.distribution)))


def _describe(group: str, point: EntryPoint) -> Plugin:
    name = point.dist.name if point.dist else "unknown"
    version = point.dist.version if point.dist else "unknown"
    return Plugin(group, point.name, name, version, point.value)


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
    point = EntryPoint(plugin.name, plugin.target, f"densekit.{plugin.group}")
    try:
        return point.load(), None
    except (Exception, SystemExit) as error:  # a plugin may fail in any way at import
        return None, error
