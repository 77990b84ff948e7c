"""The report: right in what it says, whole in a browser, for every kind of model."""

import re
import sys
from types import SimpleNamespace

import browser
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.text import Text
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_iris
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from densekit import (
    FlowEstimator,
    ImageRealNVPEstimator,
    MADEEstimator,
    MAFEstimator,
    NSFEstimator,
    PixelCNNEstimator,
)
from densekit.exceptions import ContextError, MissingExtraError, PictureError, ShapeError
from densekit.plots import LatentDisplay
from densekit.report import audit as audit_module
from densekit.report import pictures, write_report
from densekit.report.audit import Finding, audit, conclusion
from densekit.report.peers import compare, fit_peers, trimmed_mean
from densekit.report.subject import Part, make_subject

IRIS = load_iris(as_frame=True).data
NUMBERS = IRIS.to_numpy()
QUICK = {"max_epochs": 20, "random_state": 0}


def subject_of(estimator, X, y=None, X_train=None, y_train=None):
    return make_subject(estimator, X, y, X_train, y_train, np.random.default_rng(0))


def verdicts(estimator, X, y=None):
    subject = subject_of(estimator, X, y)
    scores = subject.scores()
    samples, given = subject.samples(0)
    table = np.asarray(samples, dtype=float).reshape(len(samples), -1)
    part = Part(samples, given, table, np.arange(len(table)))
    lines = compare(subject, scores, 0)
    found = audit(subject, lines, scores, part, subject.scores(part))
    return {finding.name.split(":")[0].split(" ")[0]: finding for finding in found}


@pytest.fixture
def quickly(monkeypatch):
    """Pages for their text alone: drawing takes most of the time."""

    def draw(plot, size, *, alt, caption):
        return pictures.Picture("data:,", alt, caption)

    monkeypatch.setattr(pictures, "draw", draw)


@pytest.fixture(scope="module")
def maf():
    return MAFEstimator(**QUICK).fit(IRIS[::2])


@pytest.fixture(scope="module")
def page(maf, tmp_path_factory):
    return write_report(maf, IRIS[1::2], tmp_path_factory.mktemp("report") / "report.html")


def test_the_page_is_whole_in_a_browser(page, tmp_path):
    if browser.find() is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with browser.page(tmp_path / "profile") as tab:
        tab.open(page.as_uri())
        assert tab.ask("[...document.images].length") == 4
        assert tab.ask("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
        assert tab.ask("[...document.images].every(i => i.alt.length > 10)")
        assert tab.ask("document.querySelectorAll('h2').length") == 7
        tab.resize(390, 800)
        assert tab.ask("document.documentElement.scrollWidth") <= 390
        assert tab.complaints == []
        is_local = re.compile(r"file:|data:|about:")
        assert [url for url in tab.requests if not is_local.match(url)] == []


def test_the_page_says_what_was_fitted(page, maf):
    text = page.read_text()
    assert "MAFEstimator" in text
    assert "75 rows of 4 columns" in text
    assert "max_epochs</th><td>20</td><td></td>" in text
    assert "batch_size</th><td>&#39;auto&#39;</td><td>default</td>" in text
    assert "37 rows are scored by all, and the peers were fitted on 38" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    strangest = re.findall(r"<tr><td>(\d+)</td><td class=\"number\">(-?[\d.]+)</td>", text)
    row, nats = strangest[0]
    assert float(nats) == pytest.approx(maf.score_samples(IRIS.loc[[int(row)]])[0], abs=0.01)
    scored = maf.score_samples(IRIS.loc[[int(row) for row, _ in strangest]])
    assert (np.diff(scored) >= 0).all()


def test_names_cannot_write_html(tmp_path, quickly):
    frame = pd.DataFrame(NUMBERS[:, :2], columns=["<script>alert(1)</script>", "a & b"])
    model = MAFEstimator(n_layers=1, max_epochs=1, random_state=0).fit(frame)
    text = write_report(model, frame, tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "just as many as the estimator was fitted on" in text


def test_peers_score_in_the_units_of_the_data():
    peers = {peer.name: peer for peer in fit_peers(NUMBERS, None, 0)}
    scaled = {peer.name: peer for peer in fit_peers(1000 * NUMBERS, None, 0)}
    for name, peer in peers.items():
        shift = 4 * np.log(1000)
        found = scaled[name].score_samples(1000 * NUMBERS, None)
        np.testing.assert_allclose(found, peer.score_samples(NUMBERS, None) - shift, atol=1e-6)
    mean, cov = NUMBERS.mean(0), np.cov(NUMBERS.T, bias=True)
    expected = multivariate_normal(mean, cov).logpdf(NUMBERS)
    found = peers["one Gaussian"].score_samples(NUMBERS, None)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.05)


def test_peers_given_numbers_are_conditional_densities():
    x, y = NUMBERS[:, :1], NUMBERS[:, 2:]
    grid = np.linspace(0, 12, 4001)
    for peer in fit_peers(x, y, 0):
        given = np.repeat(y[70:71], len(grid), axis=0)
        density = np.exp(peer.score_samples(grid[:, None], given))
        assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3), peer.name


