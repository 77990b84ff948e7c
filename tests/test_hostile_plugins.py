"""Plugins that misbehave: they break themselves and nothing else."""

import os
import subprocess
import sys

import pytest

from densekit.discovery import is_interrupt

pytestmark = pytest.mark.slow

PLUGIN = """
import os
from densekit.densities import Normal
from densekit.estimators.maf import MAFEstimator

class Quiet(Normal):
    def __init__(self, event_shape, **options):
        super().__init__(event_shape, **options)
        error = os.environ.get("RAISE")
        if error:
            raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "base": BaseException}[error]
"""


def install(folder, name, version, points, code=None, *, module="hostile"):
    """Put a distribution on the path, as pip would."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if isinstance(points, bytes):
        (info / "entry_points.txt").write_bytes(points)
    else:
        (info / "entry_points.txt").write_text(points)
    if code is not None:
        (folder / f"{module}.py").write_text(code)
    return folder


def run(folder, code, *, returncode=0, **variables):
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": path} | variables
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == returncode, done.stderr
    return done.stdout


def test_whatever_an_import_raises_breaks_that_name_only(tmp_path):
    for i, error in enumerate(["SystemExit(3)", "KeyboardInterrupt", "BaseException('x')"]):
        name, points = f"hostile{i}", f"[densekit.bases]\nbad{i} = hostile{i}:B\n"
        install(tmp_path, name, "1", points, f"raise {error}\n", module=name)
    code = """
import densekit
from densekit import registry
from densekit.exceptions import PluginError
for i in (0, 1, 2, 0, 1, 2):
    try:
        registry.load("bases", f"bad{i}")
    except PluginError as error:
        assert f"hostile{i}" in str(error)
    else:
        raise AssertionError("loaded")
registry.load("bases", "normal")
class Own: pass
registry.find(Own)  # goes through all plugins
print("done")
"""
    assert run(tmp_path, code) == "done\n"


SAVE_AND_LOAD = """
import os, warnings
import numpy as np, densekit
X = np.random.default_rng(0).normal(size=(60, 2))
path = {path!r}
if {what!r} == "save":
    densekit.MAFEstimator(base="quiet", max_epochs=1, random_state=0).fit(X).save(path)
else:
    from densekit.exceptions import DensekitError
    for error in {errors!r}:
        os.environ["RAISE"] = error
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                densekit.load(path).score(X)
            except DensekitError as error:
                print(type(error).__name__, error)
        print(*[w.message for w in caught if "version" in str(w.message)])
"""
POINTS = "[densekit.bases]\nquiet = hostile:Quiet\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a plugin, and a model that needs it."""
    place = tmp_path_factory.mktemp("saved")
    folder, path = install(place / "site", "hostile", "1.0", POINTS, PLUGIN), str(place / "model")
    run(folder, SAVE_AND_LOAD.format(path=path, what="save", errors=()))
    return folder, path


def test_what_a_constructor_raises_is_an_error_of_loading(saved):
    folder, path = saved
    errors = ("", "exit", "interrupt", "base")
    found = run(folder, SAVE_AND_LOAD.format(path=path, what="load", errors=errors)).splitlines()
    assert found[0] == ""  # no error, and no warning
    raised = [line for line in found if line]
    for line, name in zip(
        raised, ("SystemExit", "KeyboardInterrupt", "BaseException"), strict=True
    ):
        assert line.startswith("PluginError")
        assert name in line


def test_another_version_of_a_plugin_is_told(saved, tmp_path):
    _, path = saved
    other = install(tmp_path / "other", "hostile", "2.0", POINTS, PLUGIN)
    found = run(other, SAVE_AND_LOAD.format(path=path, what="load", errors=("",)))
    assert "version 1.0 of the distribution 'hostile', and 2.0 is installed" in found


def test_a_distribution_that_calls_itself_densekit_shadows_nothing(tmp_path):
    points = "[densekit.estimators]\nmaf = hostile:Other\nnice = densekit.estimators.maf:M\n"
    install(tmp_path, "densekit", "99", points + "own = hostile:Other\n", "class Other: pass\n")
    code = """
import densekit
assert densekit.make_estimator("maf").__class__ is densekit.MAFEstimator
assert densekit.make_estimator("nice").__class__ is densekit.NICEEstimator
assert "own" not in densekit.available() and "nsf" in densekit.available()
assert {p.version for p in densekit.plugins() if p.distribution == "densekit"} == {"0.1.0"}
"""
    run(tmp_path, code)


MALFORMED = (
    b"[densekit.bases]\nno equals sign here\n",
    b"\xff\xfe\x00[densekit.bases]\na = b:c\n",
    b"no section = x:y\n[densekit.bases\n",
    b"[densekit.bases]\n = hostile:B\nodd = not a target!\n",
)


def test_malformed_entry_points_break_their_own_distribution_only(tmp_path):
    for i, points in enumerate(MALFORMED):
        install(tmp_path, f"hostile{i}", "1", points)
    install(tmp_path, "well", "1", "[densekit.bases]\nwell = densekit.densities.normal:Normal\n")
    code = """
import densekit
from densekit import registry
assert "well" in densekit.available("bases") and "maf" in densekit.available()
assert registry.load("bases", "well").__name__ == "Normal"
"""
    run(tmp_path, code, TORCH_DEVICE_BACKEND_AUTOLOAD="0")  # torch cannot be imported otherwise


INTERRUPT = """
import os, signal, threading, time
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
end = time.monotonic() + 20
while time.monotonic() < end:
    time.sleep(0.01)
"""


def test_an_interrupt_by_the_user_still_interrupts(tmp_path):
    install(tmp_path, "hostile", "1", "[densekit.bases]\nslow = hostile:B\n", INTERRUPT)
    code = """
from densekit import registry
try:
    registry.load("bases", "slow")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert run(tmp_path, code) == "interrupted\n"


def test_interrupts_from_outside_are_told_from_raised_ones():
    def raise_it():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        raise_it()
    assert not is_interrupt(caught.value)
    assert is_interrupt(KeyboardInterrupt())
    assert not is_interrupt(SystemExit())
