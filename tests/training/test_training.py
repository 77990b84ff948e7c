"""The trainer: recovery, interrupts, restored weights, the record."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from densekit import (
    FlowEstimator,
    ImageRealNVPEstimator,
    MADEEstimator,
    MAFEstimator,
    NSFEstimator,
    RealNVPEstimator,
)
from densekit import _kernels as kernels
from densekit.densities import Flow, Normal
from densekit.densities.base import training_step_of
from densekit.exceptions import DivergenceError, InterruptedFitWarning
from densekit.testing import tools
from densekit.training import Learner
from densekit.training.learner import CompiledAdam, PlainAdam
from densekit.training.weights import Weights
from densekit.transforms import ActNorm, Autoregressive, Chain, Coupling, Transform

X = np.random.default_rng(0).normal(size=(400, 2)) @ [[1.0, 0.5], [0.0, 1.0]]


class Troubled(Transform):
    """A layer that makes trouble at chosen training steps."""

    def __init__(self, event_shape=(2,), *, context_shape=None, nan_at=(), interrupt_at=None):
        super().__init__(event_shape)
        self.shift = nn.Parameter(torch.zeros(event_shape))
        self.nan_at, self.interrupt_at, self.n_steps = nan_at, interrupt_at, 0

    def forward(self, x, context=None):
        if self.training and torch.is_grad_enabled():
            self.n_steps += 1
            if self.n_steps == self.interrupt_at:
                raise KeyboardInterrupt
            if self.n_steps in self.nan_at:
                return x * torch.nan + self.shift, x.new_zeros(len(x))
        return x + self.shift, x.new_zeros(len(x))

    def inverse(self, z, context=None):
        return z - self.shift, z.new_zeros(len(z))


def fit(layer, **params):
    layers = [layer, Coupling, "reverse", Coupling]
    return FlowEstimator(layers=layers, random_state=0, **params).fit(X)


def test_non_finite_losses_are_rolled_back():
    est = fit(Troubled(nan_at=(3, 40, 41)), max_epochs=20, noise=0)
    assert est.history_.n_rollbacks == 3
    assert est.n_iter_ == 20
    assert est.history_.learning_rate[-1] < est.learning_rate / 10
    assert np.isfinite(est.score_samples(X)).all()


def test_a_linear_schedule_ends_at_zero_and_a_plateau_keeps_the_rate_while_it_learns():
    rates = {
        schedule: FlowEstimator(schedule=schedule, max_epochs=8, random_state=0)
        .fit(X)
        .history_.learning_rate
        for schedule in ("auto", "plateau", "linear")
    }
    assert rates["auto"] == rates["plateau"] == [2e-3] * 8
    falls = np.diff(rates["linear"])
    np.testing.assert_allclose(falls, -2e-3 / 8)
    assert 0 < rates["linear"][-1] < 1e-4


@pytest.mark.parametrize(
    ("schedule", "is_image", "falls"),
    [
        *(("auto", True, True), ("auto", False, False), ("plateau", True, False)),
        *(("linear", True, True), ("linear", False, True)),
    ],
)
def test_auto_is_a_straight_line_for_images_alone(schedule, is_image, falls):
    options = {"schedule": schedule, "max_epochs": 3, "n_layers": 2, "random_state": 0}
    x = np.arange(40 * 16).reshape(40, 4, 4) % 5 if is_image else X
    est = ImageRealNVPEstimator(**options) if is_image else RealNVPEstimator(noise=0, **options)
    rates = est.fit(x).history_.learning_rate
    assert (rates[-1] < rates[0]) == falls


def test_divergence_names_the_epoch_and_leaves_nothing():
    est = FlowEstimator(layers=[Troubled(nan_at=range(30, 10_000))], random_state=0, batch_size=40)
    with pytest.raises(DivergenceError, match="diverged in epoch 4"):
        est.fit(X)
    assert not hasattr(est, "density_")
    assert isinstance(DivergenceError(""), RuntimeError)


@pytest.mark.parametrize(("step", "epoch"), [(2, 1), (200, None)])
def test_an_interrupt_keeps_the_best_weights(step, epoch):
    with pytest.warns(InterruptedFitWarning, match=f"in epoch {epoch}" if epoch else "in epoch"):
        est = fit(Troubled(interrupt_at=step))
    assert est.history_.interrupted
    assert np.isfinite(est.score_samples(X)).all()
    assert est.sample(3).shape == (3, 2)


def test_the_best_weights_are_restored():
    est = MAFEstimator(max_epochs=60, random_state=0, learning_rate=0.02, n_iter_no_change=10)
    est.fit(X[:120])
    history = est.history_
    assert history.best_epoch == 1 + int(np.argmax(history.validation_nats))
    assert est.best_validation_score_ == max(est.validation_scores_)
    assert est.n_iter_ == len(est.loss_curve_) == len(history.seconds)
    without = MAFEstimator(max_epochs=5, validation_fraction=0.0, random_state=0).fit(X)
    assert without.validation_scores_ is None
    assert without.best_validation_score_ is None


def test_reported_nats_are_in_the_units_of_the_data():
    small = MAFEstimator(max_epochs=3, random_state=0).fit(X)
    large = MAFEstimator(max_epochs=3, random_state=0).fit(1000 * X)
    shift = np.subtract(small.validation_scores_, large.validation_scores_)
    np.testing.assert_allclose(shift, 2 * np.log(1000), atol=1e-6)
    np.testing.assert_allclose(small.validation_scores_[-1], small.score(X), atol=0.5)


def test_warm_start_goes_on():
    warm = MAFEstimator(max_epochs=5, random_state=0, warm_start=True).fit(X)
    before = warm.density_
    first = warm.validation_scores_[0]
    warm.fit(X)
    assert warm.validation_scores_[0] > first
    assert len(warm.history_.train_nats) == 5
    assert warm.density_ is not before
    with pytest.raises(ValueError, match="expecting 2 features"):
        warm.fit(np.c_[X, X])
    assert warm.fit(X[:50]).score(X) is not None


def test_the_progress_bar(capfd):
    MAFEstimator(max_epochs=3, random_state=0, verbose=1).fit(X)
    shown = capfd.readouterr().err
    for word in ("MAFEstimator", "3/3", "left", "train ", "validation ", "best ", "nats"):
        assert word in shown
    MAFEstimator(max_epochs=3, random_state=0).fit(X)
    assert capfd.readouterr() == ("", "")


def test_a_flow_without_parameters_is_not_trained():
    est = FlowEstimator(layers=["reverse"], random_state=0).fit(X)
    assert est.n_iter_ == 1
    assert np.isfinite(est.score(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_seed_gives_the_same_scores_but_for_rounding_of_threads(dtype):
    X = np.random.default_rng(0).normal(size=(3000, 8))

    def scores(n_threads):
        torch.set_num_threads(n_threads)
        try:
            estimator = NSFEstimator(random_state=0, max_epochs=3, dtype=dtype)
            return estimator.fit(X).score_samples(X)
        finally:
            torch.set_num_threads(1)

    alone, together, again = scores(1), scores(2), scores(2)
    assert np.array_equal(scores(1), alone)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(again, together, rtol=0, atol=1e-5)


def test_validation_rows_choose_the_noise():
    fits = {
        noise: MAFEstimator(noise=noise, max_epochs=30, random_state=0).fit(X[:100])
        for noise in (0.0, 0.3, "auto")
    }
    scores = {noise: est.best_validation_score_ for noise, est in fits.items()}
    assert fits["auto"].noise_ in (0.0, 0.3)
    # Both runs start from the same weights; the second draws other batches than alone.
    assert scores["auto"] >= scores[0.0]
    again = MAFEstimator(max_epochs=30, random_state=0).fit(X[:100])
    assert again.noise_ == fits["auto"].noise_
    assert np.array_equal(again.score_samples(X), fits["auto"].score_samples(X))


def test_there_is_no_second_run_where_the_first_has_not_overfitted():
    few_epochs = MAFEstimator(max_epochs=3, random_state=0).fit(X[:100])
    alone = MAFEstimator(max_epochs=3, noise=0, random_state=0).fit(X[:100])
    assert np.array_equal(few_epochs.score_samples(X), alone.score_samples(X))


@pytest.mark.parametrize(
    "est",
    [MAFEstimator(validation_fraction=0), MADEEstimator(likelihood="bernoulli")],
    ids=["no validation rows", "discrete"],
)
def test_no_noise_where_nothing_can_be_blurred_or_chosen(est):
    assert est.set_params(max_epochs=3).fit((X > 0).astype(float) + 0.0).noise_ == 0


def test_a_run_that_diverges_leaves_the_other():
    hasty = {"max_epochs": 60, "batch_size": 40, "n_iter_no_change": 1, "learning_rate": 0.2}
    est = fit(Troubled(nan_at=range(30, 10_000)), **hasty)
    assert est.n_iter_ == 3  # of nine steps, so the second run meets what is not finite
    assert est.noise_ == 0
    assert est.history_.n_rollbacks == 0
    assert np.isfinite(est.score_samples(X)).all()


def test_seconds_go_on_from_run_to_run():
    est = MAFEstimator(max_epochs=3, random_state=0).fit(X)
    assert np.all(np.diff(est.history_.seconds) > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_update_is_that_of_torch(dtype):
    runs = []
    for kind in (CompiledAdam, PlainAdam):
        torch.manual_seed(0)
        weights = Weights([nn.Parameter(torch.randn(7, 5, dtype=dtype)) for _ in range(2)])
        average = weights.copy()
        update = kind(weights.vector, weights.gradient, average)
        for n_steps in range(1, 8):
            weights.gradient.copy_(torch.randn_like(weights.gradient) * 10.0 ** (n_steps - 4))
            norm = weights.gradient.norm().item()
            norm_squared = kernels.function("norm_squared", dtype)
            found = math.sqrt(norm_squared(len(weights.gradient), weights.gradient.data_ptr()))
            assert found == pytest.approx(norm, rel=1e-5)
            update.step(n_steps, 0.01, min(1.0, 5 / norm), 10 / (10 + n_steps))
        runs.append((weights.vector, average))
    for compiled, plain in zip(*runs, strict=True):
        torch.testing.assert_close(compiled, plain.to(compiled.dtype), rtol=1e-5, atol=1e-6)


def test_what_masks_hide_stays_zero_while_training():
    layer = Autoregressive((4,), hidden_sizes=(130, 130))
    with torch.no_grad():
        for weight in layer.network.weights_and_biases()[0]:
            weight.add_(1.0)
    flow = Flow(layer, Normal((4,)))
    learner = Learner(flow, 0.01, 0.9)
    x = torch.randn(50, 4)
    before = flow.log_prob(x).mean().item()
    for _ in range(20):
        learner.step(x, None, torch.ones(50))
    assert flow.log_prob(x).mean().item() > before
    network = layer.network
    for vector in (learner.weights.copy(), learner.average.clone()):
        learner.weights.set(vector)
        for weight, mask in zip(network.weights_and_biases()[0], network.masks(), strict=True):
            assert not weight[mask == 0].any()
            assert weight[mask == 1].all()


class Flipped(Normal):
    """Another density than its parent's, which knows a gradient of its own."""

    def log_prob(self, x, context=None):
        return -super().log_prob(x)


class Tripled(ActNorm):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return 3 * z, log_det + 3 * math.log(3)


@pytest.mark.parametrize(
    ("n_rows", "dtype"),
    [(9, torch.float32), (1024, torch.float32), (512, torch.float64)],  # two are padded
)
def test_steps_mix_layers_with_context_and_subclasses(n_rows, dtype):
    layers = [Autoregressive((3,)), Coupling((3,), context_shape=(2, 2)), Tripled((3,))]
    flow = Flow(Chain(layers), Flipped((3,))).to(dtype)
    tools.shake(flow, 0)
    shapes = (n_rows, 3), (n_rows, 2, 2), (n_rows,)
    x, context, weight = (torch.randn(shape, dtype=dtype) for shape in shapes)
    expected = (flow.log_prob(x, context) * weight).mean()
    gradients = torch.autograd.grad(-expected, list(flow.parameters()))
    nats = training_step_of(flow)(x, context, weight)
    assert nats == pytest.approx(expected.item(), rel=1e-5)
    for parameter, gradient in zip(flow.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)
