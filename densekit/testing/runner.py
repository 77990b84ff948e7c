"""Which checks hold for which case, and how to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from densekit import discovery, registry
from densekit.cases import (
    Case,
    DensityCase,
    DetectorCase,
    ElementwiseCase,
    EstimatorCase,
    TransformCase,
)
from densekit.testing.density_checks import DENSITY_CHECKS
from densekit.testing.detector_checks import DETECTOR_CHECKS
from densekit.testing.elementwise_checks import ELEMENTWISE_CHECKS
from densekit.testing.estimator_checks import ESTIMATOR_CHECKS
from densekit.testing.transform_checks import TRANSFORM_CHECKS

Check = Callable[[Any], None]

_CHECKS: dict[type[Case], Sequence[Check]] = {
    ElementwiseCase: ELEMENTWISE_CHECKS,
    TransformCase: TRANSFORM_CHECKS,
    DensityCase: DENSITY_CHECKS,
    EstimatorCase: ESTIMATOR_CHECKS,
    DetectorCase: DETECTOR_CHECKS,
}


def checks_for(case: Case) -> Sequence[Check]:
    """List the checks that a case must pass."""
    return _CHECKS[type(case)]


def run_checks(case: Case) -> None:
    """Run all checks on a case; the first broken law raises a ContractError."""
    for check in checks_for(case):
        check(case)


def parametrize_with_checks(cases: Iterable[Case]) -> Any:
    """Make a pytest decorator that calls a test with every (case, check) pair.

    Examples
    --------
    >>> from densekit.testing import parametrize_with_checks
    >>> from densekit.transforms import Coupling
    >>> @parametrize_with_checks(Coupling.example_cases())
    ... def test_coupling(case, check):
    ...     check(case)
    """
    import pytest

    pairs = [(case, check) for case in cases for check in checks_for(case)]
    ids = [f"{case.name}-{check.__name__}" for case, check in pairs]
    return pytest.mark.parametrize(("case", "check"), pairs, ids=ids)


def registered_cases(group: str, *, distribution: str | None = None) -> list[Case]:
    """Collect the cases of everything that is registered in a group.

    Parameters
    ----------
    group : {"elementwise", "transforms", "bases", "estimators", "meta"}
    distribution : str, optional
        Only what this distribution registers.
    """
    owners: dict[Any, None] = {}
    for plugin in discovery.plugins():
        if plugin.group == group and distribution in (None, plugin.distribution):
            owners[registry.owner(registry.load(group, plugin.qualified_name))] = None
    return [case for owner in owners for case in owner.example_cases()]
