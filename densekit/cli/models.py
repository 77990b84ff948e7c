"""Models in files, and what to call their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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


def score(model: Any, X: Any, y: Any) -> Any:
    """Score rows, given their conditions where there are any."""
    return model.score_samples(X) if y is None else model.score_samples(X, y)


def score_name(model: Any) -> str:
    """What a model's scores are: log-densities, log-masses of discrete data, or others."""
    density = getattr(model, "density_", None)
    if density is None:
        return "score"
    return "log_mass" if density.support == "discrete" else "log_density"
