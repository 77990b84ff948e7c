"""Laws that transforms and densities share."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from densekit import _kernels as kernels
from densekit.cases import Case
from densekit.testing import tools
from densekit.transforms import Chain
from densekit.transforms.base import Transform

FAST_EXACT, FAST_ROUGH = 1e-10, 1e-5  # what kernels must reach in float64 and in float32
N_ROWS_FOR_KERNELS = 64
N_ROWS_FOLDED = 3
DIFFERENCE = 1e-6  # of the finite differences that gradients are compared with


def outputs(module: object, x: Tensor, context: Tensor | None) -> dict[str, Tensor]:
    """Everything that a module says of rows x: for a transform in both directions."""
    if isinstance(module, Transform):
        z, log_det = module.forward(x, context)
        back, log_det_back = module.inverse(z, context)
        return {"z": z, "log_det": log_det, "x": back, "log_det of the inverse": log_det_back}
    log_prob = module.log_prob(x, context)  # type: ignore[attr-defined]
    terms = module.log_prob_terms(x, context)  # type: ignore[attr-defined]
    return {"log_prob": log_prob, "log_prob_terms": terms}


def check_dtype_is_kept(case: Case) -> None:
    """float32 in gives float32 out, and float64 float64, log-dets included."""
    for dtype in (torch.float32, torch.float64):
        module = tools.build_module(case, dtype)
        x, context = _inputs(case, module, dtype=dtype)
        for name, value in outputs(module, x, context).items():
            tools.require(value.dtype == dtype, case, f"{name} is {value.dtype} for {dtype} rows")


def check_rows_are_independent(case: Case) -> None:
    """What comes out for a row depends on that row only, in training mode as well."""
    for is_training in (False, True):
        module = tools.build_module(case).train(is_training)
        x, context = _inputs(case, module)
        others, _ = _inputs(case, module, seed=5)
        mixed = torch.cat([x[:2], others[2:]])
        first, changed = (_seeded_outputs(module, rows, context) for rows in (x, mixed))
        for name, value in first.items():
            law = f"{name} of a row depends on the other rows"
            tools.require_close(changed[name][:2], value[:2], case, law)
    module = tools.build_module(case)
    order = torch.arange(len(x)).flip(0)
    flipped = outputs(module, x[order], None if context is None else context[order])
    for name, value in outputs(module, x, context).items():
        law = f"{name} of a row depends on the order of the rows"
        tools.require_close(flipped[name][order], value, case, law)
    alone = outputs(module, x[:1], None if context is None else context[:1])
    for name, value in outputs(module, x, context).items():
        law = f"{name} of a row alone is another than beside others"
        tools.require_close(alone[name], value[:1], case, law)


def check_empty_and_single_batches(case: Case) -> None:
    """Batches of no row and of one row work and keep their shapes."""
    module = tools.build_module(case)
    for n_rows in (0, 1):
        x, context = _inputs(case, module, n_rows=n_rows)
        for name, value in outputs(module, x, context).items():
            law = f"{name} has shape {tuple(value.shape)} for a batch of {n_rows}"
            tools.require(value.shape[0] == n_rows, case, law)


def check_input_is_unchanged(case: Case) -> None:
    """No method changes its input in place."""
    module = tools.build_module(case)
    x, context = _inputs(case, module)
    before, context_before = x.clone(), None if context is None else context.clone()
    found = outputs(module, x, context)
    tools.require(torch.equal(x, before), case, "the input x was changed in place")
    if context is not None and context_before is not None:
        is_same = torch.equal(context, context_before)
        tools.require(is_same, case, "the context was changed in place")
    if isinstance(module, Transform):
        z = found["z"].detach().clone()
        before = z.clone()
        module.inverse(z, context)
        tools.require(torch.equal(z, before), case, "the input z was changed in place")


def check_evaluation_is_pure(case: Case) -> None:
    """In evaluation mode a second call gives the same and no buffer or parameter changes."""
    module = tools.build_module(case)
    x, context = _inputs(case, module)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(12345)
        state = torch.get_rng_state()
        first, second = outputs(module, x, context), outputs(module, x, context)
        is_left_alone = torch.equal(state, torch.get_rng_state())
    tools.require(is_left_alone, case, "a call moves torch's global generator")
    with torch.no_grad():
        without_gradients = outputs(module, x, context)
    for name, value in first.items():
        tools.require_close(second[name], value, case, f"two calls give another {name}", 0.0)
        law = f"{name} is another without gradients"
        tools.require_close(without_gradients[name], value, case, law)
    for key, value in module.state_dict().items():
        tools.require(torch.equal(value, before[key]), case, f"a call changed the state {key!r}")


def check_every_parameter_gets_a_gradient(case: Case) -> None:
    """Every parameter takes part in the result, with a finite gradient."""
    module = tools.build_module(case).train()
    x, context = _inputs(case, module)
    found = outputs(module, x, context)
    main = [found[name] for name in ("z", "log_det", "log_prob") if name in found]
    total = torch.stack([(value * value.detach().cos()).sum() for value in main]).sum()
    parameters = dict(module.named_parameters())
    if not parameters:
        return
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        tools.require(gradient is not None, case, f"the parameter {name!r} is not used")
        if gradient is not None:
            law = f"the gradient of {name!r} is not finite"
            tools.require(bool(gradient.isfinite().all()), case, law)


def check_gradients_are_those_of_differences(case: Case) -> None:
    """Along random directions in x and in the parameters, autograd agrees with finite differences.

    So no part of the result is detached from the graph.
    """
    module = tools.build_module(case)
    x, context = _inputs(case, module)
    is_discrete = getattr(module, "support", "real") == "discrete"
    leaves = [*module.parameters()] + ([] if is_discrete else [x.requires_grad_()])
    if not leaves:
        return
    source = tools.generator(9)
    directions = [torch.randn(leaf.shape, generator=source, dtype=torch.float64) for leaf in leaves]
    for name in ("z", "log_det", "log_prob"):
        if name not in (found := outputs(module, x, context)):
            continue
        total = (found[name] * found[name].detach().cos()).sum()
        gradients = tuple(torch.zeros(()) for _ in leaves)
        if total.requires_grad:
            gradients = torch.autograd.grad(
                total, leaves, allow_unused=True, materialize_grads=True
            )
        along = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
        weight = found[name].detach().cos()
        ends = []
        for step in (DIFFERENCE, -DIFFERENCE):
            _move(leaves, directions, step)
            ends.append((outputs(module, x, context)[name].detach() * weight).sum())
            _move(leaves, directions, -step)
        expected = (ends[0] - ends[1]) / (2 * DIFFERENCE)
        law = f"the gradient of {name} is not that of finite differences"
        tools.require_close(torch.as_tensor(along), expected, case, law, 1e-3)


def check_fast_path_is_the_plain_one(case: Case) -> None:
    """Kernels and ordinary operations give the same results and gradients, up to rounding."""
    for dtype, tolerance in ((torch.float64, FAST_EXACT), (torch.float32, FAST_ROUGH)):
        module = tools.build_module(case, dtype)
        if isinstance(module, Transform):
            module = Chain([module])  # which takes the fast path, where layers know one
        x, context = _inputs(case, module, n_rows=N_ROWS_FOR_KERNELS, dtype=dtype)
        fast = _results_and_gradients(module, x, context)
        with kernels.plain():
            expected = _results_and_gradients(module, x, context)
        for name, value in expected.items():
            law = f"{name} of the fast path is not that of the plain one ({dtype})"
            tools.require_close(fast[name], value, case, law, tolerance)


def check_state_dict_holds_everything(case: Case) -> None:
    """A second object gives the same results after it loaded the first one's state_dict."""
    module, other = tools.build_module(case, seed=0), tools.build_module(case, seed=11)
    other.load_state_dict(module.state_dict())
    x, context = _inputs(case, module)
    for name, value in outputs(module, x, context).items():
        law = f"{name} differs after a round trip through state_dict"
        tools.require_close(outputs(other, x, context)[name], value, case, law)