def test_the_mixture_is_that_of_scikit_learn():
    peer = fit_peers(NUMBERS, None, 0)[2]
    scaler = StandardScaler().fit(NUMBERS)
    scaled = scaler.transform(NUMBERS)
    n, kind = peer.estimator.n_components, peer.estimator.covariance_type
    assert peer.detail == f"{n} components, {kind} covariance"
    again = GaussianMixture(n, covariance_type=kind, reg_covar=1e-4, random_state=0).fit(scaled)
    expected = again.score_samples(scaled) - np.log(scaler.scale_).sum()
    np.testing.assert_allclose(peer.score_samples(NUMBERS, None), expected)


def test_a_sound_density_passes_its_audit():
    X = np.random.default_rng(0).normal(size=(400, 2))
    found = verdicts(MAFEstimator(n_layers=2, **QUICK).fit(X[:200]), X[200:])
    assert [found[name].verdict for name in ("Round", "Log-determinant", "Normalisation")] == [
        "passed"
    ] * 3


def test_a_broken_density_fails_its_audit():
    X = np.random.default_rng(0).normal(size=(400, 2))
    model = MAFEstimator(n_layers=1, **QUICK).fit(X[:200])
    flow = model.density_.model
    true = flow.transform.forward
    flow.transform.forward = lambda x, c=None: (true(x, c)[0] * 1.1, true(x, c)[1] + 0.3)
    found = verdicts(model, X[200:])
    failed = {name for name, finding in found.items() if finding.verdict == "failed"}
    assert failed >= {"Round", "Log-determinant", "Normalisation"}


def test_a_mixture_that_does_better_is_a_warning(tmp_path, quickly):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(-4, 0.1, (150, 2)), rng.normal(4, 0.1, (150, 2))]
    rng.shuffle(X)
    poor = FlowEstimator(layers=["actnorm"], **QUICK).fit(X[:150])
    text = write_report(poor, X[150:], tmp_path / "report.html", X_train=X[:150]).read_text()
    assert "A Gaussian mixture does better by" in text
    assert 'role="alert"' in text
    assert "150 of them are scored. The peers were fitted on 150 rows of X_train" in text


def test_masses_of_all_states_are_added_up(tmp_path, quickly):
    X = (np.random.default_rng(0).random((60, 5)) < 0.3).astype(int)
    made = MADEEstimator(likelihood="bernoulli", **QUICK).fit(X)
    assert "32 states add up to 1.0000" in verdicts(made, X)["Normalisation"].text
    text = write_report(made, X, tmp_path / "report.html").read_text()
    assert "There are none to compare" in text
    assert "bounds from below" in text


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, np.asarray])
def test_one_column_in_every_container(tmp_path, frame, quickly):
    X = frame(np.random.default_rng(0).gamma(3, size=(60, 1)))
    model = NSFEstimator(support="positive", n_layers=1, **QUICK).fit(X)
    text = write_report(model, X, tmp_path / "report.html").read_text()
    assert re.search(r"integrates to (1\.0|0\.99)", text)


