"""The law of training steps."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.cases import REAL_LINE, DensityCase, TransformCase
from densekit.densities import Flow, Normal
from densekit.densities.base import Density, training_step_of
from densekit.testing import tools
from densekit.testing.module_checks import FAST_EXACT, FAST_ROUGH, N_ROWS_FOR_KERNELS
from densekit.transforms import ActNorm, Chain


def check_training_step_is_that_of_autograd(case: DensityCase | TransformCase) -> None:
    """A training step sees the log-likelihood, and its gradients, that autograd sees.

    A transform is seen in a flow, behind another layer that wants gradients of the rows.
    """
    for dtype, tolerance in ((torch.float64, FAST_EXACT), (torch.float32, FAST_ROUGH)):
        density, expected_of = (_density(case, dtype) for _ in range(2))
        x = tools.draw_x(case, density, N_ROWS_FOR_KERNELS, dtype=dtype)
        context = tools.draw_context(density, N_ROWS_FOR_KERNELS, dtype=dtype)
        weight = torch.linspace(0.5, 1.5, len(x), dtype=dtype)
        found = _step(density, x, context, weight)
        with kernels.plain():
            expected = _step(expected_of, x, context, weight)
        for name, value in expected.items():
            law = f"{name} of a training step is not that of autograd ({dtype})"
            tools.require_close(found[name], value, case, law, tolerance)


def _density(case: DensityCase | TransformCase, dtype: torch.dtype) -> Density:
    module = tools.build_module(case, dtype)
    if isinstance(module, Density):
        return module
    layers = [module]
    if isinstance(case, TransformCase) and case.domain == REAL_LINE:
        layers.insert(0, ActNorm(module.event_shape).to(dtype))
    return Flow(Chain(layers), Normal(module.output_shape).to(dtype))


def _step(density: Density, x: Tensor, context: Tensor | None, weight: Tensor) -> dict[str, Tensor]:
    """The nats that two steps on the same batch see, and the gradients that they leave."""
    parameters = dict(density.named_parameters())
    if not parameters:
        return {}
    run = training_step_of(density)
    run(x, context, weight)
    for parameter in parameters.values():
        if parameter.grad is not None:
            parameter.grad.zero_()
    found = {"the mean": torch.tensor(run(x, context, weight), dtype=torch.float64)}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            found[f"the gradient of {name!r}"] = parameter.grad
    return found