def check_constants_are_buffers(case: Case) -> None:
    """Every tensor is a parameter or a buffer, so that it moves to other devices and dtypes."""
    module = tools.build_module(case)
    found = list(tools.plain_tensors(module))
    tools.require(not found, case, f"the tensors {found} are neither parameters nor buffers")


def check_wrong_shape_is_refused(case: Case) -> None:
    """A row too wide raises an error that names the shape given and the one expected."""
    module = tools.build_module(case)
    x, context = _inputs(case, module)
    wide = torch.cat([x, x[..., :1]], -1)
    method = module.forward if isinstance(module, Transform) else module.log_prob
    try:
        method(wide, context)
    except Exception as error:
        numbers = [str(wide.shape[-1]), str(module.event_shape[-1])]
        tools.require(
            all(number in str(error) for number in numbers),
            case,
            f"the error for rows of shape {tuple(wide.shape[1:])} does not name that shape and "
            f"{module.event_shape}: {error}",
        )
        return
    tools.require(False, case, f"rows of shape {tuple(wide.shape[1:])} were accepted")


def check_context_matters(case: Case) -> None:
    """Where a context is declared, another context gives another result."""
    module = tools.build_module(case)
    if module.context_shape is None:
        return
    x, context = _inputs(case, module)
    other = tools.draw_context(module, seed=3)
    before, after = outputs(module, x, context), outputs(module, x, other)
    changed = any(
        not torch.equal(before[name], after[name]) for name in ("z", "log_prob") if name in before
    )
    tools.require(changed, case, "a context is declared, but changes nothing")


