import numpy as np
from my_flows import Modulus

import densekit
from densekit.testing import parametrize_with_checks, registered_cases


@parametrize_with_checks(Modulus.example_cases())
def test_modulus(case, check):
    """The laws of a transform: its log-determinant is that of autograd, and so on."""
    check(case)


def test_densekit_finds_it():
    cases = registered_cases("transforms", distribution="my-flows")
    assert [case.name for case in cases] == ["Modulus"]


def test_it_draws_in_heavy_tails():
    X = np.random.default_rng(0).standard_t(2, size=(500, 1))
    layers = ["modulus", "actnorm"]
    with_it = densekit.make_estimator("flow", layers=layers, random_state=0).fit(X[:400])
    without = densekit.make_estimator("flow", layers=layers[1:], random_state=0).fit(X[:400])
    assert with_it.score(X[400:]) > without.score(X[400:])
