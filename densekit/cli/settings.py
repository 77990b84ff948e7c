"""``--set key=value``: parameters of an estimator, and the estimator that has them."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
from collections.abc import Sequence
from typing import Any

import typer

from densekit import registry
from densekit.exceptions import ParameterError

GROUPS = ("estimators", "meta")  # where `--model` looks for a name
ESTIMATORS = ("estimator", "background")  # parameters that are estimators themselves


def parse(settings: Sequence[str] | None) -> dict[str, Any]:
    """Parse settings: JSON, what Python writes (``(64, 64)``, ``None``), or else plain text."""
    found: dict[str, Any] = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals or not key or key in found:
            fault = "gives a key twice" if key in found else "has no key and value"
            raise typer.BadParameter(f"--set {setting!r} {fault}; write --set n_layers=8.")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def build(name: str, settings: dict[str, Any]) -> Any:
    """Build the estimator of a name, with parameters that it knows and finds good.

    A parameter that is an estimator is given by its name, and its own parameters behind two
    underscores: ``estimator=nsf`` and ``estimator__n_layers=3``.

    Raises
    ------
    UnknownNameError
        A ValueError: no estimator has the name.
    ParameterError
        A ValueError: it has no such parameter, or refuses the value.
    """
    estimator = registry.load_from(GROUPS, _known_name(name))()
    parts = {key: _part(key, settings[key]) for key in ESTIMATORS if key in settings}
    estimator.set_params(**{k: v for k, v in parts.items() if k in estimator.get_params()})
    known = estimator.get_params()
    for key in settings:
        if key not in known:
            raise ParameterError(
                f"{type(estimator).__name__} has no parameter {key!r}; {_hint(key, list(known))}"
                f"its parameters are {', '.join(known)}."
            )
    estimator.set_params(**{k: v for k, v in settings.items() if k not in parts})
    if dataclasses.is_dataclass(estimator):
        from densekit.estimators.parameters import check_parameters

        check_parameters(estimator)
    return estimator


def _known_name(name: str) -> str:
    """A registered name in its own letters, whatever the case it is given in."""
    names = [known for group in GROUPS for known in registry.available(group)]
    if name in names:
        return name
    return {known.lower(): known for known in names}.get(name.lower(), name)


def set_default(estimator: Any, settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a parameter that the estimator has and the user did not set."""
    if key in estimator.get_params(deep=False) and key not in settings:
        estimator.set_params(**{key: value})


def _part(key: str, name: Any) -> Any:
    """An estimator inside another, by its name."""
    if not isinstance(name, str):
        raise ParameterError(
            f"--set {key}={name!r} names no estimator; the names are "
            f"{', '.join(registry.available(GROUPS[0]))}."
        )
    return registry.load(GROUPS[0], _known_name(name))()


def _hint(key: str, known: Sequence[str]) -> str:
    part = key.partition("__")[0]
    if part != key and part in ESTIMATORS and part in known:
        return f"name the {part} first, such as --set {part}=maf; "
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""
