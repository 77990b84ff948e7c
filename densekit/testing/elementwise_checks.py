"""Laws of elementwise maps."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from densekit.cases import ElementwiseCase, TransformCase
from densekit.elementwise.base import Elementwise
from densekit.testing import tools
from densekit.testing.module_checks import check_fast_path_is_the_plain_one
from densekit.testing.training_checks import check_training_step_is_that_of_autograd
from densekit.transforms import Autoregressive, Coupling

N_MAPS = 8
GRID = torch.linspace(-8, 8, 4001, dtype=torch.float64)


def _params(elementwise: Elementwise, n_values: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The parameters of eight random maps, the same for each of `n_values` numbers."""
    shape = (N_MAPS, 1, elementwise.n_params)
    noise = torch.randn(shape, generator=tools.generator(), dtype=torch.float64)
    return noise.expand(-1, n_values, -1).to(dtype)


def check_elements_are_independent(case: ElementwiseCase) -> None:
    """Each element is mapped by its own parameters, whatever stands beside it."""
    elementwise = case.build()
    source = tools.generator()
    x = torch.randn(N_MAPS, 3, generator=source, dtype=torch.float64)
    params = torch.randn(N_MAPS, 3, elementwise.n_params, generator=source, dtype=torch.float64)
    for direction in (elementwise.forward, elementwise.inverse):
        together = direction(x, params)
        for row in range(N_MAPS):
            alone = direction(x[row : row + 1], params[row : row + 1])
            for one, all_ in zip(alone, together, strict=True):
                law = "an element's result depends on the elements beside it"
                tools.require_close(one[0], all_[row], case, law)


def check_shapes_and_dtypes(case: ElementwiseCase) -> None:
    """z and log_slope have the shape and the dtype of x, in both directions."""
    elementwise = case.build()
    for dtype in (torch.float32, torch.float64):
        x = GRID.to(dtype).expand(N_MAPS, -1)
        params = _params(elementwise, len(GRID), dtype)
        for direction in (elementwise.forward, elementwise.inverse):
            for value in direction(x, params):
                law = (
                    f"a result is {value.dtype} {tuple(value.shape)} for x {dtype} {tuple(x.shape)}"
                )
                tools.require(value.dtype == dtype and value.shape == x.shape, case, law)


def check_monotone(case: ElementwiseCase) -> None:
    """A larger x gives a larger z."""
    elementwise = case.build()
    z, _ = elementwise.forward(GRID.expand(N_MAPS, -1), _params(elementwise, len(GRID)))
    tools.require(bool((z.diff(dim=1) > 0).all()), case, "the map is not increasing")


def check_slope_is_the_derivative(case: ElementwiseCase) -> None:
    """exp(log_slope) equals the derivative that autograd finds, in both directions."""
    elementwise = case.build()
    params = _params(elementwise, len(GRID))
    for name, direction in (("forward", elementwise.forward), ("inverse", elementwise.inverse)):
        x = GRID.expand(N_MAPS, -1).clone().requires_grad_()
        z, log_slope = direction(x, params)
        (slope,) = torch.autograd.grad(z.sum(), x)
        law = f"log_slope of {name} is not the log of the derivative"
        tools.require_close(log_slope, slope.log(), case, law, 1e-6)


def check_round_trip(case: ElementwiseCase) -> None:
    """inverse(forward(x)) is x, near and far out, and the log-slopes cancel."""
    elementwise = case.build()
    x = torch.cat([GRID, torch.tensor([-1e3, 1e3], dtype=torch.float64)]).expand(N_MAPS, -1)
    params = _params(elementwise, x.shape[1])
    z, log_slope = elementwise.forward(x, params)
    back, log_slope_back = elementwise.inverse(z, params)
    tools.require_close(back, x, case, "inverse(forward(x)) is not x")
    law = "the log-slopes of forward and inverse do not cancel"
    tools.require_close(-log_slope_back, log_slope, case, law, 1e-6)


def check_continuous(case: ElementwiseCase) -> None:
    """The map does not jump, at its edges least of all: each rise fits the slope around it."""
    elementwise = case.build()
    step = GRID[1] - GRID[0]
    z, log_slope = elementwise.forward(GRID.expand(N_MAPS, -1), _params(elementwise, len(GRID)))
    slope = log_slope.exp()
    steepest = torch.maximum(slope[:, 1:], slope[:, :-1])
    is_jump = z.diff(dim=1) > 3 * steepest * step + 1e-3
    tools.require(not bool(is_jump.any()), case, "the map jumps")
    for edge in case.edges:
        around = edge + torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64)
        z, _ = elementwise.forward(around.expand(N_MAPS, -1), _params(elementwise, 3))
        rise = (z[:, 2] - z[:, 0]).abs().max().item()
        tools.require(rise < 1e-5, case, f"the map jumps by {rise:.3g} at its edge {edge}")


def check_gradients_are_finite(case: ElementwiseCase) -> None:
    """No gradient is NaN or infinite, at the edges and far out, in both directions."""
    elementwise = case.build()
    places = torch.tensor([0.0, -50.0, 50.0, *case.edges], dtype=torch.float32)
    for name, direction in (("forward", elementwise.forward), ("inverse", elementwise.inverse)):
        x = places.expand(N_MAPS, -1).clone().requires_grad_()
        params = _params(elementwise, len(places), torch.float32).clone().requires_grad_()
        z, log_slope = direction(x, params)
        gradients = torch.autograd.grad(z.sum() + log_slope.sum(), (x, params), allow_unused=True)
        for gradient in gradients:
            law = f"a gradient of {name} is not finite"
            tools.require(gradient is None or bool(gradient.isfinite().all()), case, law)


def check_kernel_is_the_plain_map(case: ElementwiseCase) -> None:
    """Layers of a map with a compiled kernel give what its plain operations give, gradients too."""
    if case.build().kernel is None:
        return
    for layer in (Coupling, Autoregressive):
        inside = TransformCase(
            f"{layer.__name__} of {case.name}", functools.partial(_build_layer, layer, case)
        )
        check_fast_path_is_the_plain_one(inside)
        check_training_step_is_that_of_autograd(inside)


def _build_layer(layer: Any, case: ElementwiseCase) -> Any:
    return layer((4,), elementwise=case.build())


ELEMENTWISE_CHECKS = [
    check_shapes_and_dtypes,
    check_elements_are_independent,
    check_monotone,
    check_slope_is_the_derivative,
    check_round_trip,
    check_continuous,
    check_gradients_are_finite,
    check_kernel_is_the_plain_map,
]
