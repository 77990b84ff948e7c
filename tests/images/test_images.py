"""Images: what estimators of images take, give back and refuse, and what PixelCNN's pixels see."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from digits import X, Y, half, pixelcnn
from matplotlib import pyplot
from noise import noisy
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from densekit import (
    GlowEstimator,
    ImageGlowEstimator,
    ImageRealNVPEstimator,
    RealNVPEstimator,
)
from densekit.densities.likelihoods import Bernoulli, Categorical, LogisticMixture
from densekit.exceptions import ContextError, ParameterError, ShapeError, SupportError
from densekit.images import PixelCNN
from densekit.images.schema import Images
from densekit.plots import ImageGrid

# What pixels see


@pytest.mark.parametrize(
    ("kernel_size", "first", "dilation"), [(3, 3, 1), (3, 7, 2), (3, 7, 3), (5, 3, 1), (5, 7, 2)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_number_sees_all_earlier_ones_within_reach_and_no_later_one(
    kernel_size, first, dilation, channels
):
    height, width, n_layers = 7, 7, 3
    density = noisy(
        PixelCNN(
            (channels, height, width),
            likelihood=Categorical(4),
            n_levels=4,
            n_layers=n_layers,
            n_channels=6,
            kernel_size=kernel_size,
            first_kernel_size=first,
            dilation=dilation,
        )
    )
    # Several images, for hidden units of a single one may all be zero at a pixel.
    x = torch.randint(0, 4, (8, channels, height, width)).double().requires_grad_()
    params = density.network(x)
    reach = first // 2 + (1 + dilation) * (kernel_size // 2)  # the third of three is dilated
    for row, column, channel in [(0, 0, 0), (0, 4, 0), (3, 3, 0), (6, 6, 0), (4, 1, channels - 1)]:
        target = params[:, channel, row, column]
        weights = torch.randn_like(target)
        (gradient,) = torch.autograd.grad((target * weights).sum(), x, retain_graph=True)
        found = (gradient != 0).any(0)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        is_earlier = (rows < row) | ((rows == row) & (columns < column))
        is_near = (row - rows <= reach + 1) & ((columns - column).abs() <= reach)
        expected = (is_earlier & is_near).expand(channels, -1, -1).clone()
        expected[:channel, row, column] = True
        assert torch.equal(found, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("context_shape", [None, (2,)])
@pytest.mark.parametrize(
    ("likelihood", "dilation"), [(Bernoulli(), 1), (Categorical(2), 2), (LogisticMixture(2, 2), 3)]
)
def test_cached_samples_are_those_of_full_passes(likelihood, dilation, channels, context_shape):
    density = noisy(
        PixelCNN(
            (channels, 6, 5),
            likelihood=likelihood,
            n_levels=2,
            n_layers=3,
            n_channels=6,
            dilation=dilation,
            context_shape=context_shape,
        )
    )
    context = None if context_shape is None else torch.randn(4, *context_shape).double()
    found = density.sample(4, context, generator=torch.Generator().manual_seed(3))
    generator, x = torch.Generator().manual_seed(3), torch.zeros(4, channels, 6, 5).double()
    with torch.no_grad():
        for row in range(6):
            for column in range(5):
                for channel in range(channels):
                    params = density.network(2 * x - 1, context)[:, channel, row, column]
                    x[:, channel, row, column] = likelihood.sample(params, generator)
    assert torch.equal(found, x)
    assert 0.1 < found.mean() < 0.9


# What goes in comes out


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x,
        lambda x: x[..., None],
        lambda x: np.repeat(x[..., None], 3, axis=3),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(np.float32),
        lambda x: x > 1,
    ],
    ids=["HW", "HW1", "HWC", "int64", "float32", "bool"],
)
def test_samples_and_completions_look_like_the_images(layout):
    images = layout(X[:40])
    model = pixelcnn().fit(images)
    for found in (model.sample(3, random_state=0), model.complete(images[:3], mask=half())):
        assert found.shape == (3, *images.shape[1:])
        assert found.dtype == images.dtype
        assert found.min() >= images.min()
        assert found.max() <= images.max()
    assert model.score_samples(images).shape == (40,)
    assert model.n_features_in_ == images[0].size


def test_flat_rows_are_the_same_images():
    flat = X.reshape(len(X), -1)
    by_image, by_row = pixelcnn().fit(X), pixelcnn(image_shape=(8, 8)).fit(flat)
    assert np.array_equal(by_image.score_samples(X), by_row.score_samples(flat))
    assert np.array_equal(by_image.score_samples(flat), by_row.score_samples(X))
    assert by_row.sample(2).shape == (2, 64)
    frame = pd.DataFrame(flat, columns=[f"p{i}" for i in range(64)])
    framed = pixelcnn(image_shape=(8, 8)).fit(frame)
    assert list(framed.sample(2).columns) == list(frame.columns)
    assert np.array_equal(framed.score_samples(frame), by_row.score_samples(flat))


@pytest.mark.parametrize(
    ("greatest", "n_levels"), [(0, 2), (1, 2), (2, 3), (16, 17), (63, 64), (64, 256), (300, 65536)]
)
def test_levels_are_counted(greatest, n_levels):
    images = np.zeros((2, 3, 3), dtype=int)
    images[0, 0, 0] = greatest
    assert Images.of(images, None, "auto", source="test").n_levels == n_levels


def test_completions_keep_what_is_known_and_draw_the_rest():
    model = pixelcnn().fit(X)
    found = model.complete(X[:5], half(), n_samples=3, random_state=0)
    assert found.shape == (3, 5, 8, 8)
    assert (found[:, :, :4] == X[:5, :4]).all()
    assert not np.array_equal(found[0], found[1])
    each = np.repeat(half()[None], 5, axis=0)
    for mask in (each, each[..., None], each.reshape(5, 64)):
        again = model.complete(X[:5], mask, n_samples=3, random_state=0)
        assert np.array_equal(again, found)
    whole = model.complete(X[:5], np.ones((8, 8), dtype=bool))
    assert np.array_equal(whole, X[:5])


def test_the_map_of_pixels_adds_up_to_the_score():
    model = pixelcnn().fit(X)
    terms = model.log_prob_terms(X)
    assert terms.shape == X.shape
    np.testing.assert_allclose(terms.sum((1, 2)), model.score_samples(X), rtol=1e-6)
    bits = -model.score_samples(X) / (64 * np.log(2))
    np.testing.assert_allclose(model.bits_per_dim(X), bits)


def test_classes_by_bayes_rule():
    model = pixelcnn(conditional=True).fit(X, Y)
    found = model.class_log_proba(X[:10])
    joint = np.stack([model.score_samples(X[:10], [c] * 10) for c in range(3)], 1)
    joint += np.log(np.bincount(Y) / len(Y))
    marginal = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(found, joint - marginal[:, None], atol=1e-9)
    np.testing.assert_allclose(model.score_samples(X[:10]), marginal)
    assert model.sample(2, y=1).shape == (2, 8, 8)
    assert model.complete(X[:2], half(), y=[0, 2]).shape == (2, 8, 8)
    with pytest.raises(ContextError, match="no classes"):
        pixelcnn().fit(X).class_log_proba(X)


# What is refused


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (X / 4, SupportError, r"0\.25 in image 0, expected integers from 0"),
        (X.astype(int) - 1, SupportError, "-1 in image 0"),
        (X.reshape(len(X), -1), ShapeError, "image_shape="),
        (X[:, None, :, :, None], ShapeError, r"\(height, width, channels\)"),
        (np.where(X == 0, np.nan, X), ValueError, "nan"),
    ],
    ids=["floats", "negative", "flat", "five axes", "nan"],
)
def test_what_is_no_image_of_levels_is_refused(images, error, message):
    model = pixelcnn()
    with pytest.raises(error, match=message):
        model.fit(images)
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(model)


def test_a_fitted_model_refuses_other_images():
    model = pixelcnn(conditional=True).fit(X, Y)
    with pytest.raises(ShapeError, match=r"expected \(n, 8, 8, 1\)"):
        model.score_samples(X[:, :6])
    with pytest.raises(SupportError, match="9 in image 0, expected integers from 0 to 4"):
        model.score_samples(np.full_like(X, 9))
    with pytest.raises(ContextError, match="labels"):
        model.sample(y=[0, 7])
    for mask in (
        np.ones((8, 7), bool),
        np.ones((8, 8)),
        np.ones((3, 8, 8), bool),
        np.ones((1, 2, 8, 8, 1), bool),
    ):
        with pytest.raises(ShapeError, match="got a mask of"):
            model.complete(X[:2], mask, y=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_shape": (8, 9)}, ShapeError, r"image_shape=\(8, 9, 1\)"),
        ({"image_shape": (8, 0)}, ShapeError, "expected"),
        ({"n_levels": 3}, SupportError, "as `n_levels`"),
        ({"n_levels": 1}, ParameterError, "n_levels=1"),
        ({"likelihood": "bernoulli"}, ParameterError, "5 levels, expected 2"),
        ({"preset": "slow"}, ParameterError, "'fast', 'paper'"),
        ({"kernel_size": 4}, ParameterError, "an odd integer of 3"),
        ({"dilation": 4}, ParameterError, "one of 'auto', 1, 2, 3"),
    ],
)
def test_parameters_that_fit_no_image_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        pixelcnn(**options).fit(X)


# Flows on images


FLOWS = (ImageGlowEstimator, ImageRealNVPEstimator)


def flow(estimator, **options):
    defaults = {"n_layers": 2, "n_channels": 8, "max_epochs": 2, "random_state": 0}
    return estimator(**(defaults | options))


@pytest.mark.parametrize("estimator", FLOWS)
@pytest.mark.parametrize("options", [{}, {"dequantization": "variational"}, {"n_scales": 1}])
@pytest.mark.parametrize("channels", [None, 3])
def test_flows_of_images_score_sample_and_round_trip(estimator, options, channels):
    images = X[:40] if channels is None else np.repeat(X[:40, ..., None], channels, axis=3)
    model = flow(estimator, **options).fit(images)
    scores = model.score_samples(images)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, model.score_samples(images))
    np.testing.assert_allclose(scores[5:9], model.score_samples(images[5:9]), rtol=1e-6)
    latents = model.transform(images)
    assert latents.shape == (40, images[0].size)
    assert np.array_equal(model.inverse_transform(latents), images)
    for temperature in (0.0, 0.7, 1.0):
        found = model.sample(3, random_state=0, temperature=temperature)
        assert found.shape == (3, *images.shape[1:])
        assert found.dtype == images.dtype
    way = model.interpolate(images[:2], images[2:4], n=5)
    assert np.array_equal(way[:, 0], images[:2])
    assert np.array_equal(way[:, -1], images[2:4])


@pytest.mark.parametrize("estimator", FLOWS)
def test_more_dequantizations_tighten_the_bound(estimator):
    one = flow(estimator).fit(X)
    many = copy.deepcopy(one)
    core = many.density_.model
    core.fixed = torch.rand(32, *core.event_shape, generator=torch.Generator().manual_seed(1))
    assert many.score(X) > one.score(X)
    again = flow(estimator, n_dequantizations=32).fit(X)
    assert again.density_.model.fixed.shape[0] == 32


@pytest.mark.parametrize("estimator", FLOWS)
def test_translation_there_and_back(estimator):
    model = flow(estimator, conditional=True).fit(X, Y)
    noise = torch.Generator().manual_seed(0)
    for parameter in model.density_.parameters():  # labels count from the first step on
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=noise)
    turned = model.translate(X[Y == 0], 0, 2)
    assert turned.shape == X[Y == 0].shape
    assert np.abs(turned - X[Y == 0]).max() > 1e-3
    np.testing.assert_allclose(model.translate(turned, 2, 0), X[Y == 0], atol=1e-3)
    with pytest.raises(ContextError, match="labels"):
        model.translate(X, 0, 9)
    with pytest.raises(SupportError, match="grey levels from"):
        model.translate(X + 100.0, 0, 1)
    for parameter in model.density_.parameters():  # latents so far out that pixels reach the bounds
        parameter.data *= 3
    assert np.isfinite(model.translate(model.translate(X[Y == 0], 0, 2), 2, 0)).all()
    with pytest.raises(ContextError, match="conditional=True"):
        flow(estimator).fit(X).translate(X, 0, 1)


def test_super_resolution_is_conditioned_on_images():
    small = X.reshape(-1, 4, 2, 4, 2).mean((2, 4)).round().astype(np.uint8)
    model = flow(ImageGlowEstimator, conditional=True).fit(X, small)
    assert model.score_samples(X, small).shape == (len(X),)
    assert model.sample(y=small[:6], temperature=0.8).shape == (6, 8, 8)
    assert model.sample(3, y=small[:1]).shape == (3, 8, 8)
    for call in (lambda: model.score_samples(X), lambda: model.sample(2)):
        with pytest.raises(ContextError):
            call()
    with pytest.raises(ShapeError, match="as y, got X of shape"):
        model.score_samples(X, small[:, :3])
    with pytest.raises(SupportError, match=r"0\.5 in image 0"):
        model.score_samples(X, small + 0.5)


@pytest.mark.parametrize("estimator", FLOWS)
def test_flows_refuse_temperatures_that_are_none(estimator):
    model = flow(estimator).fit(X[:40])
    for temperature in (-1, float("nan"), float("inf"), "1", True):
        with pytest.raises(ValueError, match="temperature="):
            model.sample(temperature=temperature)
    warm, cool = (model.sample(3, random_state=0, temperature=t) for t in (1.0, 0.5))
    assert not np.array_equal(warm, cool)


@pytest.mark.parametrize("estimator", FLOWS)
def test_odd_sides_are_refused_with_a_way_out(estimator):
    with pytest.raises(ShapeError, match="pad the images"):
        flow(estimator).fit(X[:, :7])
    with pytest.raises(ShapeError, match="fewer n_scales"):
        flow(estimator, n_scales=3).fit(X)


def test_pictures_of_images():
    pyplot.switch_backend("agg")
    model = pixelcnn(conditional=True).fit(X, Y)
    grid = ImageGrid.from_estimator(model, n=12, random_state=0)
    assert grid.images.shape == (3, 4, 8, 8)
    assert [label.get_text() for label in grid.ax_.get_yticklabels()] == ["0", "1", "2"]
    grid = ImageGrid.from_completions(model, X[:5], half(), y=Y[:5], temperature=0)
    assert np.array_equal(grid.images[1], model.complete(X[:5], half(), y=Y[:5], temperature=0))
    assert (grid.images[0, :, 4:] == 2).all()
    assert np.array_equal(grid.images[2], X[:5])
    glow = flow(ImageGlowEstimator, conditional=True).fit(X, Y)
    grid = ImageGrid.from_translation(glow, X[Y == 1][:3], 1, 2)
    np.testing.assert_allclose(grid.images[2], grid.images[0], atol=1e-3)
    assert ImageGrid.from_estimator(pixelcnn().fit(X), n=10).images.shape == (3, 4, 8, 8)
    table = GlowEstimator(max_epochs=1).fit(np.random.default_rng(0).normal(size=(50, 2)))
    with pytest.raises(ContextError, match="not fitted on images"):
        ImageGrid.from_estimator(table)
    pyplot.close("all")


@pytest.mark.parametrize("kind", [GlowEstimator, RealNVPEstimator])
def test_what_took_images_before_still_does_with_a_warning(kind):
    images = np.random.default_rng(0).integers(0, 4, (30, 4, 4))
    fast = {"n_layers": 1, "max_epochs": 1, "random_state": 0}
    with pytest.warns(FutureWarning, match=f"fit Image{kind.__name__}"):
        by_images = kind(**fast).fit(images)
    with pytest.warns(FutureWarning, match=f"Image{kind.__name__} is the estimator of images"):
        by_parameters = kind(n_channels=64, **fast)
    expected = by_parameters.fit(images).score_samples(images)
    assert np.array_equal(by_images.score_samples(images), expected)
    assert type(by_images) is type(by_parameters)
    assert isinstance(clone(by_images), type(by_images))
