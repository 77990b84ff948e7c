"""What several checks need: objects with noisy weights, short fits, valid inputs, comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import make_moons
from torch import Tensor, nn

from densekit.cases import Case, DensityCase, EstimatorCase, TransformCase
from densekit.exceptions import ContractError

N_ROWS = 6
N_MOONS = 400
N_EPOCHS = 10  # of fits whose length no law depends on
EXACT = 1e-8  # what float64 must reach
ROUGH = 2e-3  # what float32 must reach


def require(condition: bool, case: Case, law: str) -> None:
    """Raise a ContractError that names the case and the broken law."""
    if not condition:
        raise ContractError(f"{case.name}: {law}")


def require_close(
    actual: Tensor, expected: Tensor, case: Case, law: str, tolerance: float = EXACT
) -> None:
    """Raise a ContractError unless two tensors agree, relative to max(1, |expected|)."""
    require(
        actual.shape == expected.shape,
        case,
        f"{law}: shapes {tuple(actual.shape)} and {tuple(expected.shape)} differ",
    )
    if not actual.numel():
        return
    actual, expected = actual.detach().double(), expected.detach().double()
    gap = ((actual - expected).abs() / expected.abs().clamp_min(1)).max().item()
    require(gap <= tolerance, case, f"{law}: they differ by {gap:.3g}, more than {tolerance:.3g}")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build_module(case: Case, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """Build a module and add seeded noise to its parameters.

    A flow that starts as the identity hides a wrong log-determinant.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = case.build().to(dtype)
    shake(module, seed)
    return module.eval()


@torch.no_grad()
def shake(module: nn.Module, seed: int) -> None:
    """Add noise to every parameter, smaller where a unit has many inputs."""
    source = generator(seed + 1)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        noise = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        parameter.add_((0.4 / math.sqrt(max(1, fan_in)) * noise).to(parameter.dtype))


def draw_x(
    case: Case, module: Any, n_rows: int = N_ROWS, seed: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """Rows where the object is valid."""
    shape = (n_rows, *module.event_shape)
    dtype = dtype or torch.float64
    if isinstance(case, DensityCase) and case.levels is not None:
        levels = torch.tensor(case.levels, dtype=dtype)
        return levels[torch.randint(len(levels), shape, generator=generator(seed))]
    domain = case.domain if isinstance(case, TransformCase | DensityCase) else (-math.inf, math.inf)
    noise = torch.randn(shape, generator=generator(seed), dtype=dtype)
    if math.isinf(domain[0]) and math.isinf(domain[1]):
        return 1.5 * noise
    if math.isinf(domain[1]):
        return domain[0] + noise.exp()
    if math.isinf(domain[0]):
        return domain[1] - noise.exp()
    u = torch.rand(shape, generator=generator(seed), dtype=dtype)
    return domain[0] + (domain[1] - domain[0]) * u


def draw_context(
    module: Any, n_rows: int = N_ROWS, seed: int = 0, dtype: torch.dtype | None = None
) -> Tensor | None:
    """Rows of context, or None for a module without."""
    if module.context_shape is None:
        return None
    shape = (n_rows, *module.context_shape)
    return torch.randn(shape, generator=generator(seed + 7), dtype=dtype or torch.float64)


def autograd_log_det(direction: Any, x: Tensor, context: Tensor | None) -> Tensor:
    """log |det| of each row's Jacobian, column by column of the flattened output.

    `direction` is a transform, or its `inverse`: it gives the image and a log-det.
    """
    x = x.detach().requires_grad_()
    out = direction(x, context)[0].flatten(1)
    rows = []
    for i in range(out.shape[1]):
        (gradient,) = torch.autograd.grad(out[:, i].sum(), x, retain_graph=True, allow_unused=True)
        gradient = torch.zeros_like(x) if gradient is None else gradient
        rows.append(gradient.flatten(1))
    return torch.linalg.slogdet(torch.stack(rows, 1))[1]


def plain_tensors(module: nn.Module) -> Iterable[str]:
    """Names of tensors that a module holds neither as parameters nor as buffers."""
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            if key in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
                continue
            values = value if isinstance(value, list | tuple) else [value]
            values = list(value.values()) if isinstance(value, dict) else values
            if any(isinstance(item, Tensor) for item in values):
                yield f"{name}.{key}".lstrip(".")


def moons(seed: int = 0) -> NDArray[np.float64]:
    """Rows of two moons."""
    return np.asarray(make_moons(N_MOONS, noise=0.08, random_state=seed)[0])


def is_discrete(case: Case) -> bool:
    """Whether a case's estimator takes nothing but levels."""
    return isinstance(case, EstimatorCase) and case.levels is not None


def build_shortened(case: Case, max_epochs: int = N_EPOCHS) -> Any:
    """The estimator of a case, with so many epochs at most."""
    estimator = clone(case.build())
    most = estimator.get_params(deep=False).get("max_epochs")
    if (isinstance(most, int) and most <= max_epochs) or most is None:
        return estimator
    return estimator.set_params(max_epochs=max_epochs)


def require_error(action: Callable[[], Any], case: Case, what: str, value: Any) -> None:
    """Raise a ContractError unless an action raises a ValueError or TypeError."""
    try:
        action()
    except (ValueError, TypeError):
        return
    require(False, case, f"{what} accepted {np.asarray(value)[:2]}")
