"""The shared library of compiled loops: built where there is a compiler, done without elsewhere."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from densekit import MAFEstimator
from densekit._kernels import library
from densekit.exceptions import SlowPathWarning

ROOT = Path(library.__file__).parents[2]


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """The build's own functions, which leave their results in a folder of the test."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.SOURCES:
        (tmp_path / name).write_bytes((module.FOLDER / name).read_bytes())
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


def test_nothing_is_built_without_a_compiler(hook, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert hook.build() is None


def test_a_compiler_that_fails_builds_nothing(hook, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    assert hook.build() is None
    assert not list(tmp_path.glob("kernels.*.*")) + list(tmp_path.glob("*.so"))


def test_a_library_that_is_newer_than_its_sources_is_kept(hook, tmp_path):
    there = tmp_path / f"kernels{hook.ENDING}"
    there.write_bytes(b"built before")
    os.utime(there, (2**31 - 1, 2**31 - 1))
    assert hook.build() == there
    assert there.read_bytes() == b"built before"


@pytest.mark.skipif(library.load() is None, reason="about the library, which is not built here")
def test_each_function_is_there_for_its_dtypes_with_as_many_arguments_as_the_source_has():
    for name in library._ARGUMENTS:
        halves = (torch.float32, torch.bfloat16)
        dtypes = halves if "gate" in name else (torch.float32, torch.float64)
        for dtype in dtypes:
            assert isinstance(library.function(name, dtype), ctypes._CFuncPtr)
    source = "".join((library.FOLDER / name).read_text() for name in ("kernels.c", "kernels.inc"))
    for name, kinds in library._ARGUMENTS.items():
        start = source.index(f"NAME({name})(") if f"NAME({name})(" in source else -1
        start = start if start >= 0 else source.index(f" {name}_f(")
        arguments = source[source.index("(", start + len(name)) :]
        if f"NAME({name})(" in source:
            arguments = source[start + len(f"NAME({name})") :]
        arguments = arguments[: arguments.index("{")].strip()[1:-1].split(",")
        pointers = ["*" in argument or "NAME(" in argument for argument in arguments]
        assert kinds == "".join("p" if is_pointer else "n" for is_pointer in pointers), name


def test_a_missing_library_is_said_once_and_costs_no_result(monkeypatch, tmp_path):
    X = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).numpy()
    model = MAFEstimator(max_epochs=1, random_state=0).fit(X)
    expected = model.score_samples(X)
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    library.load.cache_clear()
    try:
        with pytest.warns(SlowPathWarning, match="without a C compiler"):
            found = model.score_samples(X)
        assert found == pytest.approx(expected, rel=1e-6)
        model.score_samples(X)
    finally:
        monkeypatch.undo()
        library.load.cache_clear()


WITHOUT_LIBRARY = """
import warnings
import numpy as np, densekit
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(80, 3))
X[:, 1] = np.exp(2 * X[:, 1])
for name in ("nsf", "maf", "realnvp", "glow", "iaf", "made", "nice"):
    model = densekit.make_estimator(name, max_epochs=1, random_state=0).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(3)).all()
images = (X[:36].reshape(3, 6, 6) > 0).repeat(10, 0)
model = densekit.PixelCNNEstimator(max_epochs=1, n_layers=2, n_channels=4).fit(images)
model.score_samples(images), model.sample(2)
detector = densekit.AnomalyDetector(densekit.MAFEstimator(max_epochs=1, random_state=0)).fit(X)
detector.predict(X), detector.explain(X[:2])
"""


def test_every_model_works_without_the_library():
    environment = os.environ | {"DENSEKIT_PLAIN": "1"}
    command = [sys.executable, "-c", WITHOUT_LIBRARY]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
