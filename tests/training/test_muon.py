"""Muon: orthogonalised steps for the matrices of perceptrons, and Adam for all else."""

import numpy as np
import pytest
import torch

from densekit import MAFEstimator, NICEEstimator, NSFEstimator, RealNVPEstimator, load
from densekit.densities import Flow, Normal
from densekit.exceptions import ParameterError
from densekit.networks import MLP, MaskedMLP
from densekit.training import Learner
from densekit.training.muon import MIN_SIDE, Matrix, Muon, find_matrices, orthogonalize
from densekit.transforms import Autoregressive, Chain, Coupling, Linear

X = np.random.default_rng(0).normal(size=(400, 3)) @ [[1.0, 0.5, 0], [0, 1, 0], [0.3, 0, 2]]


@pytest.mark.parametrize("shape", [(40, 40), (150, 40), (40, 150), (1, 40), (40, 1)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e12])
def test_singular_values_come_near_one_and_vectors_stay(shape, scale):
    torch.manual_seed(0)
    # Not smaller than what five iterations can lift.
    left, singular, right = torch.linalg.svd(torch.randn(3, *shape), full_matrices=False)
    singular = singular.clamp_min(0.05 * singular[:, :1])
    found = orthogonalize(scale * (left * singular[:, None]) @ right)
    lifted = left.mT @ found @ right.mT
    values = lifted.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(lifted, torch.diag_embed(values), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(40, 50), (40, 150)])
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 1e-30, 1e-20, 1e-13])
def test_what_is_next_to_nothing_stays_so(shape, size):
    assert orthogonalize(torch.full((2, *shape), size)).abs().max() < 0.01


@pytest.mark.parametrize("kind", [RealNVPEstimator, NICEEstimator, MAFEstimator])
def test_two_columns_leave_it_few_matrices_and_one_none(kind):
    est = kind(optimizer="muon", max_epochs=2, random_state=0)
    assert np.isfinite(est.fit(X[:, :2]).score_samples(X[:, :2])).all()
    with pytest.raises(ParameterError, match="has no effect where no matrix"):
        est.fit(X[:, :1])


def flow(dtype=torch.float32):
    torch.manual_seed(0)
    layers = [
        Autoregressive((40,), hidden_sizes=(33, 20, 35)),
        Linear((40,)),
        Coupling((40,), hidden_sizes=(50, 50)),
    ]
    return Flow(Chain(layers), Normal((40,))).to(dtype)


def test_large_matrices_of_perceptrons_are_found_those_of_a_shape_together():
    found = find_matrices(flow())
    shapes = [matrix.shape for matrix in found]
    assert shapes == sorted(shapes)
    assert sorted(shapes) == [(33, 40), (40, 50), (50, 50), (80, 35)]
    masked = [matrix.shape for matrix in found if matrix.mask is not None]
    assert masked == [(33, 40), (80, 35)]
    assert not find_matrices(MLP(MIN_SIDE - 1, 50, (MIN_SIDE - 1,)))
    assert [matrix.shape for matrix in find_matrices(MaskedMLP(3, 20, (64, 64)))] == [
        (60, 64),
        (64, 64),
    ]


def test_frozen_matrices_are_left_out_and_tied_ones_are_taken_once():
    one, other = (Coupling((40,), hidden_sizes=(50, 50), mask=mask) for mask in ("first", "last"))
    density = Flow(Chain([one, other]), Normal((40,)))
    frozen = one.network.hidden[0].weight.requires_grad_(False)
    tied = one.network.hidden[1].weight = other.network.hidden[1].weight
    found = [matrix.weight for matrix in find_matrices(density)]
    assert sum(weight is frozen for weight in found) == 0
    assert sum(weight is tied for weight in found) == 1
    learner = Learner(density, 1e-3, 0.9, "muon")
    assert len(learner.weights) == sum(p.numel() for p in density.parameters() if p.requires_grad)


