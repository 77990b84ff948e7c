"""The cache of compiled code: none, full or damaged, a score comes out all the same."""

import functools
import json
import os
import random
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SUM = """
import json, sys, warnings
import numpy as np
if len(sys.argv) > 1:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from densekit.kernels.compiled import compiled

@compiled
def double(x):
    return 2 * x

@compiled
def add_up(values):
    total = 0.0
    for value in values:
        total += double(value)
    return total

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = [float(add_up(np.arange(5, dtype=dtype))) for dtype in ("f8", "f4")]
stats = getattr(add_up, "stats", None)
hits = sum(stats.cache_hits.values()) if stats else 0
print(json.dumps([found, hits, [str(w.message) for w in caught]]))
"""


def run_sum(folder, *args, **environment):
    """Compile, or load, and run; gives how often the cache had the code, and the warnings."""
    script = folder / "sum.py"
    if not script.exists():
        script.write_text(SUM)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache")} | environment
    command = [sys.executable, script, *args]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    result, hits, warned = json.loads(found.stdout)
    assert result == [20.0, 20.0]
    return hits, warned


@pytest.fixture
def run(tmp_path):
    return functools.partial(run_sum, tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with a cache that one run has filled."""
    folder = tmp_path_factory.mktemp("filled")
    assert run_sum(folder) == (0, [])
    return folder


def test_compiled_code_is_kept(filled):
    assert run_sum(filled) == (2, [])


def flipped(content, draw):
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def cut(content, draw):
    return content[: len(content) // 2]


def emptied(content, draw):
    return b""


@pytest.mark.parametrize("damage", [flipped, cut, emptied])
def test_a_damaged_cache_is_made_anew(filled, damage):
    draw = random.Random(0)
    files = [path for path in (filled / "cache").rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    for path in files:
        path.write_bytes(damage(path.read_bytes(), draw))
    assert run_sum(filled) == (0, [])
    assert run_sum(filled) == (2, [])


def test_a_full_disk_costs_a_warning_and_not_the_score(run):
    hits, warned = run("500")
    assert hits == 0
    assert len(warned) == 1
    assert "NUMBA_CACHE_DIR" in warned[0]


def test_code_that_is_not_compiled_runs(run):
    assert run(NUMBA_DISABLE_JIT="1") == (0, [])


WITHOUT_COMPILER = """
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


def test_every_model_works_without_the_compiler():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", WITHOUT_COMPILER]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
