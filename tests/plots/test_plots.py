"""Pictures: what they draw is right, and they fit where they are put."""

import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import kstest, multivariate_normal, norm
from sklearn.datasets import load_iris

from densekit import FlowEstimator, MADEEstimator, MAFEstimator, NSFEstimator
from densekit.exceptions import MissingExtraError, PictureError
from densekit.plots import DensityDisplay, LatentDisplay, PairDisplay, TrainingDisplay, tools
from densekit.training import History

mpl.use("agg")
from matplotlib import pyplot as plt

IRIS = load_iris(as_frame=True).data
PETALS = ["petal length (cm)", "petal width (cm)"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def maf():
    return MAFEstimator(max_epochs=30, random_state=0).fit(IRIS[::2])


def gaussian(n=400, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def texts(figure):
    return {text.get_text() for text in figure.findobj(mpl.text.Text)}


def test_contours_enclose_their_share_of_the_mass():
    axis = np.linspace(-6, 6, 400)
    points = np.stack(np.meshgrid(axis, axis), axis=-1)
    density = multivariate_normal(np.zeros(2), np.eye(2)).pdf(points)
    levels = tools.enclosing_levels(density, [0.5, 0.95])
    # The region of mass s of a standard normal in two dimensions: r^2 <= -2 log(1 - s).
    expected = [(1 - share) / (2 * np.pi) for share in (0.95, 0.5)]
    np.testing.assert_allclose(levels, expected, rtol=0.01)


def test_a_smoothed_histogram_is_the_density_of_its_rows():
    rows = gaussian(20_000) * [1.0, 10.0]
    grid, density = tools.smoothed_histogram(rows, [(-5, 5), (-50, 50)])
    centres = np.stack(np.meshgrid(*grid), axis=-1)
    true = multivariate_normal(np.zeros(2), np.diag([1.0, 100.0])).pdf(centres)
    cell = np.prod([axis[1] - axis[0] for axis in grid])
    assert density.sum() * cell == pytest.approx(1, abs=1e-3)
    assert np.abs(density - true).sum() * cell < 0.1  # twice the total variation


def test_the_density_of_a_table_is_the_estimators_own(maf):
    two = MAFEstimator(max_epochs=3, random_state=0).fit(IRIS[PETALS])
    display = DensityDisplay.from_estimator(two, IRIS[PETALS], columns=PETALS[::-1], n_grid=5)
    assert not display.is_marginal
    row = pd.DataFrame([[display.grid[1][3], display.grid[0][1]]], columns=PETALS)
    assert display.density[3, 1] == pytest.approx(np.exp(two.score_samples(row)[0]))
    assert display.ax_.get_xlabel() == "petal width (cm)"
    assert "share of the mass inside the line" in texts(display.figure_)


def test_the_density_of_some_columns_is_marginal(maf):
    display = DensityDisplay.from_estimator(maf, IRIS, columns=PETALS, random_state=0)
    assert display.is_marginal
    assert display.data.shape == (150, 2)
    area = np.prod([axis[1] - axis[0] for axis in display.grid])
    assert 0.8 < display.density.sum() * area < 1.01


def test_one_column_is_a_curve():
    X = gaussian(d=1)
    model = NSFEstimator(max_epochs=2, n_layers=1, random_state=0).fit(X)
    display = DensityDisplay.from_estimator(model, X)
    np.testing.assert_allclose(
        display.density, np.exp(model.score_samples(display.grid[0][:, None]))
    )
    assert display.ax_.get_ylabel() == "density, 1 / (unit of column 0)"


def test_the_density_given_a_label():
    X, y = gaussian(), np.repeat(["a", "b"], 200)
    X[y == "b"] += 5
    model = MAFEstimator(n_layers=1, conditional=True, max_epochs=20, random_state=0).fit(X, y)
    peaks = {}
    for label in ("a", "b", None):
        display = DensityDisplay.from_estimator(model, X, y=label, n_grid=40)
        row, column = np.unravel_index(display.density.argmax(), display.density.shape)
        peaks[label] = display.grid[0][column], display.grid[1][row]
    assert max(peaks["a"]) < 2.5 < min(peaks["b"])
    marginal = DensityDisplay.from_estimator(model, X, columns=[0], y="b", random_state=0)
    assert marginal.is_marginal
    assert marginal.grid[0][marginal.density.argmax()] > 2.5


def test_densities_of_levels_and_of_three_columns_are_refused(maf):
    X = (gaussian(40) > 0).astype(float)
    made = MADEEstimator(likelihood="bernoulli", max_epochs=1).fit(X)
    with pytest.raises(PictureError, match="of levels"):
        DensityDisplay.from_estimator(made, X)
    with pytest.raises(PictureError, match="got 3 columns, expected one or two"):
        DensityDisplay.from_estimator(maf, IRIS, columns=[0, 1, 2])
    with pytest.raises(PictureError, match=r"columns=\['colour'\].*petal width"):
        PairDisplay.from_estimator(maf, IRIS, columns=["colour"])


def test_data_lie_beside_samples(maf):
    display = PairDisplay.from_estimator(maf, IRIS, random_state=0)
    assert display.data.shape == (150, 4)
    assert display.samples.shape == (2000, 4)
    assert display.axes_.shape == (4, 4)
    labels = [ax.get_xlabel().replace("\n", " ") for ax in display.axes_[-1]]
    assert labels == list(IRIS.columns)
    assert {"data", "samples (half inside)", "samples (95% inside)"} <= texts(display.figure_)
    polars = PairDisplay.from_estimator(
        MAFEstimator(max_epochs=1, random_state=0).fit(pl.DataFrame(IRIS)),
        pl.DataFrame(IRIS),
        columns=[3],
    )
    assert polars.names == ["petal width (cm)"]


def test_samples_have_the_conditions_of_the_rows():
    X = gaussian()
    y = X[:, :1] * 100
    model = MAFEstimator(n_layers=1, conditional=True, max_epochs=20, random_state=0).fit(X, y)
    display = PairDisplay.from_estimator(model, X, y=y, random_state=0)
    assert np.corrcoef(display.samples[:, 0], y[:, 0])[0, 1] > 0.8
    PairDisplay.from_estimator(model, X, y=[[100.0]], n_samples=50, random_state=0)


def test_the_band_holds_curves_with_its_probability():
    base = norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None].repeat(2, axis=1)
    display = LatentDisplay(gaussian(200), base, names=["a", "b"])
    u = np.random.default_rng(0).random((1000, 2, 200))
    excess = np.stack([(u <= point).mean(axis=2) - point for point in display.points], axis=2)
    leaves = (excess < display.band[0]) | (excess > display.band[1])
    share = leaves.any(axis=(1, 2)).mean()
    assert 0.02 < share < 0.07  # 0.05, or somewhat less by Bonferroni's inequality


def test_latents_that_do_not_follow_the_base_leave_the_band():
    base = gaussian(20_000)
    latents = gaussian(500, seed=2) * [1.0, 1.4]
    display = LatentDisplay(latents, base, names=["right", "wide"])
    assert display.depth_[0] <= 0 < display.depth_[1]
    display.plot()
    assert {"wide", "95% band, for all curves"} <= texts(display.figure_)
    assert "right" not in texts(display.figure_)


@pytest.mark.parametrize("base", ["normal", "logistic", "uniform", "student_t", "mixture"])
def test_latents_of_every_base(base):
    X = gaussian(300)
    model = MAFEstimator(base=base, n_layers=1, max_epochs=10, random_state=0).fit(X[:200])
    display = LatentDisplay.from_estimator(model, X[200:])
    joint = [] if base == "uniform" else ["log-density of latents"]
    assert display.names == ["latent 0", "latent 1", *joint]
    # Each of the base's columns against the rank of a latent among them.
    shares = np.array([(display.base < row).mean(axis=0) for row in display.latents])
    expected = [kstest(column, "uniform").statistic for column in shares.T]
    found = np.abs(display.excess).max(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_models_without_latents_are_refused():
    X = gaussian(40)
    with pytest.raises(PictureError, match="expected a flow"):
        LatentDisplay.from_estimator(MADEEstimator(max_epochs=1).fit(X), X)


def test_training_marks_the_epoch_that_was_kept(maf):
    display = TrainingDisplay.from_estimator(maf)
    best = maf.history_.best_epoch
    marked = [line for line in display.axes_[0].lines if line.get_marker() == "o"]
    assert marked[0].get_xdata() == [best]
    assert marked[0].get_ydata() == [maf.best_validation_score_]
    assert display.axes_[1].get_ylabel() == "learning rate"
    without = FlowEstimator(layers=[], base="normal").fit(gaussian(30))
    with pytest.raises(PictureError, match="without epochs"):
        TrainingDisplay.from_estimator(without)


def test_a_terrible_start_does_not_hide_the_end():
    history = History([-1e6, *np.linspace(0, 1, 40)], [], [1e-3] * 41, [1.0] * 41, 41)
    low, high = TrainingDisplay(history).plot().axes_[0].get_ylim()
    assert -1 < low < high < 2


def test_pictures_take_the_place_they_are_given(maf):
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    PairDisplay.from_estimator(maf, IRIS, columns=[0, 1], ax=axes[0, 0])
    LatentDisplay.from_estimator(maf, IRIS[1::2], ax=axes[0, 1])
    TrainingDisplay.from_estimator(maf, ax=axes[1, 0])
    DensityDisplay.from_estimator(maf, IRIS, columns=[2], ax=axes[1, 1])
    figure.draw_without_rendering()
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(PictureError, match="outside of a grid"):
        TrainingDisplay.from_estimator(maf, ax=figure.add_axes([0, 0, 1, 1]))


@pytest.mark.parametrize("display", [DensityDisplay, PairDisplay, LatentDisplay])
def test_every_axis_has_a_label(maf, display):
    drawn = display.from_estimator(maf, IRIS[1::2])
    drawn.figure_.draw_without_rendering()
    for ax in drawn.figure_.axes:
        is_inner = isinstance(drawn, PairDisplay) and not ax.get_xlabel() and ax.axison
        if ax.axison and not is_inner:
            assert ax.get_xlabel() or ax.get_ylabel()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch, maf):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"PairDisplay needs.*densekit\[plots\]"):
        PairDisplay.from_estimator(maf, IRIS)