def test_what_it_is_not_called_is_refused():
    with pytest.raises(ParameterError, match="Learner got optimizer='Muon'"):
        Learner(flow(), 1e-3, 0.9, "Muon")


def test_masked_and_free_matrices_of_a_shape_share_a_stack():
    torch.manual_seed(0)
    mask = torch.ones(40, 40).tril()
    vectors = torch.zeros(2 * 1600), torch.randn(2 * 1600), torch.zeros(2 * 1600)
    weight = torch.nn.Parameter(torch.zeros(40, 40))
    Muon([Matrix(weight, mask), Matrix(weight, None)], *vectors).step(0.1, 1.0, 0.5)
    masked, free = vectors[0].view(2, 40, 40)
    assert not masked[mask == 0].any()
    assert masked[mask == 1].all()
    assert free.all()
    torch.testing.assert_close(vectors[2], vectors[0] / 2)
    # Down the gradient, as far as the learning rate and the sizes say.
    assert (vectors[0] * vectors[1]).sum() < 0
    singular = torch.linalg.svdvals(free)
    assert 0.5 < singular.median() / (0.1 * 0.2 * 40**0.5) < 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_large_matrix_is_adams(dtype):
    x, weight = torch.randn(200, 40, dtype=dtype), torch.ones(200, dtype=dtype)
    steps = {}
    for optimizer in ("adam", "muon"):
        density = flow(dtype)
        Learner(density, 1e-3, 0.9, optimizer).step(x, None, weight)
        steps[optimizer] = density
    large = {id(matrix.weight) for matrix in find_matrices(steps["muon"])}
    pairs = zip(steps["adam"].parameters(), steps["muon"].parameters(), strict=True)
    equal = {True: 0, False: 0}
    for one, other in pairs:
        if id(other) not in large:
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        elif other.grad.any():
            assert not torch.equal(one, other)
        equal[id(other) in large] += 1
    assert equal[True] == 4
    assert equal[False] > 4


def test_steps_climb_and_leave_what_masks_hide_at_zero():
    torch.manual_seed(1)
    x = torch.randn(200, 40) @ torch.randn(40, 40) / 6
    density = flow()
    learner = Learner(density, 1e-3, 0.9, "muon")
    nats = [learner.step(x, None, torch.ones(200)) for _ in range(60)]
    assert nats[-1] > nats[0] + 1
    for vector in (learner.weights.copy(), learner.average.clone()):
        learner.weights.set(vector)
        for matrix in find_matrices(density):
            if matrix.mask is not None:
                assert not matrix.weight[matrix.mask == 0].any()


def test_a_learner_goes_on_from_its_state():
    x, weight = torch.randn(100, 40), torch.ones(100)
    whole, first = (Learner(flow(), 1e-3, 0.9, "muon") for _ in range(2))
    for learner in (whole, first):
        for _ in range(3):
            learner.step(x, None, weight)
    state = first.state()
    kept = type(state)(dict(state.plain), {k: v.clone() for k, v in state.tensors.items()})
    second = Learner(flow(), 1e-3, 0.9, "muon")
    second.restore(kept)
    for learner in (whole, second):
        for _ in range(3):
            learner.step(x, None, weight)
    assert torch.equal(whole.weights.vector, second.weights.vector)
    assert torch.equal(whole.average, second.average)


@pytest.mark.parametrize("kind", [NSFEstimator, RealNVPEstimator])
def test_estimators_learn_by_it_and_files_keep_it(kind, tmp_path):
    params = {"hidden_sizes": (32, 32), "max_epochs": 20, "random_state": 0}
    est = kind(optimizer="muon", **params).fit(X)
    assert est.history_.n_rollbacks == 0
    assert est.history_.best_score > est.history_.monitored[0]
    est.save(tmp_path / "model.densekit")
    again = load(tmp_path / "model.densekit")
    assert again.get_params() == est.get_params()
    assert np.array_equal(again.score_samples(X), est.score_samples(X))
    other = kind(optimizer="adam", **params).fit(X)
    assert not np.array_equal(other.score_samples(X), est.score_samples(X))
