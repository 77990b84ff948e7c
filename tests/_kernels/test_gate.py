"""The gate of PixelCNN, and numbers of half precision."""

import torch

from densekit import _kernels as kernels
from densekit.images.gated_layer import gate


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
    narrow = x.detach().bfloat16().requires_grad_()
    z_narrow = gate(narrow)
    half = z_narrow, *torch.autograd.grad(z_narrow.sum(), narrow)
    for found in (z, of_x, *half):
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