AWFUL = ["$x^2", "a$b$c", r"\$\frac{1}{$", "_hidden", "{0}", "<b>", "\x1b[31m", "x" * 500]


@pytest.mark.parametrize("name", AWFUL)
def test_names_are_shown_letter_by_letter(name):
    X = pd.DataFrame(gaussian(60), columns=[name, f"{name} 2"])
    model = MAFEstimator(n_layers=1, max_epochs=1, random_state=0).fit(X)
    displays = [
        DensityDisplay.from_estimator(model, X),
        DensityDisplay.from_estimator(model, X, columns=name, random_state=0),
        PairDisplay.from_estimator(model, X, random_state=0),
        LatentDisplay.from_estimator(model, X),
    ]
    for display in displays:
        display.figure_.canvas.draw()  # a formula that is none would fail here
        found = texts(display.figure_)
        plain = tools.shown(name)
        assert any(plain.strip() in text or "latent" in text for text in found)
        assert all(
            "$" not in text.replace(r"\$", "") for text in found if "mathdefault" not in text
        )


def test_one_column_by_its_name_alone(maf):
    display = DensityDisplay.from_estimator(maf, IRIS, columns=PETALS[0], random_state=0)
    assert display.names == [PETALS[0]]
    assert DensityDisplay.from_estimator(maf, IRIS, columns=2, random_state=0).names == [PETALS[0]]
    assert PairDisplay.from_estimator(maf, IRIS, columns=PETALS[1]).names == [PETALS[1]]
    with pytest.raises(PictureError, match="price"):
        DensityDisplay.from_estimator(maf, IRIS, columns="price")


