"""The fast path beyond what the contract kit compares."""

import copy
import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from densekit import kernels
from densekit.densities import Flow, Normal
from densekit.elementwise import Affine, Spline
from densekit.kernels import compiled, numbers
from densekit.testing import tools
from densekit.training.weights import Weights
from densekit.transforms import Autoregressive, Chain, Coupling


def shaken_flow():
    layers = [Autoregressive((3,), elementwise="spline"), Coupling((3,))]
    flow = Flow(Chain(layers), Normal((3,))).double()
    tools.shake(flow, 0)
    return flow


@pytest.mark.parametrize("n_features", [6, 40])
@pytest.mark.parametrize("elementwise", ["affine", "spline"])
@pytest.mark.parametrize("build", [Autoregressive, Coupling])
def test_whole_flows_agree_in_float32(build, elementwise, n_features):
    """Scores agree to 1e-5, relative to max(1, |score|), and so do gradients but where the plain
    path in float32 is itself further than that from float64: there the fast one is no worse."""
    options = {"elementwise": elementwise, "hidden_sizes": (64, 64)}
    flow = Flow(Chain(build((n_features,), **options) for _ in range(4)), Normal((n_features,)))
    tools.shake(flow, 0)
    x = torch.randn(100, n_features)

    def evaluate(flow, x):
        log_prob = flow.log_prob(x)
        gradients = torch.autograd.grad(log_prob.mean(), list(flow.parameters()))
        return [value.detach().double() for value in (log_prob, *gradients)]

    fast = evaluate(flow, x)
    with kernels.plain():
        plain = evaluate(flow, x)
        exact = evaluate(copy.deepcopy(flow).double(), x.double())
    gaps = [
        [float(((a - b).abs() / b.abs().clamp_min(1)).max()) for a, b in zip(*pair, strict=True)]
        for pair in ((fast, plain), (fast, exact), (plain, exact))
    ]
    assert gaps[0][0] <= 1e-5
    assert max(gaps[1]) <= max(1e-5, 3 * max(gaps[2]))


