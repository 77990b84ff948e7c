"""The law of parameters: each has an effect, or is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.cases import EstimatorCase
from densekit.estimators.parameters import allowed_values
from densekit.exceptions import DensekitError
from densekit.testing import tools

# Where things are done, what is shown, and what another fit begins with: no matter of one fit.
BESIDE_THE_FIT = {"device", "verbose", "warm_start"}
# Other values of the parameters that all estimators share; those that come of a declared list, or
# of the default, need no mention.
OTHERS: dict[str, list[Any]] = {
    "support": ["positive"],
    "max_epochs": [2],
    "batch_size": [7],
    "learning_rate": [3e-2],
    "validation_fraction": [0.4],
    "n_iter_no_change": [1],
    "tol": [10.0],
    "noise": [0.5],
    "random_state": [1],
    "base": ["student_t"],
    "elementwise": ["spline", "affine"],
    "hidden_sizes": [(3,)],
    "image_shape": [(3, 1)],
    "bound": [3.0],
    "layers": [["actnorm"]],
}
# Beside what a parameter is looked at: patience matters where there is no progress.
BESIDE: dict[str, dict[str, Any]] = {
    "n_iter_no_change": {"tol": 10.0},
    "tol": {"learning_rate": 1e-3, "batch_size": 60, "validation_fraction": 0},
}
N_ROWS, N_EPOCHS = 60, 12


def check_parameters_have_effects(case: EstimatorCase) -> None:
    """Another value of a parameter changes what is fitted, scored or drawn, or is refused."""
    rows = _rows(case)
    usual = _outcome(_build(case), rows)
    for field in dataclasses.fields(case.build()):
        if field.name in BESIDE_THE_FIT:
            continue
        beside = BESIDE.get(field.name, {})
        expected = _outcome(_build(case, **beside), rows) if beside else usual
        tried = list(_others(field, getattr(_build(case), field.name)))
        has_effect = any(
            _is_refused_or_other(_build(case, **beside, **{field.name: value}), rows, expected)
            for value in tried
        )
        shown = ", ".join(map(repr, tried))
        tools.require(has_effect, case, f"{field.name} changes nothing, be it {shown}")


def _is_refused_or_other(estimator: Any, rows: NDArray[Any], expected: Any) -> bool:
    try:
        return bool(_outcome(estimator, rows) != expected)
    except DensekitError:
        return True


def _build(case: EstimatorCase, **parameters: Any) -> Any:
    estimator = tools.build_shortened(case, N_EPOCHS)
    return estimator.set_params(**({"random_state": 0, "n_iter_no_change": 3} | parameters))


def _rows(case: EstimatorCase) -> NDArray[Any]:
    draw = np.random.default_rng(0)
    if case.levels is not None:
        first = draw.choice(case.levels, N_ROWS)
        return np.column_stack([first, first, draw.choice(case.levels, N_ROWS)])
    size = draw.gamma(2.0, size=N_ROWS)  # above zero, far from normal, and with much to learn
    return np.column_stack([size, size + 0.05 * draw.gamma(2.0, size=N_ROWS)])


def _outcome(estimator: Any, rows: NDArray[Any]) -> tuple[Any, ...]:
    labels = np.repeat(["a", "b"], N_ROWS // 2)
    estimator.fit(rows, labels if estimator.conditional else None)
    scores, samples = estimator.score_samples(rows), estimator.sample(5, random_state=0)
    return scores.tobytes(), np.asarray(samples).tobytes(), estimator.n_iter_


def _others(field: Any, default: Any) -> Iterator[Any]:
    """Values beside the one that is there, one of which should matter."""
    if field.name in OTHERS:
        yield from OTHERS[field.name]
    elif isinstance(default, bool):
        yield not default
    else:
        yield from (value for value in allowed_values(field) if value != default)
        if isinstance(default, int):
            yield default + 1
        elif isinstance(default, float):
            yield 2 * default + 1
        elif isinstance(default, str):
            yield from (2, 3)
