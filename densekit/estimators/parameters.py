"""Declared constructor parameters: a default and the values that are allowed, side by side."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

from densekit.exceptions import ParameterError

_CHECK = "densekit.check"

# A check returns None for a good value, or says what was expected.
Check = Callable[[Any], str | None]


def parameter(default: Any, check: Check | None = None) -> Any:
    """Declare a dataclass field with the check that `check_parameters` runs at `fit`."""
    return dataclasses.field(default=default, metadata={_CHECK: check})


def integer(low: int) -> Check:
    def check(value: Any) -> str | None:
        is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return None if is_integer and value >= low else f"an integer of {low} or more"

    return check


def odd(low: int) -> Check:
    def check(value: Any) -> str | None:
        is_odd = integer(low)(value) is None and value % 2 == 1
        return None if is_odd else f"an odd integer of {low} or more"

    return check


def number(low: float, high: float = float("inf"), *, including_low: bool = False) -> Check:
    edge = "from" if including_low else "above"
    limit = "" if high == float("inf") else f" and below {high}"

    def check(value: Any) -> str | None:
        is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        is_high_enough = is_real and (value >= low if including_low else value > low)
        return None if is_high_enough and value < high else f"a number {edge} {low}{limit}"

    return check


def one_of(*options: Any) -> Check:
    return _OneOf(options)


@dataclasses.dataclass(frozen=True)
class _OneOf:
    options: tuple[Any, ...]

    def __call__(self, value: Any) -> str | None:
        alike = (value is o or (type(value) is type(o) and value == o) for o in self.options)
        return None if any(alike) else f"one of {', '.join(map(repr, self.options))}"


def allowed_values(field: dataclasses.Field[Any]) -> tuple[Any, ...]:
    """All values that a field may have, where it declares a list of them."""
    check = field.metadata.get(_CHECK)
    return check.options if isinstance(check, _OneOf) else ()


def either(first: Check, second: Check) -> Check:
    def check(value: Any) -> str | None:
        complaints = first(value), second(value)
        return f"{complaints[0]}, or {complaints[1]}" if all(complaints) else None

    return check


def boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def sizes(value: Any) -> str | None:
    is_sequence = isinstance(value, tuple | list)
    if is_sequence and all(integer(1)(size) is None for size in value):
        return None
    return "a tuple of integers of 1 or more"


def check_effects(estimator: Any) -> None:
    """Refuse parameters that were set and have no effect: nothing is ignored in silence.

    Raises
    ------
    ParameterError
        It says which parameter, and why it has no effect.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(estimator)}
    for name, reason in estimator._without_effect().items():
        value, default = getattr(estimator, name), defaults[name]
        is_default = isinstance(value, str | numbers.Real) and value == default
        if not is_default:
            raise ParameterError(
                f"{type(estimator).__name__} got {name}={value!r}, which has no effect {reason}; "
                f"leave it at {default!r}."
            )


def check_parameters(estimator: Any) -> None:
    """Check every declared parameter of an estimator.

    Raises
    ------
    ParameterError
        A ValueError and TypeError that says who, which parameter, what came and what was expected.
    """
    values = estimator.get_params(deep=False)
    for field in dataclasses.fields(estimator):
        check = field.metadata.get(_CHECK)
        value = values[field.name]
        expected = check(value) if check is not None else None
        if expected is not None:
            raise ParameterError(
                f"{type(estimator).__name__} got {field.name}={value!r}, expected {expected}."
            )
