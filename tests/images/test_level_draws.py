"""How PixelCNN draws levels: by their masses, at a temperature, and guided to a class."""

import numpy as np
import pytest
import torch
from digits import X, Y, half, pixelcnn
from hypothesis import given
from hypothesis import strategies as st
from noise import noisy
from sklearn.exceptions import NotFittedError

from densekit.densities.likelihoods import Bernoulli, Categorical, LogisticMixture
from densekit.exceptions import ContextError
from densekit.images import PixelCNN
from densekit.images.level_draws import GuidedDraws, LevelDraws


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
        found = likelihood.log_masses(params)[0]
        torch.testing.assert_close(found, log_mass, rtol=1e-9, atol=1e-6)
        assert (likelihood.log_prob(outside, params.expand(3, -1)) == -torch.inf).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-46, 1e-39, 0.5, 1.0, 2.0, 1e300])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Categorical(4), LogisticMixture(4, 2)])
def test_temperature_is_a_power_of_the_masses(likelihood, temperature, dtype):
    params = torch.randn(likelihood.n_params, generator=torch.Generator().manual_seed(2))
    params = params.to(dtype).expand(4000, -1)
    draws = LevelDraws(likelihood, temperature, torch.Generator().manual_seed(0))
    counts = draws.draw(params).long().bincount(minlength=likelihood.n_levels)
    log_mass = likelihood.log_masses(params[:1])[0].double()
    expected = (log_mass / min(max(temperature, 1e-9), 1e9)).softmax(0)
    torch.testing.assert_close(counts / 4000, expected.float(), atol=0.03, rtol=0)
    assert log_mass.exp().max() < 0.95  # some doubt, or nothing is tested


@pytest.mark.parametrize("temperature", [100.0, 1e300])
@pytest.mark.parametrize(
    ("likelihood", "params"),
    [
        (Bernoulli(), [-200.0]),
        (Categorical(3), [-150.0, 0.0, -200.0]),
        (LogisticMixture(6, 1), [0.0, -3.0, -5.0]),
    ],
)
def test_heat_brings_back_levels_whose_mass_is_below_the_range(likelihood, params, temperature):
    params = torch.tensor(params)  # of float32
    log_mass = likelihood.log_masses(params.double()[None])[0]
    assert log_mass.exp().float().min() == 0
    draws = LevelDraws(likelihood, temperature, torch.Generator().manual_seed(0))
    counts = draws.draw(params.expand(4000, -1)).long().bincount(minlength=likelihood.n_levels)
    expected = (log_mass / temperature).softmax(0)
    torch.testing.assert_close(counts / 4000, expected.float(), atol=0.03, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evidence_beyond_the_range_of_masses_is_kept(dtype):
    """Known levels that are next to impossible, and speak against the class that is asked for."""
    own = torch.eye(2, dtype=dtype)[:1].expand(3, -1)

    def draw(guidance, log_odds):
        draws = GuidedDraws(Bernoulli(), 0.0, None, guidance, own)
        for _ in range(10):
            draws.draw(torch.tensor([[300.0], [150.0]], dtype=dtype).repeat(3, 1))
            draws.see(torch.zeros(3, dtype=dtype))  # 1500 nats for the other class
        return draws.draw(torch.tensor(log_odds, dtype=dtype)[:, None].repeat(3, 1))

    # Zero is likelier under the class, one tells it from the other: so much guidance takes one.
    assert draw(0.4, [-10.0, -30.0]).tolist() == [0, 0, 0]
    assert draw(0.6, [-10.0, -30.0]).tolist() == [1, 1, 1]
    for guidance in (1e-50, 1e39, 1e300):
        assert draw(guidance, [-10.0, -30.0]).tolist() == [int(guidance > 1)] * 3


def test_one_hot_rows_of_any_dtype_guide_alike():
    density = conditional().float()
    found = [
        density.sample(
            500, own, generator=torch.Generator().manual_seed(0), guidance=2.0, temperature=0.5
        )
        for own in (torch.eye(3)[:1], torch.eye(3).double()[:1], torch.eye(3).long()[:1])
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert found[0].dtype == torch.float32
    assert len(found[0].unique(dim=0)) > 3


def test_guidance_makes_images_of_the_class_likelier_in_parts_and_channels():
    sizes = {"n_levels": 2, "n_layers": 2, "n_channels": 6, "context_shape": (3,)}
    density = noisy(PixelCNN((3, 3, 2), likelihood=Categorical(2), **sizes))
    classes, seen = torch.eye(3).double(), []
    own = classes[torch.arange(600) % 3]  # more than are drawn at once

    def posterior(guidance):
        generator = torch.Generator().manual_seed(0)
        x = torch.zeros(600, 3, 3, 2).double()
        options = {"generator": generator, "guidance": guidance, "on_row": seen.append}
        found = density.complete(x, x > 0, own, **options)
        with torch.no_grad():
            joint = torch.stack([density.log_prob(found, c.expand(600, -1)) for c in classes], 1)
        return joint.softmax(1)[own > 0].mean()

    plain = posterior(0.0)
    assert sum(seen) == 600 * 3
    assert posterior(50.0) > plain + 0.05
    assert sum(seen) == 2 * 600 * 3


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


@pytest.fixture(scope="module")
def model():
    return pixelcnn(conditional=True).fit(X, Y)


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
    with pytest.raises(ValueError, match=f"PixelCNN got {name}="):
        conditional().sample(2, torch.eye(3).double()[:2], **{name: value})


def test_guidance_wants_classes():
    with pytest.raises(ContextError, match="no classes to tell"):
        pixelcnn().fit(X).sample(guidance=1.0)
    numbers = np.linspace(0, 1, len(X))[:, None]
    with pytest.raises(ContextError, match="no classes to tell"):
        pixelcnn(conditional=True).fit(X, numbers).sample(y=numbers[:2], guidance=1.0)
    with pytest.raises(ContextError, match="no classes to tell"):
        pixelcnn(conditional=True).fit(X, np.zeros(len(X))).sample(y=0, guidance=1.0)
    with pytest.raises(NotFittedError):
        pixelcnn(conditional=True).sample(guidance=1.0)
    unconditional = PixelCNN((1, 2, 2), likelihood=Categorical(2), n_levels=2)
    for density, context in (
        (conditional(), torch.rand(2, 3).double()),
        (conditional(), torch.eye(2).double()),
        (unconditional, torch.eye(2)),
    ):
        with pytest.raises(ContextError):
            density.sample(2, context, guidance=1.0)
