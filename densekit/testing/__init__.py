"""The contract kit: the laws that every plugin, and densekit itself, is held to.

A check is a function ``check_<law>(case)`` that raises a ContractError where the law is broken. A
case says how to build one object and where it is valid; a class lists its cases in
``example_cases()``. A plugin's whole test file is::

    from densekit.testing import parametrize_with_checks
    from my_flows import Rotation

    @parametrize_with_checks(Rotation.example_cases())
    def test_rotation(case, check):
        check(case)
"""

from densekit.cases import (
    Case,
    DensityCase,
    DetectorCase,
    ElementwiseCase,
    EstimatorCase,
    TransformCase,
)
from densekit.testing.runner import (
    checks_for,
    parametrize_with_checks,
    registered_cases,
    run_checks,
)

__all__ = [
    "Case",
    "DensityCase",
    "DetectorCase",
    "ElementwiseCase",
    "EstimatorCase",
    "TransformCase",
    "checks_for",
    "parametrize_with_checks",
    "registered_cases",
    "run_checks",
]
