"""The fast path beyond what the contract kit compares."""

import copy
import ctypes
import itertools
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from densekit import _kernels as kernels
from densekit.densities import Flow, Normal
from densekit.densities.base import training_step_of
from densekit.elementwise import Affine, Spline, compile_kernel
from densekit.exceptions import ParameterError, PluginTypeError
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_those_of_torch(dtype):
    x = torch.linspace(-85, 85, 10_001, dtype=dtype)
    found = torch.empty_like(x)

    def apply(name, values):
        kernels.function(name, dtype)(len(values), values.data_ptr(), found.data_ptr())
        return found.double()

    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 0.0}
    torch.testing.assert_close(apply("exponential", x), x.double().exp(), **tolerance)
    positive = x.exp()
    expected = positive.double().log()
    close = {"rtol": 4 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).eps}
    torch.testing.assert_close(apply("logarithm", positive), expected, **close)
    for name in ("exponential", "logarithm"):
        assert apply(name, torch.full_like(x, torch.nan)).isnan().all()


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
    layer = Chain([build((4,))])
    x = torch.randn(200, 4)
    x[3, 0] = torch.nan
    with torch.no_grad():
        for direction in (layer, layer.inverse):
            value, _ = direction(x)
            assert value[3].isnan().any()
            assert value[torch.arange(200) != 3].isfinite().all()


class Negated(Coupling):
    """Another map than its parent's, which knows a fast way of its own."""

    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return -z, log_det

    def inverse(self, z, context=None):
        return super().inverse(-z)


class NegatedMap(Affine):
    def forward(self, x, params):
        z, log_slope = super().forward(x, params)
        return z + 1, log_slope

    def inverse(self, z, params):
        return super().inverse(z - 1, params)


@pytest.mark.parametrize(
    "layer", [Negated((3,)), Coupling((3,), elementwise=NegatedMap())], ids=["layer", "map"]
)
def test_kernels_of_a_parent_are_not_those_of_a_subclass(layer):
    x = torch.randn(5, 3)
    chain = Chain([layer])
    with torch.no_grad():
        expected, _ = layer(x)
        found, _ = chain(x)
        back, _ = chain.inverse(found)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(back, layer.inverse(expected)[0])
    training = Flow(chain, Normal((3,)))
    nats = training_step_of(training)(x, None, torch.ones(5))
    assert nats == pytest.approx(training.log_prob(x).mean().item(), rel=1e-5)


def test_the_fast_path_sees_every_change_of_a_parameter():
    chain = shaken_flow().transform
    x = torch.randn(9, 3, dtype=torch.float64)

    def both():
        with torch.no_grad():
            fast, back = chain(x)[0], chain.inverse(x)[0]
            with kernels.plain():
                torch.testing.assert_close(fast, chain(x)[0])
                torch.testing.assert_close(back, chain.inverse(x)[0])
        return fast

    network = chain.steps[0].network
    before = both()
    with torch.no_grad():
        network.output.bias.add_(0.5)
    written = both()
    network.output.bias = torch.nn.Parameter(network.output.bias.detach() - 1.0)
    replaced = both()
    network.output.bias.data = network.output.bias.data + 0.25
    moved = both()
    state = chain.state_dict()
    doubled = {name: 2 * value for name, value in chain.named_parameters()}
    chain.load_state_dict(state | doubled)
    loaded = both()
    states = [before, written, replaced, moved, loaded]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(states))


def test_what_inference_mode_planned_serves_outside_of_it():
    flow = shaken_flow()
    x = torch.randn(9, 3, dtype=torch.float64)
    with torch.inference_mode():
        inside = flow.log_prob(x), flow.transform.inverse(x)[0]
    with torch.no_grad():
        assert torch.equal(flow.log_prob(x), inside[0])
        assert torch.equal(flow.transform.inverse(x)[0], inside[1])


def test_threads_score_with_one_chain_at_a_time_each():
    chain = shaken_flow().transform
    parts = [torch.randn(64 + 64 * (i % 3), 3, dtype=torch.float64) for i in range(40)]

    def score(part):
        with torch.no_grad():
            return chain(part)[0]

    expected = [score(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for found, value in zip(pool.map(score, parts), expected, strict=True):
            assert torch.equal(found, value)


FAULTS = """
import resource, torch
from densekit.densities import Flow, Normal
from densekit.densities.base import training_step_of
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


class Doubled(Affine):
    """A map of three parameters with the kernel of two."""

    n_params = 3

    def forward(self, x, params):
        return super().forward(x, params)

    def inverse(self, z, params):
        return super().inverse(z, params)

    @property
    def kernel(self):
        return kernels.native("affine", 2, (3.0,))


def test_a_kernel_for_other_parameters_is_refused():
    chain = Chain([Coupling((3,), elementwise=Doubled())])
    with (
        torch.no_grad(),
        pytest.raises(PluginTypeError, match="n_params=3, and its kernel"),
    ):
        chain(torch.randn(5, 3))


def test_a_kernel_divides_as_torch_does():
    def sign(x, params, options):
        return x / abs(x), 0.0

    def gradient(x, params, options, grad_z, grad_log_slope, grad_params):
        return 0.0

    kernel = compile_kernel(sign, sign, gradient, n_params=1)
    x, z, log_slope = torch.tensor([2.0, 0.0, -1.0]), torch.empty(3), torch.empty(3)
    raw, numbers = torch.zeros(3), kernel.numbers(torch.float32)
    run = ctypes.CFUNCTYPE(
        None, ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 3
    )(kernel.forward[torch.float32])
    pointers = (t.data_ptr() for t in (numbers, z, log_slope))
    run(3, x.data_ptr(), raw.data_ptr(), 3, 1, *pointers)
    torch.testing.assert_close(z, torch.tensor([1.0, torch.nan, -1.0]), equal_nan=True)
    with pytest.raises(ParameterError, match="got 17 options"):
        compile_kernel(sign, sign, gradient, n_params=1, options=(1.0,) * 17)