def test_labels(tmp_path):
    y = load_iris().target
    model = MAFEstimator(conditional=True, **QUICK).fit(IRIS[::2], y[::2])
    path = tmp_path / "report.html"
    text = write_report(model, IRIS[1::2], path, y=y[1::2]).read_text()
    assert "3 labels: 0, 1, 2" in text
    assert "Given the label of each row" in text
    assert "probability integral transforms" in text


def test_numbers_as_conditions(tmp_path, quickly):
    X, y = NUMBERS[:, :2], NUMBERS[:, 2:]
    model = MAFEstimator(n_layers=2, conditional=True, **QUICK).fit(X[::2], y[::2])
    text = write_report(model, X[1::2], tmp_path / "report.html", y=y[1::2]).read_text()
    assert "2 numbers; scores are given those of each row" in text
    assert "integrates to" in text
    with pytest.raises(ContextError, match="got no y, but the MAFEstimator is conditioned on"):
        write_report(model, X, tmp_path / "report.html")
    with pytest.raises(ContextError, match="got no y_train"):
        write_report(model, X, tmp_path / "report.html", y=y, X_train=X)


def test_labels_that_are_not_given(tmp_path, quickly):
    y = load_iris().target
    model = MAFEstimator(conditional=True, **QUICK).fit(IRIS[::2], y[::2])
    text = write_report(model, IRIS[1::2], tmp_path / "report.html").read_text()
    assert "give y, and they are drawn here" in text


@pytest.mark.parametrize(
    "model",
    [
        PixelCNNEstimator(n_layers=2, n_channels=4, max_epochs=1, random_state=0),
        ImageRealNVPEstimator(n_layers=2, n_channels=4, n_blocks=0, max_epochs=1, random_state=0),
    ],
    ids=["pixelcnn", "realnvp"],
)
def test_images(tmp_path, model):
    X = load_digits().images[:60].astype(int)
    text = write_report(model.fit(X), X, tmp_path / "report.html").read_text()
    assert "images of 8 x 8 pixels, 17 levels" in text
    assert "Held-out images: a grid of" in text
    assert "The strangest, from the left" in text


def test_nothing_is_left_of_a_page_that_could_not_be_written(maf, tmp_path, monkeypatch, quickly):
    path = tmp_path / "report.html"
    path.write_text("the old page")
    with pytest.raises(PictureError, match="whose folder does not exist"):
        write_report(maf, IRIS, tmp_path / "nowhere" / "report.html")

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="full"):
        write_report(maf, IRIS, path)
    assert path.read_text() == "the old page"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("X", [-NUMBERS[:40, :2], 1e8 * NUMBERS[:40, :2], NUMBERS[:4, :2]])
def test_rows_that_are_nothing_like_those_of_the_fit(tmp_path, X):
    model = MAFEstimator(support="positive", n_layers=1, max_epochs=2, random_state=0)
    text = write_report(model.fit(NUMBERS[:, :2]), X, tmp_path / "report.html").read_text()
    if (X < 0).all():
        assert "-inf (20 rows have no density at all)" in text
        assert "no measure" in text  # the rows of the fit repeat, so nobody is ahead


def test_bad_input_is_refused_at_the_door(maf, tmp_path):
    path = tmp_path / "report.html"
    with pytest.raises(TypeError, match="expected a DensityEstimator"):
        write_report(SimpleNamespace(), IRIS, path)
    with pytest.raises(ShapeError, match="3 rows, expected 4 or more"):
        write_report(maf, IRIS[:3], path)
    assert not path.exists()


def test_without_jinja_the_error_says_what_to_install(maf, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"densekit\[report\]"):
        write_report(maf, IRIS, tmp_path / "report.html")


def banner(text):
    return re.search(r'<div class="banner (\w+)".*?</div>', text, re.DOTALL)


def repeating(X, names=("price",)):
    model = MAFEstimator(n_layers=1, max_epochs=2, random_state=0).fit(X)
    model.repeated_values_ = dict.fromkeys(names, (0.0, 0.92))
    return model


