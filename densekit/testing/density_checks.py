"""Laws of densities."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from densekit.cases import DensityCase
from densekit.testing import tools
from densekit.testing.module_checks import MODULE_CHECKS
from densekit.testing.training_checks import check_training_step_is_that_of_autograd

N_SAMPLES = 20_000
POINTS_PER_AXIS = {1: 20_001, 2: 601}


def check_shapes(case: DensityCase) -> None:
    """log_prob is one finite number per row and sample has the event's shape."""
    density = tools.build_module(case)
    x, context = tools.draw_x(case, density), tools.draw_context(density)
    log_prob = density.log_prob(x, context)
    law = f"log_prob has shape {tuple(log_prob.shape)}, expected {(len(x),)}"
    tools.require(tuple(log_prob.shape) == (len(x),), case, law)
    tools.require(bool(log_prob.isfinite().all()), case, "log_prob is not finite")
    for n_samples in (0, 1, len(x)):
        given = None if context is None else context[:n_samples]
        shape = tuple(density.sample(n_samples, given, generator=tools.generator()).shape)
        expected = (n_samples, *density.event_shape)
        tools.require(shape == expected, case, f"sample has shape {shape}, expected {expected}")


def check_terms_sum_to_log_prob(case: DensityCase) -> None:
    """log_prob_terms sums to log_prob."""
    density = tools.build_module(case)
    x, context = tools.draw_x(case, density), tools.draw_context(density)
    terms, log_prob = density.log_prob_terms(x, context), density.log_prob(x, context)
    tools.require_close(terms.sum(1), log_prob, case, "the sum of log_prob_terms is not log_prob")


def check_integrates_to_one(case: DensityCase) -> None:
    """The total probability is one: by quadrature, or summed over all states."""
    density = tools.build_module(case)
    if not _can_integrate(case, density):
        return
    x, log_volume = _grid(case, density)
    with torch.no_grad():
        log_prob = density.log_prob(x, _one_context(density, len(x)))
    total = (log_prob + log_volume).exp().sum().item()
    tolerance = max(case.tolerance, 1e-6 if case.levels is not None else 5e-3)
    tools.require(abs(total - 1) < tolerance, case, f"the total probability is {total:.6g}")


def check_samples_agree_with_log_prob(case: DensityCase) -> None:
    """Means of smooth functions over samples are those that log_prob gives."""
    density = tools.build_module(case)
    if not _can_integrate(case, density):
        return
    x, log_volume = _grid(case, density)
    with torch.no_grad():
        weight = (density.log_prob(x, _one_context(density, len(x))) + log_volume).exp()
        samples = density.sample(
            N_SAMPLES, _one_context(density, N_SAMPLES), generator=tools.generator()
        )
    size = math.prod(density.event_shape)
    frequencies = torch.randn(6, size, generator=tools.generator(4), dtype=torch.float64)
    for wave in (torch.sin, torch.cos):
        expected = (wave(x.flatten(1) @ frequencies.T) * weight[:, None]).sum(0)
        found = wave(samples.flatten(1).double() @ frequencies.T).mean(0)
        gap = (found - expected).abs().max().item()
        law = f"samples do not agree with log_prob: a mean is off by {gap:.3g}"
        tools.require(gap < case.tolerance + 5 / math.sqrt(N_SAMPLES), case, law)


def check_samples_follow_the_generator(case: DensityCase) -> None:
    """The same generator gives the same samples, another one others."""
    density = tools.build_module(case)
    state = torch.get_rng_state()
    first, second, other = (
        density.sample(64, _one_context(density, 64), generator=tools.generator(seed))
        for seed in (0, 0, 1)
    )
    tools.require(torch.equal(first, second), case, "the same generator gives other samples")
    tools.require(not torch.equal(first, other), case, "another generator gives the same samples")
    is_left_alone = torch.equal(state, torch.get_rng_state())
    tools.require(is_left_alone, case, "sample moves torch's global generator")


def _can_integrate(case: DensityCase, density: object) -> bool:
    size = math.prod(density.event_shape)  # type: ignore[attr-defined]
    return size in POINTS_PER_AXIS or (case.levels is not None and len(case.levels) ** size < 1e5)


def _one_context(density: object, n_rows: int) -> Tensor | None:
    context = tools.draw_context(density, 1)
    return None if context is None else context.expand(n_rows, *context.shape[1:])


def _grid(case: DensityCase, density: object) -> tuple[Tensor, Tensor]:
    """Points that cover the support, and the log of the volume that each stands for."""
    shape: tuple[int, ...] = density.event_shape  # type: ignore[attr-defined]
    size = math.prod(shape)
    if case.levels is not None:
        states = list(itertools.product(case.levels, repeat=size))
        x = torch.tensor(states, dtype=torch.float64).view(-1, *shape)
        return x, torch.zeros(len(x), dtype=torch.float64)
    n_points = POINTS_PER_AXIS[size]
    u = (torch.arange(n_points, dtype=torch.float64) + 0.5) / n_points
    if all(map(math.isfinite, case.domain)):
        low, high = case.domain
        axis, log_width = (
            low + (high - low) * u,
            torch.full_like(u, math.log((high - low) / n_points)),
        )
    else:  # the real line by a logit, which spreads the points far into the tails
        axis = 2 * (u.log() - torch.log1p(-u))
        log_width = math.log(2 / n_points) - u.log() - torch.log1p(-u)
        if math.isfinite(case.domain[0]):
            axis, log_width = case.domain[0] + axis.exp(), log_width + axis
        elif math.isfinite(case.domain[1]):
            axis, log_width = case.domain[1] - axis.exp(), log_width + axis
    x = torch.cartesian_prod(*[axis] * size).view(-1, *shape)
    log_volume = torch.cartesian_prod(*[log_width] * size).view(-1, size).sum(1)
    return x, log_volume


DENSITY_CHECKS = [
    check_shapes,
    check_terms_sum_to_log_prob,
    check_integrates_to_one,
    check_samples_agree_with_log_prob,
    check_samples_follow_the_generator,
    check_training_step_is_that_of_autograd,
    *MODULE_CHECKS,
]
