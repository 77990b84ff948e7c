"""Reasons as people read them."""

import pytest

from densekit.anomaly import explanations


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.366e6, "1,366,000"),
        (-123456.7, "-123,457"),
        (2019, "2019"),
        (9999.7, "10,000"),
        (12.3456, "12.35"),
        (0.5, "0.5"),
        (3.0, "3"),
        (0.00012345, "0.0001234"),
        (0, "0"),
        (1e-9, "1e-09"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (True, "True"),
        ("red", "red"),
    ],
)
def test_numbers_in_reasons_are_written_for_people(number, text):
    assert explanations._short(number) == text
