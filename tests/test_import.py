"""Importing densekit is quick and changes no setting of the process."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CLEAN = """
import sys, warnings, threading
import numpy as np
state = np.random.get_state()[1].copy()
import densekit
assert "torch" not in sys.modules, "import densekit loads torch"
assert "sklearn" not in sys.modules, "import densekit loads scikit-learn"
densekit.available("estimators")
assert "torch" not in sys.modules, "listing names loads torch"
import torch
seed, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
threads = torch.get_num_threads()
from torch.distributions import Distribution
validation, grad = Distribution._validate_args, torch.is_grad_enabled()
import narwhals.stable.v2, pandas, sklearn.base, sklearn.utils.multiclass, tqdm.auto
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # loads sympy, which sets a filter
filters = list(warnings.filters)
from densekit import MAFEstimator
X = np.random.RandomState(0).randn(30, 2)
est = MAFEstimator(max_epochs=2, random_state=0).fit(X)
est.score_samples(X); est.sample(3); est.sample(3, random_state=0)
assert torch.equal(seed, torch.random.get_rng_state()), "torch's global generator moved"
assert (state == np.random.get_state()[1]).all(), "numpy's global generator moved"
assert dtype == torch.get_default_dtype() and threads == torch.get_num_threads()
assert validation == Distribution._validate_args and grad == torch.is_grad_enabled()
assert filters == list(warnings.filters), "warning filters changed"
"""


def test_import_and_fit_change_no_global_state():
    subprocess.run([sys.executable, "-c", CLEAN], check=True)


def test_every_public_name_can_be_imported():
    code = "import densekit\nfor name in densekit.__all__: getattr(densekit, name)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_loading_leaves_the_compiler_of_torch_out():
    folder = Path(__file__).parent / "model_files" / "1"
    code = """
import sys, densekit
for path in sys.argv[1:]:
    densekit.load(path)
    assert "torch._dynamo" not in sys.modules, f"loading {path} imports it, which takes seconds"
"""
    paths = [str(path) for path in sorted(folder.glob("*.densekit"))]
    assert paths
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
