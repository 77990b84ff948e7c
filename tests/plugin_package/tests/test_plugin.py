from densekit_example import Laplace, Rotation, RotationFlowEstimator, SinhArcsinh

from densekit.testing import parametrize_with_checks, registered_cases

OWN = [SinhArcsinh, Rotation, Laplace, RotationFlowEstimator]


@parametrize_with_checks([case for cls in OWN for case in cls.example_cases()])
def test_plugin(case, check):
    check(case)


def test_the_registry_finds_it():
    cases = registered_cases("transforms", distribution="densekit-example")
    assert [case.name for case in cases] == ["Rotation"]
