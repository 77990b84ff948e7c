"""How PixelCNN draws levels: by their masses, at a temperature, and guided to a class."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from noise import noisy
from sklearn.datasets import load_digits

from densekit import PixelCNNEstimator
from densekit.densities import PixelCNN
from densekit.densities.level_draws import LevelDraws
from densekit.densities.likelihoods import Bernoulli, Categorical, LogisticMixture
from densekit.errors import ContextError

DIGITS = load_digits()
X = (DIGITS.images[:60] // 4).astype(np.uint8)  # 8 x 8, levels 0 to 4
Y = DIGITS.target[:60] % 3


@given(
    n_levels=st.integers(2, 300),
    n_components=st.integers(1, 5),
    scale=st.floats(0.01, 100),
    seed=st.integers(0, 2**16),
)
def test_masses_are_those_of_single_levels_and_sum_to_one(n_levels, n_components, scale, seed):
    levels = torch.arange(n_levels, dtype=torch.float64)
    outside = torch.tensor([-1.0, 0.5, float(n_levels)], dtype=torch.float64)
    for likelihood in (
        Bernoulli(),
        Categorical(n_levels),
        LogisticMixture(n_levels, n_components),
    ):
        known = levels[: likelihood.n_levels]
        generator = torch.Generator().manual_seed(seed)
        params = scale * torch.randn(
            1, likelihood.n_params, generator=generator, dtype=torch.float64
        )
        log_mass = likelihood.log_prob(known, params.expand(len(known), -1))
        assert log_mass.exp().sum().item() == pytest.approx(1, abs=1e-9)
        found = likelihood.masses(params)[0]
        torch.testing.assert_close(found, log_mass.exp(), rtol=1e-6, atol=1e-12)
        assert (likelihood.log_prob(outside, params.expand(3, -1)) == -torch.inf).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-46, 1e-39, 0.5, 1.0, 2.0, 1e300])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Categorical(4), LogisticMixture(4, 2)])
def test_temperature_is_a_power_of_the_masses(likelihood, temperature, dtype):
    params = torch.randn(likelihood.n_params, generator=torch.Generator().manual_seed(2))
    params = params.to(dtype).expand(4000, -1)
    draws = LevelDraws(likelihood, temperature, torch.Generator().manual_seed(0))
    counts = draws.draw(params).long().bincount(minlength=likelihood.n_levels)
    masses = likelihood.masses(params[:1])[0]
    expected = (masses.double().log() / min(max(temperature, 1e-9), 1e9)).softmax(0)
    torch.testing.assert_close(counts / 4000, expected.float(), atol=0.03, rtol=0)
    assert masses.max() < 0.95  # some doubt, or nothing is tested


def conditional(likelihood=None):
    sizes = {"n_levels": 2, "n_layers": 2, "n_channels": 6, "context_shape": (3,)}
    return noisy(PixelCNN((1, 2, 2), likelihood=likelihood or Categorical(2), **sizes))


@pytest.mark.parametrize("likelihood", [Bernoulli(), Categorical(2), LogisticMixture(2, 2)])
@pytest.mark.parametrize(("guidance", "temperature"), [(1.0, 1.0), (3.0, 1.0), (2.0, 0.5)])
@pytest.mark.parametrize("n_known", [0, 2])
def test_guidance_multiplies_masses_by_a_power_of_what_they_say_of_the_class(
    likelihood, guidance, temperature, n_known
):
    """Frequencies of all images of four binary pixels are those of the product, step by step."""
    density, classes = conditional(likelihood), torch.eye(3).double()
    images = torch.cartesian_prod(*[torch.arange(2.0)] * 4).double()  # numbered in binary
    with torch.no_grad():
        terms = torch.stack(
            [
                density.log_prob_terms(images.view(16, 1, 2, 2), own.expand(16, -1))
                for own in classes
            ]
        )
    posterior = terms.cumsum(2).log_softmax(0)  # (classes, images, pixels)
    x = torch.ones(4000, 1, 2, 2).double()
    is_known = torch.arange(4).view(2, 2).expand_as(x) < n_known
    for own in range(3):
        weight = ((terms[own] + guidance * posterior[own]) / temperature).exp()
        expected = (images[:, :n_known] == 1).all(1).double()
        for pixel in range(n_known, 4):
            grid = weight[:, pixel].view(2, 2, 2, 2)
            expected *= (grid / grid.sum(pixel, keepdim=True)).flatten()
        drawn = density.complete(
            x,
            is_known,
            classes[own].expand(len(x), -1),
            generator=torch.Generator().manual_seed(0),
            guidance=guidance,
            temperature=temperature,
        )
        number = (drawn.flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)
        found = number.bincount(minlength=16) / len(x)
        torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0)


def pixelcnn(**options):
    defaults = {"n_layers": 2, "n_channels": 8, "max_epochs": 2, "random_state": 0}
    return PixelCNNEstimator(**(defaults | options))


@pytest.fixture(scope="module")
def model():
    return pixelcnn(conditional=True).fit(X, Y)


def half():
    known = np.zeros((8, 8), dtype=bool)
    known[:4] = True
    return known


def test_estimators_hand_temperature_and_guidance_on(model):
    for draw in (
        lambda seed, **options: model.sample(6, seed, y=1, **options),
        lambda seed, **options: model.complete(X[:6], half(), 1, seed, y=Y[:6], **options),
    ):
        plain = draw(0)
        assert np.array_equal(plain, draw(0, temperature=1.0, guidance=0.0))
        assert not np.array_equal(plain, draw(0, temperature=0.5))
        assert not np.array_equal(plain, draw(0, guidance=20.0))
        assert np.array_equal(draw(0, temperature=0), draw(1, temperature=0))
        assert np.array_equal(draw(3, guidance=2.0), draw(3, guidance=2.0))


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, None])
@pytest.mark.parametrize("name", ["temperature", "guidance"])
def test_what_is_no_number_from_zero_is_refused(model, name, value):
    with pytest.raises(ValueError, match=f"PixelCNNEstimator.sample got {name}="):
        model.sample(y=1, **{name: value})
    with pytest.raises(ValueError, match=f"PixelCNNEstimator.complete got {name}="):
        model.complete(X[:1], half(), y=1, **{name: value})
    with pytest.raises(ValueError, match=f"PixelCNN.complete got {name}="):
        conditional().sample(2, torch.eye(3).double()[:2], **{name: value})


def test_guidance_wants_classes():
    with pytest.raises(ContextError, match="no classes to tell"):
        pixelcnn().fit(X).sample(guidance=1.0)
    numbers = np.linspace(0, 1, len(X))[:, None]
    with pytest.raises(ContextError, match="no classes to tell"):
        pixelcnn(conditional=True).fit(X, numbers).sample(y=numbers[:2], guidance=1.0)
    with pytest.raises(ContextError, match="no one-hot context"):
        conditional().sample(2, torch.rand(2, 3).double(), guidance=1.0)
