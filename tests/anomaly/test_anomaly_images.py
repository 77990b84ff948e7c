"""Anomalies among images: complexity, orientation, maps of pixels."""

from itertools import product

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

import densekit
from densekit import AnomalyDetector, PixelCNNEstimator
from densekit.anomaly.adaptive import AdaptiveImageDensity
from densekit.anomaly.scores import corrupted
from densekit.exceptions import ParameterError, ShapeError
from densekit.plots import AnomalyReport


@pytest.mark.slow
def test_images_are_scored_and_mapped_pixel_by_pixel():
    images = load_digits().images[:300].astype(int) // 4
    model = PixelCNNEstimator(n_layers=2, n_channels=8, max_epochs=6)
    strange = images[:3].copy()
    strange[:, 2:4, 2:4] = 4 - strange[:, 2:4, 2:4]
    for score in ("log_density", "likelihood_ratio", "orientation", "typicality"):
        detector = AnomalyDetector(model, score=score, random_state=0).fit(images)
        maps = detector.explain(strange)
        assert maps.shape == strange.shape
        expected = detector.score_samples(strange) - detector.typical_score_
        np.testing.assert_allclose(maps.sum((1, 2)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_flat", [False, True])
def test_pixels_are_reasons_in_words(is_flat):
    images = load_digits().images[:200].astype(int) // 4
    X = images.reshape(-1, 64) if is_flat else images
    size = {"image_shape": (8, 8)} if is_flat else {}
    model = PixelCNNEstimator(n_layers=2, n_channels=8, max_epochs=2, **size)
    detector = AnomalyDetector(model, random_state=0).fit(X)
    strangest = int(detector.explain(X[:1]).argmin())
    name = f"x{strangest}" if is_flat else f"pixel {strangest // 8}, {strangest % 8}"
    (words,) = detector.reasons(X[:1], n=2)
    assert len(words) == 2
    assert words[0].startswith(f"{name} was {X[0].ravel()[strangest]}, given the rest")
    bounds = detector.expected(X[:3]).to_numpy().reshape(3, 64, 2)
    assert (bounds[..., 0] <= bounds[..., 1]).all()
    assert AnomalyReport.from_estimator(detector, X[:5], n_rows=2).reasons[0]
    pyplot.close("all")


def test_a_kernel_density_of_images_is_refused_before_training():
    images = load_digits().images[:20].astype(int)
    detector = AnomalyDetector(PixelCNNEstimator(), score="ensemble")
    with pytest.raises(ParameterError, match=r"score='ensemble'.*expected a table"):
        detector.fit(images)


@pytest.mark.parametrize(("shape", "n_levels"), [((2, 2, 1), 3), ((1, 2, 2), 3), ((2, 3, 1), 2)])
def test_masses_of_all_images_by_the_adaptive_density_add_up_to_one(shape, n_levels):
    every = np.stack(list(product(range(n_levels), repeat=int(np.prod(shape)))))
    density = AdaptiveImageDensity(shape, n_levels)
    nats = density.score_samples(every)
    np.testing.assert_allclose(np.exp(nats).sum(), 1.0, atol=1e-12)
    terms = density.log_prob_terms(every.reshape(-1, *shape))
    np.testing.assert_allclose(terms.sum((1, 2)), nats, atol=1e-12)


@pytest.fixture(scope="module")
def stripes():
    """Images of noisy stripes."""
    rng = np.random.default_rng(0)
    clean = (np.arange(64).reshape(8, 8) + rng.integers(0, 8, (400, 1, 1))) % 8
    return np.clip(clean + rng.integers(-1, 2, clean.shape), 0, 7)


@pytest.fixture(scope="module")
def plain():
    """Images of one grey each."""
    return np.repeat(np.arange(8), 64).reshape(8, 8, 8)


MODEL = PixelCNNEstimator(n_layers=2, n_channels=8, max_epochs=10, random_state=0)


def test_images_are_scored_beside_their_own_complexity_by_default(stripes, plain, tmp_path):
    detector = AnomalyDetector(MODEL, random_state=0).fit(stripes)
    assert detector.score_ == "likelihood_ratio"
    assert (detector.predict(plain, alpha=0.05) == -1).all()
    (part,) = detector.parts_
    complexity = -AdaptiveImageDensity((8, 8, 1), 8).score_samples(plain)
    expected = part["estimators"][0].score_samples(plain) + complexity
    np.testing.assert_allclose(detector.score_samples(plain), expected, atol=1e-9)
    detector.save(tmp_path / "detector.densekit")
    again = densekit.load(tmp_path / "detector.densekit")
    np.testing.assert_array_equal(again.score_samples(plain), detector.score_samples(plain))


@pytest.mark.slow
def test_flat_images_have_the_scores_of_images(stripes, plain):
    flat = clone(MODEL).set_params(image_shape=(8, 8))
    of_flat = AnomalyDetector(flat, random_state=0).fit(stripes.reshape(-1, 64))
    detector = AnomalyDetector(MODEL, random_state=0).fit(stripes)
    found = of_flat.score_samples(plain.reshape(-1, 64))
    np.testing.assert_array_equal(found, detector.score_samples(plain))


def test_a_background_that_is_given_takes_the_place_of_complexity(stripes):
    detector = AnomalyDetector(MODEL, score="likelihood_ratio", background=clone(MODEL))
    assert isinstance(detector.fit(stripes).parts_[0]["background"], PixelCNNEstimator)


class Distance(BaseEstimator):
    """A density of arrays of any shape and any numbers, as far as a detector asks."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(0)
        return self

    def score_samples(self, X):
        return -((X - self.mean_) ** 2).reshape(len(X), -1).sum(1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_that_are_no_levels_have_corrupted_rows_as_background(order):
    X = np.asarray(np.random.default_rng(0).normal(size=(60, 4, 5)), order=order)
    assert AnomalyDetector(Distance()).fit(X).score_ == "log_density"
    detector = AnomalyDetector(Distance(), score="likelihood_ratio", random_state=0).fit(X)
    background = detector.parts_[0]["background"]
    assert isinstance(background, Distance)
    assert not np.allclose(background.mean_, detector.parts_[0]["estimators"][0].mean_)
    replaced = corrupted(X, np.random.RandomState(0))
    assert 0.2 < (replaced != X).mean() < 0.4
    assert all(np.isin(replaced[:, i, j], X[:, i, j]).all() for i in range(4) for j in range(5))


@pytest.mark.slow
@pytest.mark.parametrize(("side", "n_turns"), [(8, 4), (6, 2)])
def test_orientation_is_a_ratio_to_the_mean_density_of_turned_images(side, n_turns):
    light = np.linspace(0.1, 0.9, side)[:, None]  # from above
    images = np.random.default_rng(0).binomial(1, light, size=(300, side, 8))
    model = PixelCNNEstimator(n_layers=2, n_channels=8, max_epochs=30, random_state=0).fit(images)
    detector = AnomalyDetector(FrozenEstimator(model), score="orientation").fit(images)
    turned = [np.rot90(images, k, axes=(1, 2)) for k in range(0, 4, 4 // n_turns)]
    density = np.exp([model.score_samples(way) for way in turned])
    found = detector.score_samples(images)
    np.testing.assert_allclose(found, np.log(density[0] / density[1:].mean(0)), atol=1e-6, rtol=0)
    upside_down = detector.score_samples(turned[n_turns // 2])
    assert roc_auc_score([1] * 300 + [0] * 300, np.r_[found, upside_down]) > 0.8


def test_orientation_refuses_what_cannot_be_turned():
    detector = AnomalyDetector(GaussianMixture(), score="orientation")
    with pytest.raises(ShapeError, match="expected images"):
        detector.fit(np.random.default_rng(0).normal(size=(50, 3)))
    images = np.random.default_rng(0).integers(0, 2, (40, 4, 4))
    model = PixelCNNEstimator(n_layers=2, n_channels=4, max_epochs=1)
    detector = AnomalyDetector(model, score="orientation").fit(images)
    with pytest.raises(ShapeError, match="bring flat images to that shape"):
        detector.score_samples(images.reshape(40, 16))
