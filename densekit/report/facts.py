"""What was fitted, in words and numbers."""

from __future__ import annotations

import dataclasses
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

import densekit
from densekit.report.subject import Subject

LIBRARIES = ("torch", "scikit-learn", "numpy")
N_STRANGEST = 10
MAX_COLUMNS = 30  # of the table of strange rows


def facts(subject: Subject) -> dict[str, str]:
    """The estimator, its data and its fit."""
    estimator, history = subject.estimator, subject.estimator.history_
    density = estimator.density_
    n_weights = sum(p.numel() for p in density.parameters() if p.requires_grad)
    seconds = history.seconds[-1] if history.seconds else 0.0
    kept = f", that of epoch {history.best_epoch} kept" if history.best_epoch else ""
    found = {
        "Estimator": type(estimator).__name__,
        "Fitted on": f"{estimator.n_samples_fit_:,} rows of {_width(subject)}",
        "Conditions": _conditions(subject),
        "Kind of data": "levels (log-masses)" if subject.is_discrete else "real numbers",
        "Learned numbers": f"{n_weights:,}, {str(density.anchor.dtype).removeprefix('torch.')} "
        f"at the ends, on {density.anchor.device.type}",
        "Training": f"{history.n_epochs} epochs in {seconds:.1f} s{kept}",
        "Noise on training rows": f"{estimator.noise_:g} standard deviations at the start",
    }
    if history.n_rollbacks:
        found["Rollbacks"] = f"{history.n_rollbacks}, after losses that were not finite"
    if history.interrupted:
        found["Interrupted"] = "yes: the best weights so far were kept"
    if estimator.best_validation_score_ is not None:
        found["Best validation score"] = f"{estimator.best_validation_score_:.3f} nats per row"
    found["Versions"] = ", ".join(
        [
            f"densekit {densekit.__version__}",
            *(f"{library} {version(library)}" for library in LIBRARIES),
            f"Python {platform.python_version()}",
        ]
    )
    found["Written"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return found


def parameters(subject: Subject) -> list[tuple[str, str, bool]]:
    """Name, value and whether it is not the default, of each constructor parameter."""
    estimator = subject.estimator
    defaults: dict[str, Any] = {}
    if dataclasses.is_dataclass(estimator):
        defaults = {field.name: field.default for field in dataclasses.fields(estimator)}
    values = estimator.get_params(deep=False)
    return [
        (name, repr(value), name not in defaults or repr(defaults[name]) != repr(value))
        for name, value in sorted(values.items())
    ]


def rows_used(subject: Subject) -> str:
    """Which rows the numbers are of."""
    n, m = len(subject.scored), len(subject.for_peers)
    if subject.has_own_training_rows:
        return (
            f"X, {subject.n_given:,} rows, is taken as rows that the estimator was not fitted on; "
            f"{n:,} of them are scored. The peers were fitted on {m:,} rows of X_train."
        )
    return (
        f"X, {subject.n_given:,} rows, is taken as rows that the estimator was not fitted on. It "
        f"was split at random: {n:,} rows are scored by all, and the peers were fitted on {m:,} "
        f"others, where {type(subject.estimator).__name__} had "
        f"{subject.estimator.n_samples_fit_:,} rows to fit. Give X_train, and the peers are fitted "
        "on that."
    )


def strangest(subject: Subject, scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places, among the scored rows, of those of the least density."""
    return np.argsort(scores, kind="stable")[:N_STRANGEST]


def _width(subject: Subject) -> str:
    if subject.images is not None:
        height, width, channels = subject.images.shape
        colours = f" x {channels} channels" if channels > 1 else ""
        return f"images of {height} x {width} pixels{colours}, {subject.images.n_levels} levels"
    n = subject.estimator.n_features_in_
    return f"{n} {'column' if n == 1 else 'columns'}"


def _conditions(subject: Subject) -> str:
    if subject.has_labels:
        classes = [str(label) for label in subject.estimator.classes_]
        shown = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
        return f"{len(classes)} labels: {shown}. Scores are marginal over them."
    if subject.has_numbers:
        return f"{subject.context.size} numbers; scores are given those of each row."
    return "none" if subject.context is None else "images; scores are given those of each row."
