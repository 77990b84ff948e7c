"""Laws of transforms."""

from __future__ import annotations

import torch

from densekit.cases import REAL_LINE, TransformCase
from densekit.testing import tools
from densekit.testing.module_checks import MODULE_CHECKS
from densekit.testing.training_checks import check_training_step_is_that_of_autograd

FAR_OUT = 1e3


def check_shapes(case: TransformCase) -> None:
    """z has the output shape and log_det one number per row, in both directions."""
    transform = tools.build_module(case)
    x, context = tools.draw_x(case, transform), tools.draw_context(transform)
    z, log_det = transform.forward(x, context)
    back, log_det_back = transform.inverse(z, context)
    expected = {
        "z": (z, (len(x), *transform.output_shape)),
        "log_det": (log_det, (len(x),)),
        "x": (back, (len(x), *transform.event_shape)),
        "log_det of the inverse": (log_det_back, (len(x),)),
    }
    for name, (value, shape) in expected.items():
        law = f"{name} has shape {tuple(value.shape)}, expected {shape}"
        tools.require(tuple(value.shape) == shape, case, law)
        tools.require(bool(value.isfinite().all()), case, f"{name} is not finite")


def check_round_trip(case: TransformCase) -> None:
    """inverse(forward(x)) is x and forward(inverse(z)) is z."""
    for dtype, tolerance in ((torch.float64, tools.EXACT), (torch.float32, tools.ROUGH)):
        transform = tools.build_module(case, dtype)
        x = tools.draw_x(case, transform, dtype=dtype)
        context = tools.draw_context(transform, dtype=dtype)
        z, _ = transform.forward(x, context)
        back, _ = transform.inverse(z, context)
        tools.require_close(back, x, case, f"inverse(forward(x)) is not x ({dtype})", tolerance)
        again, _ = transform.forward(back, context)
        tools.require_close(again, z, case, f"forward(inverse(z)) is not z ({dtype})", tolerance)


def check_log_det_is_that_of_autograd(case: TransformCase) -> None:
    """log_det equals log |det| of the Jacobian that autograd finds, in both directions."""
    transform = tools.build_module(case)
    x, context = tools.draw_x(case, transform), tools.draw_context(transform)
    z, log_det = transform.forward(x, context)
    expected = tools.autograd_log_det(transform.forward, x, context)
    tools.require_close(log_det, expected, case, "log_det is not that of the Jacobian", 1e-9)
    _, log_det_back = transform.inverse(z, context)
    expected = tools.autograd_log_det(transform.inverse, z.detach(), context)
    law = "log_det of the inverse is not that of the Jacobian"
    tools.require_close(log_det_back, expected, case, law, 1e-7)


def check_log_dets_cancel(case: TransformCase) -> None:
    """The log-dets of forward and inverse sum to zero."""
    transform = tools.build_module(case)
    x, context = tools.draw_x(case, transform), tools.draw_context(transform)
    z, log_det = transform.forward(x, context)
    _, log_det_back = transform.inverse(z, context)
    law = "the log-dets of forward and inverse do not cancel"
    tools.require_close(log_det + log_det_back, torch.zeros_like(log_det), case, law, 1e-7)


def check_finite_far_out(case: TransformCase) -> None:
    """Rows at |x| = 1e3 give finite latents, log-dets and gradients."""
    if case.domain != REAL_LINE:
        return
    transform = tools.build_module(case, torch.float32)
    context = tools.draw_context(transform, dtype=torch.float32)
    signs = tools.draw_x(case, transform, dtype=torch.float32).sign()
    x = (FAR_OUT * signs).requires_grad_()
    z, log_det = transform.forward(x, context)
    for name, value in (("z", z), ("log_det", log_det)):
        tools.require(bool(value.isfinite().all()), case, f"{name} is not finite at |x| = 1e3")
    (gradient,) = torch.autograd.grad(z.sum() + log_det.sum(), x)
    tools.require(bool(gradient.isfinite().all()), case, "a gradient is not finite at |x| = 1e3")
    back, _ = transform.inverse(z.detach(), context)
    law = "inverse(forward(x)) is not x at |x| = 1e3"
    tools.require_close(back, x, case, law, tools.ROUGH)


def check_statistics_keep_the_bijection(case: TransformCase) -> None:
    """After fit_statistics the transform still inverts itself and its log_det is still right."""
    transform = tools.build_module(case)
    sample = tools.draw_x(case, transform, n_rows=50, seed=2)
    before = sample.clone()
    transform.fit_statistics(sample)
    tools.require(torch.equal(sample, before), case, "fit_statistics changed x in place")
    x, context = tools.draw_x(case, transform), tools.draw_context(transform)
    z, log_det = transform.forward(x, context)
    back, _ = transform.inverse(z, context)
    tools.require_close(back, x, case, "inverse(forward(x)) is not x after fit_statistics")
    expected = tools.autograd_log_det(transform.forward, x, context)
    law = "log_det is not that of the Jacobian after fit_statistics"
    tools.require_close(log_det, expected, case, law, 1e-7)


TRANSFORM_CHECKS = [
    check_shapes,
    check_round_trip,
    check_log_det_is_that_of_autograd,
    check_log_dets_cancel,
    check_finite_far_out,
    check_statistics_keep_the_bijection,
    check_training_step_is_that_of_autograd,
    *MODULE_CHECKS,
]