def _results_and_gradients(module: object, x: Tensor, context: Tensor | None) -> dict[str, Tensor]:
    """Outputs without gradients, and the gradients of a mixture of the main ones."""
    with torch.no_grad():
        found = outputs(module, x, context)
    leaves = dict(module.named_parameters())  # type: ignore[attr-defined]
    if not leaves:
        return found
    recorded = outputs(module, x, context)
    main = [recorded[name] for name in ("z", "log_det", "log_prob") if name in recorded]
    # A fixed weight for each number, so that gradients of neighbours do not cancel.
    weights = [torch.linspace(-1, 2, value.numel()).view_as(value) for value in main]
    total = torch.stack([(v * w.to(v)).mean() for v, w in zip(main, weights, strict=True)]).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        if gradient is not None:
            found[f"the gradient of {name!r}"] = gradient
    return found


@torch.no_grad()
def _move(leaves: list[Tensor], directions: list[Tensor], step: float) -> None:
    for leaf, direction in zip(leaves, directions, strict=True):
        leaf.add_(step * direction)


def _seeded_outputs(module: object, x: Tensor, context: Tensor | None) -> dict[str, Tensor]:
    """Outputs under one seed of torch's generator, which dropout in a conditioner may use.

    A copy of the module gives them, because it may hold a generator that draws on.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return outputs(copy.deepcopy(module), x, context)


def _inputs(
    case: Case,
    module: object,
    n_rows: int = tools.N_ROWS,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | None]:
    x = tools.draw_x(case, module, n_rows, seed, dtype)
    return x, tools.draw_context(module, n_rows, 0, dtype)


MODULE_CHECKS = [
    check_dtype_is_kept,
    check_rows_are_independent,
    check_empty_and_single_batches,
    check_input_is_unchanged,
    check_evaluation_is_pure,
    check_every_parameter_gets_a_gradient,
    check_gradients_are_those_of_differences,
    check_fast_path_is_the_plain_one,
    check_state_dict_holds_everything,
    check_constants_are_buffers,
    check_wrong_shape_is_refused,
    check_context_matters,
]
