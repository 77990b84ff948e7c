"""The contract kit over everything that is registered, installed plugins included."""

import pytest

from densekit import registry
from densekit.densities import MADE, Flow
from densekit.images import Dequantized, Factor, PixelCNN
from densekit.testing import parametrize_with_checks, registered_cases
from densekit.transforms import Chain

CASES = [case for group in registry.GROUPS for case in registered_cases(group)]


@parametrize_with_checks(CASES)
def test_registered(case, check):
    check(case)


NOT_REGISTERED = (Chain, Dequantized, Factor, Flow, MADE, PixelCNN)


@parametrize_with_checks([case for cls in NOT_REGISTERED for case in cls.example_cases()])
def test_not_registered(case, check):
    check(case)


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_registered_name_has_cases(group):
    # Rows of the kit have two or three numbers, and no sides that flows of images could halve.
    names = set(registry.available(group)) - {"image_glow", "image_realnvp"}
    owners = {registry.owner(registry.load(group, name)) for name in names}
    assert all(owner.example_cases() for owner in owners)