def test_latents_carry_the_names_of_the_columns(maf):
    display = LatentDisplay.from_estimator(maf, IRIS)
    assert display.names[:4] == [f"latent of {name}" for name in IRIS.columns]
    X = gaussian(60)
    model = MAFEstimator(n_layers=1, max_epochs=1, random_state=0).fit(X)
    assert LatentDisplay.from_estimator(model, X).names[0] == "latent 0"


def test_data_behind_a_conditional_density_are_those_near_the_condition():
    draw = np.random.default_rng(0)
    y = draw.uniform(0, 10, size=(400, 1))
    X = y + draw.normal(size=(400, 1))
    model = MAFEstimator(n_layers=1, max_epochs=3, conditional=True, random_state=0).fit(X, y)
    near = DensityDisplay.from_estimator(model, X, y=[[5.0]], conditions=y)
    assert len(near.data) == 50
    assert abs(near.data.mean() - 5) < 1
    assert "given y = 5" in near.ax_.get_title()
    assert DensityDisplay.from_estimator(model, X, y=[[5.0]]).data is None
    pairs = PairDisplay.from_estimator(model, X, y=[[5.0]], conditions=y, random_state=0)
    assert len(pairs.data) == 50
    assert "y = 5" in pairs.axes_[0, 0].get_legend().get_title().get_text()
    labels = np.where(y[:, 0] > 5, "high $", "low $")
    model.fit(X, labels)
    display = DensityDisplay.from_estimator(model, X, y="high $", conditions=labels)
    assert len(display.data) == (labels == "high $").sum()
    assert r"given y = high \$" in display.ax_.get_title()
    with pytest.raises(PictureError, match="399 conditions for 400 rows"):
        DensityDisplay.from_estimator(model, X, y="low $", conditions=labels[1:])
