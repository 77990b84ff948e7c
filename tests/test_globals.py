"""What belongs to the whole process stays as it is, and does not change a model."""

import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from tqdm import tqdm

import densekit
from densekit import MADEEstimator, MAFEstimator, NSFEstimator, PixelCNNEstimator
from densekit.data.initialisation import DTYPE, seeded_initialisation

X = np.random.default_rng(0).normal(size=(60, 3))
IMAGES = np.random.default_rng(0).integers(0, 2, size=(40, 6, 6))


@pytest.fixture
def default_dtype():
    yield torch.set_default_dtype
    torch.set_default_dtype(torch.float32)


class Zoo(nn.Module):
    """Layers of other authors, with many ways to draw initial weights."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 4), nn.Conv2d(2, 3, 3), nn.LSTM(2, 3)])
        self.layers += [nn.Embedding(5, 2), nn.MultiheadAttention(4, 2), nn.Bilinear(2, 3, 4)]
        draws = [torch.randn(3, 2), torch.rand(4), torch.normal(0.0, 2.0, (5,))]
        draws += [torch.rand_like(draws[0]), torch.randn_like(draws[1]), torch.randperm(7).float()]
        draws += [torch.randint(9, (4,)).float(), torch.randint(3, 9, (4,)).float()]
        draws += [torch.bernoulli(torch.full((9,), 0.5)), torch.normal(torch.zeros(3), 0.5)]
        draws += [torch.empty(4).exponential_(), torch.empty(3).cauchy_(), torch.ones(3) / 3]
        draws += [torch.multinomial(torch.tensor([0.1, 0.9]), 20, replacement=True) / 3]
        draws += [torch.tensor([0.1, 0.3]), torch.arange(3) / 7, torch.full((2,), 0.1)]
        draws += [nn.functional.dropout(torch.ones(50)), torch.distributions.Beta(2, 3).sample()]
        draws += [nn.init.orthogonal_(torch.empty(3, 3)), nn.init.trunc_normal_(torch.empty(4))]
        draws += [torch.from_numpy(np.array([0.1])), torch.tensor(np.float64(0.1))]
        draws += [torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.int64).double()]
        self.draws = nn.ParameterList(nn.Parameter(draw, requires_grad=False) for draw in draws)


def build(seed=7):
    with seeded_initialisation(torch.Generator().manual_seed(seed)):
        return Zoo().state_dict()


def test_whatever_draws_initial_weights_draws_from_a_private_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build()
    torch.rand(100)
    second, other = build(), build(8)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert any(not torch.equal(value, other[name]) for name, value in first.items())
    torch.set_rng_state(before)
    build()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_change_initial_weights(dtype, default_dtype):
    expected = build()
    default_dtype(dtype)
    for name, value in build().items():
        assert value.dtype == expected[name].dtype, name
        assert torch.equal(value, expected[name]), name
    assert torch.get_default_dtype() == dtype


def test_initial_weights_are_those_of_the_default_generator_seeded_alike():
    source = torch.Generator().manual_seed(5)
    with seeded_initialisation(source):
        found = nn.Linear(30, 30).weight
    seed = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(5)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = nn.Linear(30, 30).weight
    assert torch.equal(found, expected)
    assert found.dtype == DTYPE


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (NSFEstimator(max_epochs=2, random_state=0), X),
        (MAFEstimator(max_epochs=2, random_state=0, dtype="float32", base="mixture"), X),
        (MADEEstimator(max_epochs=2, random_state=0), X),
        (PixelCNNEstimator(max_epochs=1, random_state=0, n_layers=2, n_channels=4), IMAGES),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_default_dtype_does_not_change_the_model_of_a_seed(
    estimator, data, dtype, default_dtype, tmp_path
):
    expected = estimator.fit(data).score_samples(data)
    samples = estimator.sample(5, random_state=0)
    estimator.save(tmp_path / "model")
    default_dtype(dtype)
    assert np.array_equal(densekit.load(tmp_path / "model").score_samples(data), expected)
    assert np.array_equal(estimator.fit(data).score_samples(data), expected)
    assert np.array_equal(estimator.sample(5, random_state=0), samples)


def test_neither_fit_nor_load_moves_the_generator_that_other_threads_draw_from(tmp_path):
    estimator = MAFEstimator(max_epochs=1, random_state=0).fit(X)
    estimator.save(tmp_path / "model")
    is_done = threading.Event()

    def work():
        try:
            for _ in range(20):
                MAFEstimator(max_epochs=1, n_layers=8, random_state=0).fit(X)
                densekit.load(tmp_path / "model")
        finally:
            is_done.set()

    torch.manual_seed(3)
    before = torch.get_rng_state()
    thread = threading.Thread(target=work)
    thread.start()
    n_moved = 0
    while not is_done.is_set():
        n_moved += not torch.equal(torch.get_rng_state(), before)
    thread.join()
    assert n_moved == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (MADEEstimator(max_epochs=2, random_state=0), X),
        (PixelCNNEstimator(max_epochs=1, random_state=0, n_layers=2, n_channels=4), IMAGES),
        (NSFEstimator(max_epochs=2, random_state=0, warm_start=True), X),
    ],
    ids=lambda value: type(value).__name__,
)
def test_models_are_fitted_loaded_and_scored_where_gradients_are_switched_off(
    estimator, data, mode, tmp_path
):
    expected = clone(estimator).fit(data).score_samples(data)
    clone(estimator).fit(data).save(tmp_path / "model")
    with mode():
        found = clone(estimator).fit(data).score_samples(data)
        loaded = densekit.load(tmp_path / "model")
        assert np.array_equal(loaded.score_samples(data), expected)
        loaded.fit(data)
        assert torch.is_grad_enabled() is False
    assert np.array_equal(found, expected)
    loaded.fit(data)


def test_a_bar_that_is_not_shown_starts_no_thread(monkeypatch):
    monkeypatch.setattr(tqdm, "monitor", None)
    before = threading.active_count()
    model = PixelCNNEstimator(max_epochs=1, random_state=0, n_layers=2, n_channels=4)
    model.fit(IMAGES).sample(2)
    assert threading.active_count() == before
