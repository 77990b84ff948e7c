"""The fast path beyond what the contract kit compares."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densekit import kernels
from densekit.densities import Flow, Normal
from densekit.testing import tools
from densekit.training.weights import Weights
from densekit.transforms import Autoregressive, Chain, Coupling

SIDES = st.sampled_from([1, 2, 3, 17, 64, 130, 300])


def shaken_flow():
    layers = [Autoregressive((3,), elementwise="spline"), Coupling((3,))]
    flow = Flow(Chain(layers), Normal((3,))).double()
    tools.shake(flow, 0)
    return flow


@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_products_are_those_of_matrices(n, m, k, turn_a, turn_b, dtype):
    dtype = getattr(torch, dtype)
    a, b = torch.randn(n, k, dtype=dtype), torch.randn(k, m, dtype=dtype)
    a, b = a.T.contiguous().T if turn_a else a, b.T.contiguous().T if turn_b else b
    expected = a.double() @ b.double()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(
        kernels.product(a, b).double(), expected, rtol=tolerance, atol=tolerance
    )


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
