"""``densekit info``: what a model file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from densekit.cli import models
from densekit.cli.app import command
from densekit.cli.arguments import Model
from densekit.cli.reporter import Listing, Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 12  # names of columns, and labels


@command("densekit info model.densekit")
def info(ctx: typer.Context, model: Model) -> None:
    """Print what a model file holds: estimator, parameters, columns, training and versions."""
    from densekit.persistence import describe

    reporter: Reporter = ctx.obj
    description = describe(model)
    fitted = models.load(model)
    rows = list(_facts(fitted, description))
    reporter.table(Listing(str(model), ("what", "value"), rows, n_texts=2, has_header=False))


def _facts(model: Any, description: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "estimator", type(model).__name__
    changed = _changed(model)
    yield "parameters", ", ".join(f"{k}={v!r}" for k, v in changed.items()) or "defaults"
    names = getattr(model, "feature_names_in_", None)
    yield "columns", str(getattr(model, "n_features_in_", "not fitted"))
    if names is not None:
        yield "their names", _listed(names)
    conditional = models.conditional_part(model)
    condition = getattr(conditional, "condition_names_in_", None)
    if condition is not None:
        yield "condition", _listed(condition)
    if hasattr(conditional, "classes_"):
        yield "labels", _listed(conditional.classes_)
    for what, attribute, form in (
        ("rows of the fit", "n_samples_fit_", ","),
        ("epochs", "n_iter_", ","),
        ("nats a row on validation rows", "best_validation_score_", ".6g"),
    ):
        value = getattr(model, attribute, None)
        if value is not None:
            yield what, format(value, form)
    density = getattr(model, "density_", None)
    if density is not None:
        yield "weights", f"{sum(weight.numel() for weight in density.parameters()):,}"
    for kind in ("versions", "plugins"):
        versions = description.get(kind) or {}
        if versions:
            yield kind, ", ".join(f"{name} {version}" for name, version in versions.items())


def _listed(names: Any) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


def _changed(model: Any) -> dict[str, Any]:
    """Parameters that are not at their defaults."""
    defaults = type(model)().get_params(deep=False)
    params = model.get_params(deep=False)
    return {key: value for key, value in params.items() if repr(value) != repr(defaults.get(key))}
