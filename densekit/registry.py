"""Names of elementwise maps, transforms, bases and estimators, and what they stand for.

Names are those that distributions register (`discovery.py`), and those that a process adds.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from densekit.discovery import (
    GROUPS,
    OWN_DISTRIBUTION,
    Plugin,
    import_plugin,
    is_interrupt,
    plugins,
)
from densekit.exceptions import (
    DuplicateNameError,
    ParameterError,
    PluginError,
    PluginTypeError,
    UnknownNameError,
    shorten,
)

# What a name of the group must stand for, written as a path so that listing imports nothing.
_CONTRACTS = {
    "elementwise": "densekit.elementwise.base:Elementwise",
    "transforms": "densekit.transforms.base:Transform",
    "bases": "densekit.densities.base:Density",
    "estimators": "densekit.estimators.base:DensityEstimator",
    "meta": "densekit.anomaly.base:MetaEstimator",
}


_registered: dict[tuple[str, str], Any] = {}


def available(group: str = "estimators") -> list[str]:
    """List the names of a group, sorted; nothing is imported for it.

    Parameters
    ----------
    group : {"elementwise", "transforms", "bases", "estimators", "meta"}, default="estimators"
        The group, with or without its prefix ``densekit.``.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        There is no such group.
    """
    group = _group(group)
    names = {plugin.name for plugin in plugins() if plugin.group == group}
    return sorted(names | {name for (owner, name) in _registered if owner == group})


def register(group: str, name: str, target: Any) -> None:
    """Give a class a name for this process, as a notebook needs it; nothing is replaced.

    Parameters
    ----------
    group : {"elementwise", "transforms", "bases", "estimators", "meta"}
    name : str
    target : class
        A subclass of the group's contract.

    Raises
    ------
    ValueError
        The name is taken.
    TypeError
        `target` does not fulfil the group's contract.
    """
    group = _group(group)
    if name in available(group):
        raise DuplicateNameError(
            f"register got the name {name!r}, which is taken in {group!r}; choose another name."
        )
    _check_contract(group, target, f"register({group!r}, {name!r}, ...)")
    _registered[group, name] = target


def load(group: str, name: str) -> Any:
    """Return the class (or alternate constructor) that a name stands for.

    Parameters
    ----------
    group : str
        One of ``GROUPS``.
    name : str
        A plain name, or ``"distribution:name"``.

    Raises
    ------
    ValueError
        The name is unknown (near ones are listed), or two distributions claim it.
    ImportError
        The plugin cannot be imported; the original error is chained.
    TypeError
        The plugin is not what its group expects.
    """
    group = _group(group)
    if (group, name) in _registered:
        return _registered[group, name]
    found = [p for p in plugins() if p.group == group and name in (p.name, p.qualified_name)]
    if not found:
        raise UnknownNameError(_unknown([group], name))
    if len(found) > 1:
        claimants = " and ".join(repr(plugin.distribution) for plugin in found)
        choices = " or ".join(repr(plugin.qualified_name) for plugin in found)
        raise DuplicateNameError(
            f"The name {name!r} in {group!r} is claimed by the distributions {claimants}; "
            f"uninstall one of them, or use {choices}."
        )
    target, error = import_plugin(found[0])
    if error is not None:
        raise PluginError(
            f"The plugin {name!r} of the distribution {found[0].distribution!r} cannot be imported "
            f"from {found[0].target!r}: {type(error).__name__}: {shorten(error)}"
        ) from error
    _check_contract(
        group, target, f"{found[0].target!r} of the distribution {found[0].distribution!r}"
    )
    return target


def resolve(group: str, spec: Any) -> Any:
    """Turn a name into what it stands for; a class or an instance is returned as it is.

    Raises
    ------
    TypeError
        `spec` is neither a name nor something that fulfils the group's contract.
    """
    if isinstance(spec, str):
        return load(group, spec)
    if not isinstance(spec, _contract(group)):
        _check_contract(group, spec, repr(spec))
    return spec


def build(group: str, spec: Any, *args: Any, **options: Any) -> Any:
    """Build the object that a name or a class stands for; an instance is returned as it is.

    Raises
    ------
    TypeError
        The options are not those of the class; the message names the class.
    """
    target = resolve(group, spec)
    if isinstance(target, _contract(group)):
        return target
    try:
        with contained(f"{spec!r} in {group!r}"):
            return target(*args, **options)
    except TypeError as error:
        raise ParameterError(
            f"{spec!r} in {group!r} cannot be built with the options {options}: {shorten(error)}"
        ) from error


@contextmanager
def contained(name: str) -> Iterator[None]:
    """Turn what would end the process, such as a plugin's SystemExit, into a PluginError."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise PluginError(
            f"{name} ends with {type(error).__name__}: {shorten(error)}, which no plugin should "
            "raise; tell its author."
        ) from error


def make_estimator(name: str, **params: Any) -> Any:
    """Build a registered estimator by its name.

    Parameters
    ----------
    name : str
        One of ``densekit.available("estimators")``.
    **params
        Constructor parameters of that estimator.

    Examples
    --------
    >>> import densekit
    >>> densekit.make_estimator("maf", n_layers=3)
    MAFEstimator(n_layers=3)
    """
    with contained(f"The estimator {name!r}"):
        return load("estimators", name)(**params)


def load_from(groups: Sequence[str], name: str) -> Any:
    """Load a name from the first of several groups that has it.

    Raises
    ------
    ValueError
        None has it; the names of all are listed.
    """
    for group in groups:
        try:
            return load(group, name)
        except UnknownNameError:
            pass
    raise UnknownNameError(_unknown([_group(group) for group in groups], name))


def find(cls: type) -> Plugin | None:
    """Return the first registered name of a class, or of a class method that builds it.

    A name that `register` gave has no distribution. Looking for a class of another distribution's
    imports that distribution's plugins.
    """
    for (group, name), target in _registered.items():
        if owner(target) is cls:
            return Plugin(group, name, "", "", "")
    root = cls.__module__.partition(".")[0]
    for plugin in sorted(plugins(), key=lambda plugin: not plugin.target.startswith(root)):
        if root == OWN_DISTRIBUTION and plugin.distribution != OWN_DISTRIBUTION:
            continue
        if owner(import_plugin(plugin)[0]) is cls:
            return plugin
    return None


def owner(target: Any) -> Any:
    """Return the class behind a registered target, which may be a class method that builds it."""
    return target if isinstance(target, type) else getattr(target, "__self__", None)


def _group(group: str) -> str:
    short = group.removeprefix("densekit.")
    if short not in GROUPS:
        raise UnknownNameError(f"There is no group {group!r}; the groups are {', '.join(GROUPS)}.")
    return short


def _contract(group: str) -> type:
    module, _, name = _CONTRACTS[_group(group)].partition(":")
    contract: type = getattr(importlib.import_module(module), name)
    return contract


def _check_contract(group: str, target: Any, source: str) -> None:
    contract, cls = _contract(group), owner(target)
    if not (callable(target) and isinstance(cls, type) and issubclass(cls, contract)):
        raise PluginTypeError(
            f"{source} is {target!r}, but the group {group!r} expects a subclass of "
            f"{contract.__module__}.{contract.__qualname__}, or a class method that builds one."
        )


def _unknown(groups: Sequence[str], name: str) -> str:
    names = [known for group in groups for known in available(group)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    where = " or ".join(map(repr, groups))
    return f"There is no {name!r} in {where}. {hint}Available: {', '.join(names)}."