def test_second_derivatives_take_the_plain_path():
    flow = shaken_flow()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    with kernels.plain():
        (gradient,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.isfinite().all()
    assert second.abs().sum() > 0
    (gradient,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiate twice|not have been used"):
        torch.autograd.grad(gradient.square().sum(), x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, in jvp
def test_function_transforms_and_forward_mode_find_the_same_gradient():
    flow = shaken_flow()
    x = torch.randn(4, 3, dtype=torch.float64)
    expected = torch.autograd.grad(flow.log_prob(x.requires_grad_()).sum(), x)[0]
    x = x.detach()
    by_row = torch.func.vmap(torch.func.grad(lambda row: flow.log_prob(row[None])[0]))(x)
    torch.testing.assert_close(by_row, expected)
    direction = torch.randn_like(x)
    _, along = torch.func.jvp(lambda rows: flow.log_prob(rows).sum(), (x,), (direction,))
    torch.testing.assert_close(along, (expected * direction).sum())


def test_parts_of_a_batch_give_what_the_whole_gives():
    flow = shaken_flow()
    x = torch.randn(5000, 3, dtype=torch.float64)
    whole = flow.log_prob(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(x), whole, rtol=1e-12, atol=1e-12)


def test_weights_are_one_vector_until_they_are_released():
    flow = shaken_flow()
    before = [parameter.detach().clone() for parameter in flow.parameters()]
    weights = Weights(flow.parameters())
    flow.log_prob(torch.randn(4, 3, dtype=torch.float64)).sum().backward()
    gradients = torch.cat([parameter.grad.reshape(-1) for parameter in flow.parameters()])
    assert torch.equal(gradients, weights.gradient)
    assert weights.gradient.abs().sum() > 0
    weights.set(2 * weights.copy())
    for parameter, value in zip(flow.parameters(), before, strict=True):
        assert torch.equal(parameter, 2 * value)
    weights.release()
    storages = {parameter.untyped_storage().data_ptr() for parameter in flow.parameters()}
    assert len(storages) == len(before)
    assert all(parameter.grad is None for parameter in flow.parameters())


@compiled.compiled
def _apply_numbers(x, results):
    for i in range(len(x)):
        results[0, i] = numbers.exp(x[i])
        results[1, i] = numbers.log(numbers.exp(x[i]))
        results[2, i] = numbers.softplus(x[i], x.dtype.type(1))
        results[3, i] = numbers.sigmoid(x[i], x.dtype.type(1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_those_of_numpy(dtype):
    x = np.linspace(-85, 85, 10_001).astype(dtype)
    results = np.empty((4, len(x)), dtype)
    _apply_numbers(x, results)
    wide = x.astype(np.float64)
    expected = np.exp(wide), wide, np.logaddexp(0, wide), 1 / (1 + np.exp(-wide))
    tolerance = 4 * np.finfo(dtype).eps
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, value, rtol=tolerance, atol=tolerance)
    _apply_numbers(np.full_like(x, np.nan), results)
    assert np.isnan(results).all()


@pytest.mark.parametrize("elementwise", [Affine(), Spline(5)], ids=["affine", "spline"])
@pytest.mark.parametrize("place", ["x", "params"])
def test_a_nan_comes_out_of_maps_as_nan(elementwise, place):
    x, params = torch.randn(300, 2), torch.randn(300, 2, elementwise.n_params)
    (x if place == "x" else params)[7] = torch.nan
    with torch.no_grad():
        for direction in (elementwise.forward, elementwise.inverse):
            value, log_slope = direction(x, params)
            assert value[7].isnan().all()
            others = torch.arange(300) != 7
            assert value[others].isfinite().all()
            assert log_slope[others].isfinite().all()


@pytest.mark.parametrize("build", [Coupling, Autoregressive])
def test_a_nan_comes_out_of_layers_as_nan(build):
    layer = build((4,))
    x = torch.randn(200, 4)
    x[3, 0] = torch.nan
    with torch.no_grad():
        for direction in (layer, layer.inverse):
            value, _ = direction(x)
            assert value[3].isnan().any()
            assert value[torch.arange(200) != 3].isfinite().all()


class Negated(Coupling):
    """Another map than its parent's, which knows a fold of its own."""

    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return -z, log_det


class NegatedMap(Affine):
    def forward(self, x, params):
        z, log_slope = super().forward(x, params)
        return z + 1, log_slope


@pytest.mark.parametrize(
    "layer", [Negated((3,)), Coupling((3,), elementwise=NegatedMap())], ids=["layer", "map"]
)
def test_kernels_of_a_parent_are_not_those_of_a_subclass(layer):
    x = torch.randn(5, 3)
    with torch.no_grad():
        expected, _ = layer(x)
        with kernels.plain():
            plain, _ = layer(x)
    folded, _ = layer.fold()(x.numpy())
    torch.testing.assert_close(plain, expected)
    torch.testing.assert_close(torch.from_numpy(folded), expected)


def test_functions_compile_where_no_folder_is_writable(monkeypatch):
    njit = numba.njit

    def without_cache(cache=False, **options):
        if cache:
            raise RuntimeError("no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert compiled.compiled(lambda x: x + x)(2.0) == 4.0


STEPS = """
import hashlib
import torch
from densekit.densities import Flow, Normal
from densekit.testing import tools
from densekit.transforms import Autoregressive, Chain, Coupling
torch.set_num_threads(1)
torch.manual_seed(0)
layers = [kind((7,), elementwise="spline") for kind in (Autoregressive, Coupling)]
flow = Flow(Chain(layers), Normal((7,))).double()
tools.shake(flow, 0)
x = torch.randn(161, 7, dtype=torch.float64)
flow.gradient_pass()(x, None, torch.ones(161, dtype=torch.float64))
found = [parameter.grad for parameter in flow.parameters()]
with torch.no_grad():
    found.append(flow.log_prob(x))
print(hashlib.sha256(b"".join(value.numpy().tobytes() for value in found)).hexdigest())
"""


@pytest.mark.slow
def test_a_process_that_compiles_finds_the_same_bits_as_one_that_loads(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = []
    for _ in range(2):
        run = [sys.executable, "-c", STEPS]
        process = subprocess.run(run, check=True, capture_output=True, text=True, env=environment)
        found.append(process.stdout)
    assert list(tmp_path.rglob("*.nbc"))
    assert found[0] == found[1]


FAULTS = """
import resource, torch
from densekit.densities import Flow, Normal
from densekit.transforms import Chain, Coupling
torch.set_num_threads(1)
flow = Flow(Chain(Coupling((6,), hidden_sizes=(128, 128)) for _ in range(4)), Normal((6,)))
x = torch.randn(4096, 6)
with torch.no_grad():
    for i in range(13):
        if i == 3:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        flow.log_prob(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc alone")
def test_scores_take_the_memory_of_those_before():
    found = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True
    )
    n_pages = 10 * 8 * 4096 * 128 * 4 // 4096  # of what the hidden layers take
    assert int(found.stdout) < n_pages / 10
