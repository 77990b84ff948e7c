"""The registry over real distributions, installed into a fresh environment."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import densekit
from densekit import registry
from densekit.elementwise import Affine, Elementwise
from densekit.exceptions import (
    DuplicateNameError,
    ParameterError,
    PluginTypeError,
    UnknownNameError,
)

HERE = Path(__file__).parent
PACKAGES = [HERE / "plugin_package", *sorted((HERE / "broken_plugins").iterdir())]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Interpreter of a new environment that has the plugins, and what the tests' own has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder})
    parent = sysconfig.get_path("purelib")
    (Path(site) / "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*install, *options, *PACKAGES], check=True)
    return python


def run(python, code, **variables):
    done = subprocess.run(
        [python, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_plugin_passes_the_kit_in_its_own_environment(environment):
    tests = HERE / "plugin_package" / "tests"
    options = ["-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", tests]
    subprocess.run([environment, "-m", "pytest", *options, tests], check=True)


@pytest.mark.slow
def test_plugins_are_listed_without_being_imported(environment):
    code = """
import sys, densekit
assert "rotation" in densekit.available("transforms")
assert "rotation_flow" in densekit.available()
assert "fails_to_import" in densekit.available("transforms")
assert not {"densekit_example", "torch"} & set(sys.modules)
plugin = next(p for p in densekit.plugins() if p.name == "laplace")
print(plugin.distribution, plugin.version)
"""
    assert run(environment, code).split() == ["densekit-example", "1.2.3"]


@pytest.mark.slow
def test_plugins_serve_every_estimator(environment):
    code = """
import densekit, numpy as np, warnings
from sklearn.exceptions import ConvergenceWarning
warnings.simplefilter("ignore", ConvergenceWarning)  # of two epochs
X = np.random.default_rng(0).normal(size=(60, 2))
for est in (
    densekit.make_estimator("rotation_flow", max_epochs=2),
    densekit.make_estimator("maf", elementwise="sinh_arcsinh", base="laplace", max_epochs=2),
    densekit.make_estimator("realnvp", elementwise="densekit-example:sinh_arcsinh", max_epochs=2),
    densekit.make_estimator("flow", layers=["rotation", ("coupling", {})], max_epochs=2),
):
    assert est.fit(X).sample(3).shape == (3, 2)
"""
    run(environment, code)


@pytest.mark.slow
def test_broken_plugins_break_their_own_names_only(environment):
    code = """
import densekit
from densekit import registry
from densekit.exceptions import PluginError
for group, name in [("transforms", "fails_to_import"), ("transforms", "has_no_such_class"),
                    ("bases", "exits")]:
    for _ in range(2):
        try:
            registry.load(group, name)
        except PluginError as error:
            assert isinstance(error, ImportError) and "densekit-failing" in str(error), error
            assert error.__cause__ is not None
        else:
            raise SystemExit(f"{name} was loaded")
registry.load("transforms", "coupling")
"""
    run(environment, code)


@pytest.mark.slow
def test_a_name_claimed_twice_names_both_claimants(environment):
    code = """
from densekit import registry
from densekit.exceptions import DuplicateNameError
registry.load("elementwise", "spline")
try:
    registry.load("elementwise", "affine")
except DuplicateNameError as error:
    assert "'densekit'" in str(error) and "'densekit-duplicate'" in str(error), error
else:
    raise SystemExit("a duplicate was loaded")
assert registry.load("elementwise", "densekit:affine").__name__ == "Affine"
assert registry.load("elementwise", "densekit-duplicate:affine").__name__ == "OtherAffine"
"""
    run(environment, code)


@pytest.mark.slow
def test_what_is_loaded_is_checked(environment):
    code = """
from densekit import registry
from densekit.exceptions import PluginTypeError
for name in ("not_a_map", "a_function"):
    try:
        registry.load("elementwise", name)
    except PluginTypeError as error:
        assert "densekit.elementwise.base.Elementwise" in str(error), error
        assert "densekit-wrong_type" in str(error), error
    else:
        raise SystemExit("a wrong type was loaded")
"""
    run(environment, code)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("allowed", "seen"), [("none", False), ("densekit_example, other", True), ("other", False)]
)
def test_the_allow_list_restricts_plugins(environment, allowed, seen):
    code = "import densekit; print(densekit.available('bases'))"
    names = run(environment, code, DENSEKIT_PLUGINS=allowed)
    assert ("laplace" in names) == seen
    assert "normal" in names


def test_unknown_names_list_near_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'coupling'"):
        registry.load("transforms", "couplin")
    with pytest.raises(ValueError, match="groups are elementwise"):
        densekit.available("layers")


def test_a_class_or_an_instance_stands_for_a_name():
    assert isinstance(registry.build("elementwise", Affine), Affine)
    instance = Affine(2.0)
    assert registry.build("elementwise", instance) is instance
    with pytest.raises(PluginTypeError, match="expects a subclass of"):
        registry.resolve("elementwise", 3)
    with pytest.raises(ParameterError, match="cannot be built with the options"):
        registry.build("elementwise", "affine", no_such_option=1)


def test_register_refuses_to_replace(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    class Doubled(Elementwise):
        n_params = 0

        def forward(self, x, params):
            return 2 * x, x * 0 + 0.6931471805599453

        def inverse(self, z, params):
            return z / 2, z * 0 - 0.6931471805599453

    densekit.register("elementwise", "doubled", Doubled)
    assert registry.load("elementwise", "doubled") is Doubled
    with pytest.raises(DuplicateNameError, match="taken"):
        densekit.register("elementwise", "doubled", Affine)
    with pytest.raises(DuplicateNameError, match="taken"):
        densekit.register("elementwise", "affine", Doubled)
    with pytest.raises(PluginTypeError, match="expects a subclass"):
        densekit.register("elementwise", "number", 3)
