"""The fast path beyond what the contract kit compares."""

import contextlib
import copy
import platform
import subprocess
import sys
from unittest import mock

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densekit import kernels
from densekit.densities import Flow, Normal
from densekit.elementwise import Affine, Spline
from densekit.kernels import compiled, numbers, products, triangle
from densekit.networks.gated_layer import gate
from densekit.testing import tools
from densekit.training.weights import Weights
from densekit.transforms import Autoregressive, Chain, Coupling

SIDES = st.sampled_from([1, 2, 3, 17, 64, 130, 300])


PROCESSORS = ["emeraldrapids", "znver3", "znver5"]  # as LLVM calls them


@contextlib.contextmanager
def on(processor):
    """Choose libraries as on another processor, where torch has MKL."""
    with (
        mock.patch.object(products.binding, "get_host_cpu_name", return_value=processor),
        mock.patch.object(products, "_has_own_blas", products._has_own_blas.__wrapped__),
        mock.patch.object(products, "_has_wide_vectors", products._has_wide_vectors.__wrapped__),
    ):
        yield


def shaken_flow():
    layers = [Autoregressive((3,), elementwise="spline"), Coupling((3,))]
    flow = Flow(Chain(layers), Normal((3,))).double()
    tools.shake(flow, 0)
    return flow


@pytest.mark.parametrize("processor", PROCESSORS)
@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_products_are_those_of_matrices(processor, n, m, k, turn_a, turn_b, dtype):
    dtype = getattr(torch, dtype)
    a, b = torch.randn(n, k, dtype=dtype), torch.randn(k, m, dtype=dtype)
    a, b = a.T.contiguous().T if turn_a else a, b.T.contiguous().T if turn_b else b
    expected = a.double() @ b.double()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    # Rounding goes by the terms of a sum, which may cancel.
    scale = a.double().abs() @ b.double().abs()
    into, onto = torch.empty(n, m, dtype=dtype), torch.ones(n, m, dtype=dtype)
    with on(processor):
        triangle.run(
            [products.call_into(a, b, into), products.call_into(a, b, onto, is_added=True)]
        )
        alone = kernels.product(a, b)
    for result in (alone, into):
        assert ((result - expected).abs() <= tolerance * scale).all()
    assert ((onto - 1 - expected).abs() <= tolerance * (1 + scale)).all()


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("n_rows", [7, 512])
def test_skipping_what_masks_hide_changes_no_product(processor, n_rows):
    mask = torch.arange(130)[:, None] >= torch.arange(128)
    weight, of_weight = torch.randn(130, 128) * mask, torch.zeros(130, 128)
    (x, of_x), (y, of_y) = (torch.randn(2, side, n_rows) for side in (128, 130))
    part = triangle.find_half(mask)
    assert part[0] > 0
    with on(processor):
        plan = triangle.plan(weight, of_weight, part, (x, y), (of_x, of_y))
        triangle.run([*plan.forward, *plan.backward, *plan.of_weight])
    close = {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(y, weight @ x, **close)
    torch.testing.assert_close(of_x, weight.T @ of_y, **close)
    torch.testing.assert_close(of_weight * mask, (of_y @ x.T) * mask, **close)


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


def test_the_gate_and_its_gradient_are_those_of_torch_at_extremes_too():
    ends = torch.tensor([-torch.inf, -1e4, -100.0, -20.0, -1.0, -1e-6, 0.0, 0.5, 30.0, torch.inf])
    x = torch.cartesian_prod(ends, ends).repeat(3, 1, 1).requires_grad_()
    fast = kernels.gate(x)
    plain = x[..., :1].tanh() * x[..., 1:].sigmoid()
    torch.testing.assert_close(fast, plain, atol=1e-6, rtol=1e-5)
    weight = torch.randn_like(fast)
    gradients = [torch.autograd.grad((z * weight).sum(), x)[0] for z in (fast, plain)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)
    assert kernels.gate(torch.tensor([[torch.nan, 0.0], [0.0, torch.nan]])).isnan().all()


def test_a_shut_gate_makes_no_numbers_below_the_normal_range():
    ends = torch.tensor([-torch.inf, -1e4, -100.0, -85.0, -1.0, 0.0, 1.0, 85.0, 1e4])
    x = torch.cartesian_prod(ends, ends).requires_grad_()
    z = kernels.gate(x)
    (of_x,) = torch.autograd.grad(z.sum(), x)
    for found in (z, of_x):
        assert ((found == 0) | (found.abs() >= torch.finfo(torch.float32).tiny)).all()


def test_a_gate_of_half_precision_keeps_its_dtype_and_rounds_once():
    x = (3 * torch.randn(40, 5, 6)).bfloat16().requires_grad_()
    weight = torch.randn(40, 5, 3).bfloat16()
    wide = x.detach().double().requires_grad_()
    fast, exact = gate(x), gate(wide)
    assert isinstance(fast.grad_fn, type(kernels.gate(x).grad_fn))
    of_x, of_wide = (
        torch.autograd.grad((z * weight).sum(), y)[0] for z, y in ((fast, x), (exact, wide))
    )
    for found, expected in ((fast, exact), (of_x, of_wide)):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected.bfloat16(), atol=1e-6, rtol=2**-7)
    few = torch.tensor([[torch.nan, 0.0], [0.0, torch.nan]]).bfloat16()
    assert gate(few).isnan().all()


@given(number=st.floats(width=32))
def test_numbers_are_narrowed_to_the_nearest_of_bfloat16(number):
    given_, found = np.array([number], np.float32), np.zeros(1, np.int16)
    _narrow(given_, found)
    found = torch.from_numpy(found).view(torch.bfloat16)
    expected = torch.from_numpy(given_).bfloat16()
    torch.testing.assert_close(found, expected, atol=0, rtol=0, equal_nan=True)


@compiled.compiled
def _narrow(x, y):
    y[0] = numbers.narrowed(x[0], y)


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


PROBE = """
import torch
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
from densekit.kernels import products
with_defaults = products._onednn_linear()
products._onednn_linear.cache_clear()
torch.set_default_dtype(torch.float32)
torch.set_default_device("cpu")
assert (with_defaults is None) == (products._onednn_linear() is None)
"""


def test_a_default_dtype_or_device_does_not_choose_the_library():
    subprocess.run([sys.executable, "-c", PROBE], check=True)


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc alone")
def test_scores_take_the_memory_of_those_before():
    found = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True
    )
    n_pages = 10 * 8 * 4096 * 128 * 4 // 4096  # of what the hidden layers take
    assert int(found.stdout) < n_pages / 10
