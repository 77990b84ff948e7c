"""Laws of layers over drawn structures: dimension, layers, masks, orders, scale, and a seed."""

import copy

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from densekit.elementwise import Affine, Shift, Spline
from densekit.testing import TransformCase, tools
from densekit.testing.transform_checks import (
    check_log_det_is_that_of_autograd,
    check_log_dets_cancel,
    check_round_trip,
)
from densekit.transforms import (
    ActNorm,
    Autoregressive,
    Bounded,
    Chain,
    Coupling,
    Inverse,
    Linear,
    Permutation,
    Standardize,
)

dimensions = st.integers(1, 9)
seeds = st.integers(0, 2**20)
maps = st.sampled_from([None, Shift(), Affine(), Affine(0.5), Spline(), Spline(4, 2.0)])
widths = st.lists(st.integers(1, 12), max_size=3).map(tuple)
contexts = st.sampled_from([None, (2,), (1, 3)])


@st.composite
def layers(draw, n_features):
    options = {"context_shape": draw(contexts), "hidden_sizes": draw(widths)}
    options["elementwise"] = draw(maps)
    order = draw(st.permutations(range(n_features)))
    mask = draw(st.lists(st.booleans(), min_size=n_features, max_size=n_features))
    if all(mask):
        mask = "even"
    kind = draw(st.sampled_from(["coupling", "autoregressive", "inverse", "other"]))
    if kind == "coupling":
        return Coupling((n_features,), mask=mask, **options)
    if kind == "other":
        plain = [ActNorm, Linear, Standardize, Permutation.reverse, Permutation.random]
        return draw(st.sampled_from(plain))((n_features,))
    layer = Autoregressive((n_features,), order=order, **options)
    return Inverse(layer) if kind == "inverse" else layer


@given(st.data(), dimensions)
def test_every_layer_is_a_bijection_with_its_log_det(data, n_features):
    layer = data.draw(layers(n_features))
    case = TransformCase(type(layer).__name__, lambda: copy.deepcopy(layer))
    for check in (check_round_trip, check_log_det_is_that_of_autograd, check_log_dets_cancel):
        check(case)


@given(st.data(), dimensions, seeds)
def test_chains_add_log_dets(data, n_features, seed):
    context_shape = (2,)
    steps = [
        Autoregressive((n_features,), context_shape=context_shape, hidden_sizes=(8,)),
        Permutation.random((n_features,)),
        Coupling((n_features,), hidden_sizes=(8,)),
    ]
    steps = data.draw(st.permutations(steps))
    chain = Chain(steps).double()
    tools.shake(chain, seed)
    x = torch.randn(5, n_features, dtype=torch.float64)
    context = torch.randn(5, *context_shape, dtype=torch.float64)
    z, log_det = chain(x, context)
    total, part = 0.0, x
    for step in steps:
        part, step_log_det = step(part, context)
        total = total + step_log_det
    torch.testing.assert_close(part, z)
    torch.testing.assert_close(total, log_det)


@given(st.data(), dimensions, widths, contexts, seeds)
def test_the_cheap_inverse_is_that_of_one_pass_a_feature(
    data, n_features, hidden_sizes, context_shape, seed
):
    order = data.draw(st.permutations(range(n_features)))
    layer = Autoregressive(
        (n_features,), order=order, hidden_sizes=hidden_sizes, context_shape=context_shape
    ).double()
    tools.shake(layer, seed)
    z = torch.randn(4, n_features, dtype=torch.float64)
    context = None if context_shape is None else torch.randn(4, *context_shape).double()
    with torch.no_grad():
        slow = torch.zeros_like(z)
        for _ in range(n_features):
            params = layer.network(slow, layer._flat(context))
            slow, _ = layer.elementwise.inverse(z, params)
        fast, _ = layer.inverse(z, context)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    with_gradients, _ = layer.inverse(z, context)
    torch.testing.assert_close(with_gradients, fast, rtol=1e-12, atol=1e-12)


@given(st.data(), st.integers(2, 9), widths, seeds)
def test_outputs_depend_on_earlier_features_only(data, n_features, hidden_sizes, seed):
    order = data.draw(st.permutations(range(n_features)))
    layer = Autoregressive((n_features,), order=order, hidden_sizes=hidden_sizes).double()
    tools.shake(layer, seed)
    x = 2 * torch.randn(64, n_features, generator=tools.generator(seed), dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: layer(row[None])[0][0]))(x)
    sorted_jacobian = jacobian[:, order][:, :, order]
    assert torch.equal(sorted_jacobian, sorted_jacobian.tril())
    if min(hidden_sizes, default=99) >= 2 * n_features:
        # At one row a hard tanh may stand still and hide what a unit depends on.
        is_used = (sorted_jacobian != 0).any(0)
        assert torch.equal(is_used, torch.ones_like(is_used).tril())


@given(
    low=st.floats(-1e4, 1e4),
    width=st.floats(1e-3, 1e4),
    kind=st.sampled_from(["interval", "above", "below"]),
    seed=seeds,
)
def test_bounded_columns_never_leave_their_bounds(low, width, kind, seed):
    low_bound = -np.inf if kind == "below" else low
    high_bound = np.inf if kind == "above" else low + width
    transform = Bounded((1,), low=low_bound, high=high_bound)
    z = 30 * torch.randn(200, 1, generator=tools.generator(seed), dtype=torch.float64)
    x, log_det = transform.inverse(z)
    assert bool(((x >= low_bound) & (x <= high_bound)).all())
    assert bool(log_det.isfinite().all())
    assert bool(transform.forward(x)[1].isfinite().all())


@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), seed=seeds)
def test_standardisation_undoes_a_change_of_units(scale, shift, seed):
    x = torch.randn(50, 2, generator=tools.generator(seed), dtype=torch.float64)
    first, second = Standardize((2,)).double(), Standardize((2,)).double()
    first.fit_statistics(x)
    moved = scale * (x + shift)
    second.fit_statistics(moved)
    torch.testing.assert_close(second(moved)[0], first(x)[0], rtol=1e-6, atol=1e-6)


def test_standardisation_is_not_crushed_by_outliers():
    x = torch.randn(1000, 1, generator=tools.generator(), dtype=torch.float64)
    x[:10] = 1e6
    transform = Standardize((1,)).double()
    transform.fit_statistics(x)
    clean = transform(x[10:])[0]
    assert 0.8 < clean.std() < 1.2
    assert StandardScaler().fit_transform(x.numpy())[10:].std() < 1e-3
