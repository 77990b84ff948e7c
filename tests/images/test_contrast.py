"""Classes told apart beside likelihood: the objective, its gradient, when and on what it acts."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from noise import noisy
from sklearn.datasets import load_digits

from densekit import PixelCNNEstimator
from densekit.data.rows import Rows
from densekit.densities.likelihoods import Bernoulli, Categorical
from densekit.exceptions import ContextError, DivergenceError, ParameterError
from densekit.images import PixelCNN, contrast
from densekit.images.contrast import Contrast
from densekit.training import Trainer
from densekit.training.run import LATE_FROM, Run

N_CLASSES = 3


def density(shape=(1, 3, 3)):
    return noisy(PixelCNN(shape, likelihood=Categorical(3), n_levels=3, context_shape=(N_CLASSES,)))


def batch(n_rows, shape=(1, 3, 3)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (n_rows, *shape), generator=generator).double()
    own = torch.eye(N_CLASSES).double()[torch.arange(n_rows) % N_CLASSES]
    weight = torch.rand(n_rows, generator=generator).double()
    return Rows(x, weight, own, torch.zeros(n_rows).double())


def widened(model, rows, strength):
    generator = torch.Generator()
    return Contrast(strength, rows.context, generator.device).widen(model, rows, generator)


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 3, 4)])
def test_contrast_has_the_gradient_of_its_objective(monkeypatch, shape):
    monkeypatch.setattr(contrast, "LEAST_DOUBT", 0.0)
    monkeypatch.setattr(contrast, "MOVED_SHARE", 0.5)
    model, rows = density(shape), batch(6, shape)
    wide, excess = widened(model, rows, 3.0)
    moved, other = wide.x[6:12], wide.context[12:]
    assert not torch.equal(moved, rows.x)
    assert torch.equal(wide.x[12:], moved)
    assert not (other * rows.context).any()
    log_p = model.log_prob(rows.x, rows.context)
    lead = model.log_prob(moved, rows.context) - model.log_prob(moved, other)
    told = torch.nn.functional.logsigmoid(lead - math.log(N_CLASSES - 1))
    objective = (rows.weight * (log_p + 3.0 * told)).mean()
    weighted = (model.log_prob(wide.x, wide.context) * wide.weight).mean()
    parameters = list(model.parameters())
    for found, expected in zip(
        torch.autograd.grad(weighted, parameters),
        torch.autograd.grad(objective, parameters),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    assert weighted.item() - excess == pytest.approx((rows.weight * log_p).mean().item())


def test_images_without_doubt_are_left_to_likelihood(monkeypatch):
    monkeypatch.setattr(contrast, "LEAST_DOUBT", 0.6)
    model, rows = density(), batch(40)
    wide, excess = widened(model, rows, 3.0)
    n_tested = (len(wide) - 40) // 2
    assert 0 < n_tested < 40
    weight = wide.weight / (len(wide) / 40)
    torch.testing.assert_close(weight[:40], rows.weight)
    torch.testing.assert_close(weight[40 : 40 + n_tested], -weight[40 + n_tested :])
    assert (weight < 0).sum() == n_tested
    own, other = wide.context[40:].split(n_tested)
    assert not (own * other).any()
    weighted = (model.log_prob(wide.x, wide.context) * wide.weight).mean()
    plain = (model.log_prob(rows.x, rows.context) * rows.weight).mean()
    assert weighted.item() - excess == pytest.approx(plain.item())


def test_classes_that_seem_likely_are_drawn_more_often_and_count_for_less():
    own = torch.zeros(4000, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    contrast_of_three = Contrast(1.0, torch.eye(3), generator.device)
    for _ in range(20):
        other, log_chance = contrast_of_three._draw_others(own, generator)
        contrast_of_three._learn(own, other, torch.where(other == 1, 0.3, 0.1))
    torch.testing.assert_close(
        contrast_of_three.state,
        torch.tensor([[0, 0.3, 0.1], [1, 0, 1], [1, 1, 0]]).double(),
        atol=1e-6,
        rtol=0,
    )
    other, log_chance = contrast_of_three._draw_others(own, generator)
    chances = torch.tensor([0, 0.5 * 0.5 + 0.5 * 0.75, 0.5 * 0.5 + 0.5 * 0.25]).double()
    torch.testing.assert_close(log_chance, chances[other].log(), atol=1e-5, rtol=0)
    shares = other.bincount(minlength=3) / 4000
    torch.testing.assert_close(shares.double(), chances, atol=0.03, rtol=0)


@pytest.mark.parametrize(("likely", "n_steps"), [(0.0, 1000), (torch.nan, 1)])
def test_classes_far_apart_and_numbers_that_are_none_leave_chances_for_all(likely, n_steps):
    own, other = torch.zeros(400, dtype=torch.long), torch.tensor([1, 2]).repeat(200)
    apart = Contrast(1.0, torch.eye(3), own.device)
    for _ in range(n_steps):
        apart._learn(own, other, torch.full((400,), likely))
    assert apart.state[0].any() == (likely != 0.0)  # without the floor, zero by zero
    _, log_chance = apart._draw_others(own, torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_chance.exp(), torch.full((400,), 0.5).double())


@pytest.mark.parametrize("n_bad", [2, 3, 1000])
def test_a_step_that_is_not_finite_costs_no_more_than_a_rollback(monkeypatch, n_bad):
    model, rows = density(), batch(12)
    options = Trainer(max_epochs=4, batch_size=12, learning_rate=1e-3, n_iter_no_change=9, tol=0.0)
    options.late_objective = partial(Contrast, 5.0)
    run = Run(options, model, rows, None, torch.Generator().manual_seed(0))
    for _ in range(3):
        run.epoch()
    log_prob, n_calls = model.log_prob, []

    def troubled(x, context):
        n_calls.append(1)
        return log_prob(x, context) * (torch.nan if len(n_calls) <= n_bad else 1.0)

    monkeypatch.setattr(model, "log_prob", troubled)
    if n_bad == 1000:
        with pytest.raises(DivergenceError, match="diverged in epoch 4"):
            run.epoch()
        return
    run.epoch()
    assert run.history.n_rollbacks == n_bad - 2
    assert run._late.state.isfinite().all()


def test_contrast_without_classes_is_refused():
    with pytest.raises(ContextError, match="one-hot classes"):
        Contrast(1.0, None, torch.device("cpu"))


def test_images_are_told_apart_where_they_stand_and_near_it(monkeypatch):
    monkeypatch.setattr(contrast, "LEAST_DOUBT", 0.0)
    monkeypatch.setattr(contrast, "LEANING_SHARE", 0.0)
    model = noisy(PixelCNN((2, 14, 14), likelihood=Bernoulli(), n_levels=2, context_shape=(2,)))
    x = torch.zeros(60, 2, 14, 14).double()
    x[:, 0, 6, 6] = x[:, 1, 7, 7] = 1
    x[:, 0, 0, 13] = 1  # an edge, which is drawn out where the image moves away from it
    own = torch.eye(2, dtype=torch.float64)[torch.zeros(60, dtype=torch.long)]
    rows = Rows(x, torch.ones(60).double(), own, torch.zeros(60).double())
    moved = widened(model, rows, 1.0)[0].x[60:120]
    places = {tuple(image[0, 3:11, 3:11].nonzero()[0].tolist()) for image in moved}
    assert places == {(i, j) for i in (2, 3, 4) for j in (2, 3, 4)}
    expected = moved[:, 0, :-1, :-1].clone()
    expected[:, :3, 10:] = 0
    assert torch.equal(moved[:, 1, 1:, 1:], expected)
    assert {int(image[0, :3, 11:].sum()) for image in moved} == {0, 1, 2, 4}


def test_images_of_one_row_lean_nowhere(monkeypatch):
    monkeypatch.setattr(contrast, "MOVED_SHARE", 0.0)
    x = torch.arange(20.0).expand(50, 1, 1, 20)
    assert torch.equal(contrast._moved(x, torch.Generator().manual_seed(0)), x)


def test_images_are_told_apart_upright_and_leaning(monkeypatch):
    monkeypatch.setattr(contrast, "MOVED_SHARE", 0.0)
    x = torch.zeros(200, 1, 11, 20)
    x[..., 9] = torch.arange(1.0, 12.0)  # a line from top to bottom, of another level in each row
    x[..., 19] = 12.0
    leaning = contrast._moved(x, torch.Generator().manual_seed(0))[:, 0]
    column = (leaning * (leaning < 12)).argmax(2)
    line = leaning.gather(2, column[..., None])[..., 0]
    assert torch.equal(line, torch.arange(1.0, 12.0).expand(200, 11))
    slant = 9 - column
    assert torch.equal(slant, -slant.flip(1))  # about the middle
    assert ((slant.diff(dim=1) >= 0).all(1) | (slant.diff(dim=1) <= 0).all(1)).all()
    assert set(slant[:, 0].tolist()) == {-2, -1, 0, 1, 2}  # a tenth of the width
    assert (leaning[:, 0, 18:] == 12).all(1).any()  # an edge, drawn out


def test_a_step_reports_the_likelihood_of_its_batch_alone():
    model, rows = density(), batch(12)
    steps = {"max_epochs": 1, "batch_size": 12, "learning_rate": 1e-3}
    options = Trainer(**steps, n_iter_no_change=1, tol=0.0, late_objective=partial(Contrast, 5.0))
    run = Run(options, model, rows, None, torch.Generator().manual_seed(0))
    # rows are drawn by their weight, and then count alike
    expected = model.log_prob(rows.x, rows.context).mean().item()
    assert run._step(torch.arange(12), LATE_FROM) == pytest.approx(expected)


def test_contrast_tells_the_classes_of_training_images_apart():
    digits = load_digits()
    X, y = digits.images[:400].astype(int) // 4, digits.target[:400]
    options = {"conditional": True, "n_layers": 3, "n_channels": 12, "max_epochs": 8}
    loss = {}
    for weight in (0.0, 10.0):
        model = PixelCNNEstimator(contrast=weight, random_state=0, **options).fit(X, y)
        loss[weight] = -model.class_log_proba(X)[np.arange(len(X)), y].mean()
    assert loss[10.0] < 0.9 * loss[0.0]


def test_patience_waits_for_contrast():
    images = np.random.default_rng(0).integers(0, 2, (60, 2, 2))
    y = np.arange(60) % 2
    options = {"conditional": True, "n_layers": 2, "n_channels": 4, "max_epochs": 20}
    options |= {"n_iter_no_change": 1, "tol": 1e3, "random_state": 0}  # no epoch is progress
    plain = PixelCNNEstimator(**options).fit(images, y)
    assert plain.n_iter_ == 2
    contrasted = PixelCNNEstimator(contrast=1.0, **options).fit(images, y)
    assert contrasted.n_iter_ > LATE_FROM * 20
    assert contrasted.history_.best_epoch > LATE_FROM * 20


@pytest.mark.parametrize("y", [np.zeros(40, int), np.arange(40.0)[:, None]], ids=["one", "numbers"])
def test_contrast_needs_several_classes(y):
    images = np.random.default_rng(0).integers(0, 3, (40, 2, 2))
    model = PixelCNNEstimator(conditional=True, n_layers=2, n_channels=4, max_epochs=1)
    model.fit(images, y)
    with pytest.raises(ParameterError, match="no classes to tell apart"):
        model.set_params(contrast=10.0).fit(images, y)
