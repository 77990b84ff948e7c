"""Models in files, and what to call their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def load(path: Path) -> Any:
    """Read a fitted estimator from a file.

    Raises
    ------
    ModelFileError
        A ValueError: the file is none of densekit's, or damaged.
    """
    import densekit

    model: Any = densekit.load(path)
    return model


def save(model: Any, path: Path) -> None:
    """Write an estimator to a file; an old one is replaced in one step."""
    from densekit import persistence

    persistence.save(model, path)


def conditional_part(model: Any) -> Any:
    """What knows the condition: a density itself, or the fitted estimator inside a detector."""
    parts = getattr(model, "parts_", None)
    return parts[0]["estimators"][0] if parts else model


def check_takes_condition(model: Any, target: Any) -> None:
    """Refuse a condition for a model that has none, which would pass over it.

    Raises
    ------
    typer.BadParameter
        Wrong usage, with the exit code 2.
    """
    if target and not getattr(conditional_part(model), "conditional", False):
        raise typer.BadParameter(
            f"--target {target[0]} is for a model with a condition, and this "
            f"{type(model).__name__} has none; leave the column out by --drop {target[0]}, or fit "
            "one with --target."
        )


def check_draws(model: Any, path: Any) -> None:
    """Refuse a model that draws no rows, such as a detector.

    Raises
    ------
    typer.BadParameter
        Wrong usage, with the exit code 2.
    """
    if not hasattr(model, "sample"):
        raise typer.BadParameter(
            f"{path} is no density but {type(model).__name__}, which draws no rows; give a "
            "density, such as `densekit fit --model nsf` makes."
        )


def score(model: Any, X: Any, y: Any) -> Any:
    """Score rows, given their conditions where there are any."""
    return model.score_samples(X) if y is None else model.score_samples(X, y)


def score_name(model: Any) -> str:
    """What a model's scores are: log-densities, log-masses of discrete data, or others."""
    density = getattr(model, "density_", None)
    if density is None:
        return "score"
    return "log_mass" if density.support == "discrete" else "log_density"
