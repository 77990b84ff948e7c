"""Public docstrings say what they should, in numpydoc's form."""

import inspect

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

import densekit

# Of numpydoc's faults: no docstring, a bad start, sections unknown or out of order, and parameters
# that are undocumented, unknown, or without a type.
FAULTS = {
    *("GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "SS01", "SS02", "SS03", "SS04"),
    *("PR01", "PR02", "PR04", "PR05", "PR06", "PR10"),
}
NAMES = [name for name in densekit.__all__ if callable(getattr(densekit, name))]


def members(name):
    """A public object of the package, and its own public methods."""
    yield f"densekit.{name}"
    found = getattr(densekit, name)
    if not inspect.isclass(found):
        return
    for cls in found.__mro__:
        if cls.__module__.startswith("densekit"):
            for method, value in vars(cls).items():
                is_public = not method.startswith("_") and method != "example_cases"
                if is_public and inspect.isfunction(value):
                    yield f"{cls.__module__}.{cls.__name__}.{method}"


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_are_whole(name):
    faults = [
        (member, code, text)
        for member in members(name)
        for code, text in validate(member)["errors"]
        if code in FAULTS and "request" not in member and "metadata" not in member
    ]
    assert faults == []


@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("Estimator")])
def test_estimators_say_what_is_fitted_what_is_like_them_and_where_they_come_from(name):
    estimator = getattr(densekit, name)
    assert issubclass(estimator, BaseEstimator)
    doc = ClassDoc(estimator)
    assert {"density_", "history_", "n_features_in_"} <= {item.name for item in doc["Attributes"]}
    assert doc["See Also"]
    assert "".join(doc["References"]).count(".. [") >= 1