def test_nats_of_values_that_repeat_are_no_win(tmp_path, quickly):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 2)), columns=["price", "<b>"])
    model = repeating(frame, ["price", "<b>"])
    text = write_report(model, frame, tmp_path / "report.html").read_text()
    assert "price (0 in 92% of the rows)" in text
    assert "&lt;b&gt; (0 in 92% of the rows)" in text
    assert "nats are no measure" in text
    assert banner(text)[1] != "sound"
    assert "nats per row in the mean" not in banner(text)[0]
    own = re.search(r'<tr class="own">.*?</tr>', text, re.DOTALL)[0]
    others = re.findall(
        r"<tr><td>(?:one Gaussian|KernelDensity|GaussianMixture).*?</tr>", text, re.S
    )
    assert len(others) == 3
    for line in [own, *others]:
        assert line.rstrip().endswith('<td class="number"></td></tr>')  # nobody is ahead


@pytest.mark.parametrize(
    ("verdicts", "level"),
    [
        (["passed", "told", "left out"], "sound"),
        (["passed", "noted"], "doubtful"),
        (["noted", "failed"], "wrong"),
    ],
)
def test_the_conclusion_leaves_no_doubt_unsaid(verdicts, level):
    found, text = conclusion([Finding("x", verdict, "y") for verdict in verdicts])
    assert found == level
    assert ("passed" in text) == (level == "sound")


def test_samples_far_from_the_rows_fail():
    draw = np.random.default_rng(0)
    rows, samples = draw.normal(-2.31, 1, 500), draw.normal(-5.64, 1, 500)
    assert audit_module._samples(rows, samples).verdict == "failed"
    assert audit_module._samples(rows, draw.normal(-2.31, 1, 500)).verdict == "passed"
    assert audit_module._samples(rows, draw.normal(-2.0, 1, 500)).verdict == "noted"
    rows[0] = -np.inf  # one of 500 does not decide
    assert audit_module._samples(rows, draw.normal(-2.31, 1, 500)).verdict == "passed"


def test_curves_outside_the_band_are_no_success():
    draw = np.random.default_rng(0)
    base, names = draw.normal(size=(20_000, 3)), ["a", "b", "c"]
    fine = LatentDisplay(draw.normal(size=(300, 3)), base, names=names)
    assert audit_module._latents(fine).verdict == "passed"
    wrong = LatentDisplay(draw.normal(size=(300, 3)) * 0.4, base, names=names)
    found = audit_module._latents(wrong)
    assert found.verdict == "failed"
    assert "3 of 3" in found.text
    assert conclusion([found])[0] == "wrong"


def test_one_row_does_not_hide_the_others(tmp_path, quickly):
    scores = np.r_[np.random.default_rng(0).normal(-3, 1, 99), -1197.0]
    found = audit_module._mean_of_most(scores)
    assert found.verdict == "noted"
    assert "-1,197.00" in found.text
    assert trimmed_mean(scores) == pytest.approx(-3, abs=0.3)
    assert audit_module._mean_of_most(scores[:99]).verdict == "passed"


def test_letters_can_be_read_on_a_narrow_page():
    sizes = []

    def plot(ax):
        ax.set_title("title", fontsize=4)
        ax.legend([ax.plot([1, 2])[0]], ["line"], fontsize="x-small")
        sizes.append(ax.figure)

    picture = pictures.draw(plot, (6.4, 3), alt="a", caption="c")
    pixels_at_400 = [text.get_fontsize() / 72 / 6.4 * 400 for text in sizes[0].findobj(Text)]
    assert min(pixels_at_400) > 8.9
    assert picture.uri.startswith("data:image/svg+xml")


def test_a_report_keeps_the_mode_of_the_page(maf, tmp_path, quickly):
    page = tmp_path / "report.html"
    page.write_text("old")
    page.chmod(0o600)
    write_report(maf, IRIS[1::2], page)
    assert page.stat().st_mode & 0o777 == 0o600


def test_compare_says_where_nats_are_no_measure():
    from densekit.cli.comparison import Result, why_no_measure

    rows = np.zeros((2, 1))
    plain = Result("a", rows[:, 0], 1.0, 1.0, rows)
    assert why_no_measure([plain]) == ""
    repeated = Result("b", rows[:, 0], 1.0, 1.0, rows, {"price": (0.0, 0.5)})
    assert "Values repeat in price, where" in why_no_measure([plain, repeated])
