"""The command line."""

import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import densekit
from densekit import NSFEstimator, registry
from densekit.cli import app, comparison, demonstration, reporter, settings
from densekit.cli.io.readers import open_table
from densekit.cli.rows import Choice, all_model_rows
from densekit.exceptions import ParameterError, TableError, UnknownNameError

run = CliRunner().invoke
QUICK = ("--set", "max_epochs=2", "--set", "n_layers=1", "--set", "hidden_sizes=[8]")


def make_rows(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_rows, 2))
    return pd.DataFrame({"a": values[:, 0], "b": values[:, 1] + values[:, 0] ** 2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, a density and a conditional one, for all tests to read."""
    place = tmp_path_factory.mktemp("cli")
    rows = make_rows()
    rows.to_csv(place / "rows.csv", index=False)
    rows.to_parquet(place / "rows.parquet", row_group_size=7)
    make_rows(seed=1).to_csv(place / "normal.csv", index=False)
    rows.assign(kind=np.where(rows["a"] > 0, "a", "b")).to_csv(place / "kinds.csv", index=False)
    if importlib.util.find_spec("densekit.persistence"):
        model, kinds = str(place / "model.densekit"), str(place / "conditional.densekit")
        good("fit", place / "rows.csv", *QUICK, "--out", model)
        good("fit", place / "kinds.csv", *QUICK, "--target", "kind", "--out", kinds)
    return place


def good(*words):
    """Run a command that must succeed."""
    result = run(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def bad(*words, code=1):
    """Run a command that must fail; returns its one line on standard error."""
    result = run(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code == 1:
        assert result.stderr.strip().count("\n") == 0
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather", "npy"])
def test_score_writes_the_scores_of_the_estimator_in_order(folder, tmp_path, ending, monkeypatch):
    monkeypatch.setattr("densekit.cli.rows.MAX_ROWS_OF_A_CHUNK", 16)
    out = tmp_path / f"scores.{ending}"
    good("score", folder / "model.densekit", folder / "rows.parquet", "--out", out)
    readers = {
        "csv": lambda: pd.read_csv(out)["log_density"],
        "parquet": lambda: pd.read_parquet(out)["log_density"],
        "feather": lambda: pd.read_feather(out)["log_density"],
        "npy": lambda: np.load(out),
    }
    expected = densekit.load(folder / "model.densekit").score_samples(make_rows())
    np.testing.assert_array_equal(np.asarray(readers[ending]()), expected)


def test_columns_are_found_by_name(folder, tmp_path):
    make_rows()[["b", "a"]].assign(id="x").to_csv(tmp_path / "rows.csv", index=False)
    out = ["--out", tmp_path / "scores.npy"]
    message = bad("score", folder / "model.densekit", tmp_path / "rows.csv", *out)
    assert "has 'id'" in message
    assert "--drop id" in message
    good("score", folder / "model.densekit", tmp_path / "rows.csv", *out, "--drop", "id")
    expected = densekit.load(folder / "model.densekit").score_samples(make_rows())
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), expected)
    make_rows()[["b"]].to_csv(tmp_path / "less.csv", index=False)
    assert "lacks 'a'" in bad("score", folder / "model.densekit", tmp_path / "less.csv", *out)


def test_a_target_makes_the_density_conditional(folder, tmp_path):
    model = densekit.load(folder / "conditional.densekit")
    rows, out = pd.read_csv(folder / "kinds.csv"), tmp_path / "scores.npy"
    for options, y in ((("--target", "kind"), rows["kind"]), (("--drop", "kind"), None)):
        command = ("score", folder / "conditional.densekit", folder / "kinds.csv", *options)
        good(*command, "--out", out)
        np.testing.assert_array_equal(np.load(out), model.score_samples(rows[["a", "b"]], y))


def test_sample_is_repeatable_and_reads_back_as_data(folder, tmp_path):
    for name in ("one.csv", "two.csv"):
        good("sample", folder / "model.densekit", "-n", 7, "--seed", 3, "--out", tmp_path / name)
    rows = pd.read_csv(tmp_path / "one.csv")
    expected = densekit.load(folder / "model.densekit").sample(7, random_state=3)
    pd.testing.assert_frame_equal(rows, expected)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    good("score", folder / "model.densekit", tmp_path / "one.csv")


def test_images_come_and_go_as_numpy_files(tmp_path):
    images = np.random.default_rng(0).integers(0, 2, (20, 4, 4))
    np.save(tmp_path / "images.npy", images)
    options = ("--set", "max_epochs=1", "--out", tmp_path / "m.densekit")
    good("fit", tmp_path / "images.npy", "--model", "pixelcnn", *options)
    good("score", tmp_path / "m.densekit", tmp_path / "images.npy", "--out", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy").shape == (20,)
    good("sample", tmp_path / "m.densekit", "-n", 2, "--out", tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy").shape == (2, 4, 4)
    assert "npy" in bad("sample", tmp_path / "m.densekit", "-n", 2, "--out", tmp_path / "x.csv")


def test_an_error_at_the_end_leaves_no_output(folder, tmp_path):
    rows = make_rows()
    rows.loc[59, "b"] = np.nan
    rows.to_parquet(tmp_path / "rows.parquet", row_group_size=7)
    out = tmp_path / "scores.csv"
    message = bad("score", folder / "model.densekit", tmp_path / "rows.parquet", "--out", out)
    assert "'b'" in message
    assert "missing cell in row 59" in message
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_results_go_to_standard_output_and_messages_to_standard_error(folder):
    result = good("score", folder / "model.densekit", folder / "rows.csv")
    assert result.stdout.splitlines()[0] == "log_density"
    assert len(result.stdout.splitlines()) == 61
    assert "scored 60 rows" in result.stderr
    quiet = good("score", folder / "model.densekit", folder / "rows.csv", "--quiet")
    assert quiet.stdout == result.stdout
    assert quiet.stderr == ""


@pytest.mark.slow
def test_a_pipe_goes_through(folder):
    command = [sys.executable, "-m", "densekit.cli", "score", str(folder / "model.densekit"), "-"]
    text = (folder / "rows.csv").read_text()
    found = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert len(found.stdout.splitlines()) == 61
    assert "Traceback" not in found.stderr


def test_info_says_what_a_file_holds(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    output = good("info", folder / "conditional.densekit").stdout
    for word in ("NSFEstimator", "max_epochs=2", "a, b", "densekit 0.1.0", "labels"):
        assert word in output


def test_anomalies_of_a_density_need_reference_rows(folder, tmp_path):
    rows = make_rows(seed=2)
    rows.loc[5] = [40.0, -40.0]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    command = ("anomalies", folder / "model.densekit", tmp_path / "rows.csv")
    assert "--model anomaly" in bad(*command)
    out = tmp_path / "found.csv"
    result = good(*command, "--reference", folder / "normal.csv", "--out", out)
    assert result.stderr.startswith("warning: ")  # so few reference rows have little power
    found = pd.read_csv(out)
    assert found["p_value"][5] == found["p_value"].min() == 1 / 61
    assert list(found.columns) == ["score", "p_value", "selected"]


def test_rows_are_judged_given_their_condition(folder, tmp_path):
    kinds, out = folder / "kinds.csv", tmp_path / "out.csv"
    model = folder / "conditional.densekit"
    good("anomalies", model, kinds, "--reference", kinds, "--target", "kind", "--out", out)
    rows = pd.read_csv(kinds)
    expected = densekit.load(model).score_samples(rows[["a", "b"]], rows["kind"])
    np.testing.assert_allclose(pd.read_csv(out)["score"], expected)


def test_a_model_without_a_condition_is_given_none(folder):
    message = bad("sample", folder / "model.densekit", "--given", "a", code=2)
    assert "is for a model with a condition" in message


def test_compare_prints_a_line_for_each(folder, monkeypatch):
    monkeypatch.setattr(comparison, "MAX_COMPONENTS", 1)
    monkeypatch.setattr(comparison, "N_SAMPLES", 10)
    result = good("compare", folder / "rows.csv", "--model", "maf", *QUICK)
    for word in ("maf", "KernelDensity", "GaussianMixture"):
        assert word in result.stdout
    assert "48 rows of 2 columns" in result.stderr


def test_check_tells_which_laws_hold():
    result = good("check", "shift")
    assert "keeps every law" in result.stderr
    assert "no distribution" in bad("check", "none-such")


def test_check_reports_a_broken_law(monkeypatch):
    from densekit.elementwise import Shift

    monkeypatch.setattr(Shift, "inverse", lambda self, z, params: (z, 0 * z))
    result = run(app, ["check", "elementwise:shift"])
    assert result.exit_code == 1
    assert "ContractError" in result.stdout


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("1e-3", 1e-3),
        ("true", True),
        ("True", True),
        ("null", None),
        ("None", None),
        ("cpu", "cpu"),
        ('{"a": "positive"}', {"a": "positive"}),
        ("(64, 64)", (64, 64)),
        ("[64, 64]", [64, 64]),
        ("a=b", "a=b"),
        ("'8'", "8"),
    ],
)
def test_settings_are_json_or_python(text, value):
    assert settings.parse([f"key={text}"]) == {"key": value}


def test_wrong_settings_are_named():
    with pytest.raises(ParameterError, match="did you mean 'n_layers'"):
        settings.build("nsf", {"n_layrs": 3})
    with pytest.raises(ParameterError, match="n_layers=0"):
        settings.build("nsf", {"n_layers": 0})
    with pytest.raises(ParameterError, match="name the estimator first"):
        settings.build("anomaly", {"estimator__n_layers": 3})
    with pytest.raises(ParameterError, match="has no parameter 'estimator'"):
        settings.build("nsf", {"estimator": "maf"})
    with pytest.raises(ParameterError, match="names no estimator"):
        settings.build("anomaly", {"estimator": 3})
    with pytest.raises(UnknownNameError, match=r"'estimators' or 'meta'.*'nsf'.*anomaly"):
        settings.build("nsff", {})


def test_settings_reach_an_estimator_inside_another():
    given = settings.parse(["estimator=nsf", "estimator__n_layers=3", "score=log_density"])
    detector = settings.build("anomaly", given)
    assert isinstance(detector.estimator, NSFEstimator)
    assert detector.estimator.n_layers == 3
    assert detector.get_params()["score"] == "log_density"


USAGE = [["fit"], ["none"], ["fit", "x.csv", "--set", "n_layers"], ["sample", "m", "-n", "0"]]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_is_code_2(words):
    bad(*words, code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "none.csv"], "none.csv: No such file or directory"),
        (["fit", "{}/rows.csv", "--model", "nfs"], "Did you mean 'nsf'"),
        (["fit", "{}/rows.csv", "--out", "no/such/m.densekit"], "no folder"),
        (["fit", "{}/kinds.csv"], "column 'kind'"),
        (["fit", "{}/rows.csv", "--target", "kind"], "no column 'kind'"),
        (["fit", "{}/rows.csv", "--drop", "a", "--drop", "b"], "no column left"),
        (["score", "m", "{}/rows.csv", "--out", "scores.xlsx"], "expected one of .csv"),
    ],
)
def test_errors_are_one_line_and_code_1(folder, words, message):
    assert message in bad(*(word.format(folder) for word in words))


def test_debug_shows_the_error_itself(folder):
    result = run(app, ["fit", "none.csv", "--debug"])
    assert isinstance(result.exception, FileNotFoundError)


def test_fit_writes_lines_in_a_log_and_nothing_when_quiet(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("densekit.cli.models.save", lambda model, path: None)
    command = ("fit", folder / "rows.csv", *QUICK, "--out", tmp_path / "m.densekit")
    lines = good(*command).stderr.splitlines()
    assert lines[0] == "fitting NSFEstimator to 60 rows of shape (2,)"
    assert "\r" not in "".join(lines)
    result = good("--quiet", *command)
    assert result.stderr == result.stdout == ""


def test_version():
    assert good("--version").stdout.strip() == f"densekit {densekit.__version__}"


def test_plugins_lists_every_group(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    output = good("plugins").output
    for word in (*registry.GROUPS, "spline", "MAFEstimator"):
        assert word in output
    assert "transforms" not in good("plugins", "--group", "bases").output


@pytest.mark.slow
def test_demo_prints_its_tables_and_writes_its_picture(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(comparison, "MAX_COMPONENTS", 2)
    picture = tmp_path / "picture.png"
    result = good("demo", "--picture", picture, "--max-epochs", 3)
    for word in ("maf", "realnvp", "nsf", "KernelDensity", "GaussianMixture", "strangest"):
        assert word in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("picture", ["no/such/folder/x.png", "x.xyz"])
def test_demo_refuses_a_bad_path_before_any_work(picture):
    assert "expected a file in a folder that exists" in bad("demo", "--picture", picture)


def test_demo_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setattr(demonstration.importlib.util, "find_spec", lambda name: None)
    assert "densekit[plots]" in bad("demo")


HOSTILE = ["weight [kg]", "[/]", "\x1b[31mred\x1b[0m", "=cmd|' /C calc'!A0", ":smile:", "a\u202eb"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A detector and a density of columns whose names are markup, escapes and formulas."""
    place = tmp_path_factory.mktemp("hostile")
    values = np.random.default_rng(0).normal(size=(40, len(HOSTILE)))
    pd.DataFrame(values, columns=HOSTILE).to_parquet(place / "rows.parquet")
    good("fit", place / "rows.parquet", *QUICK, "--out", place / "m.densekit")
    quick = ("--model", "anomaly", "--set", "estimator=realnvp", "--set", "estimator__max_epochs=1")
    good("fit", place / "rows.parquet", *quick, "--out", place / "d.densekit")
    return place


def is_inert(text):
    return all(c.isprintable() or c == "\n" for c in text)


def test_names_are_shown_whole_and_inert_in_a_terminal(hostile, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = [repr(name)[1:-1] if not name.isprintable() else name for name in HOSTILE]
    output = good("info", hostile / "m.densekit").stdout
    reasons = ("anomalies", hostile / "d.densekit", hostile / "rows.parquet", "--reasons")
    for text in (output, good(*reasons).stdout):
        assert is_inert(text)
    for name in shown:
        assert name in output
    for option in ("--drop", "--keep"):
        for name in HOSTILE:
            command = ("score", hostile / "m.densekit", hostile / "rows.parquet", option, name)
            result = run(app, [str(word) for word in command])
            assert result.exit_code == 1
            assert is_inert(result.output)


def test_names_are_inert_in_csv_and_read_back_as_they_were(hostile, tmp_path):
    out = tmp_path / "s.csv"
    good("sample", hostile / "m.densekit", "-n", 5, "--out", out)
    text = out.read_text()
    assert is_inert(text.replace("\u202e", ""))
    assert not any(cell.strip('"')[0] in "=+@" for cell in text.splitlines()[0].split(","))
    good("score", hostile / "m.densekit", out, "--out", tmp_path / "scores.npy")
    rows = pd.read_csv(out)
    rows.columns = HOSTILE
    expected = densekit.load(hostile / "m.densekit").score_samples(rows)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected)


REFERRED = ("anomalies", "model.densekit", "rows.csv", "--reference", "normal.csv")


def test_no_command_writes_over_its_inputs(folder, tmp_path, monkeypatch):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "link.csv").symlink_to("rows.csv")
    for words in (
        ["fit", "rows.csv", "--out", "link.csv"],
        ["fit", "rows.csv", "--checkpoint", "rows.csv"],
        ["fit", "rows.csv", "--out", "x", "--checkpoint", "./x"],
        ["score", "model.densekit", "rows.csv", "--out", "./rows.csv"],
        ["score", "model.densekit", "rows.csv", "--out", "link.csv"],
        ["sample", "model.densekit", "--out", "model.densekit"],
        ["report", "model.densekit", "rows.csv", "--out", "model.densekit"],
        ["report", "model.densekit", "rows.csv", "--out", "rows.csv"],
        [*REFERRED, "--out", "rows.csv"],
        [*REFERRED, "--out", "normal.csv"],
    ):
        message = bad(*words)
        assert "itself" in message or "one file" in message, words
    after = {name: (tmp_path / name).read_bytes() for name in before}
    assert after == before


def test_text_in_other_formats_is_read_and_what_was_taken_is_said(folder, tmp_path):
    rows = make_rows().round(3)
    path, out = tmp_path / "rows.csv", tmp_path / "scores.npy"
    rows.to_csv(path, sep=";", decimal=",", encoding="utf-16")
    result = good("score", folder / "model.densekit", path, "--out", out)
    assert "with ';' between cells, decimal commas, the encoding utf-16" in result.stderr
    assert "left out the first column" in result.stderr
    expected = densekit.load(folder / "model.densekit").score_samples(rows)
    np.testing.assert_allclose(np.load(out), expected)
    quiet = good("score", folder / "model.densekit", path, "--out", out, "--quiet")
    assert quiet.stderr == ""


def test_the_columns_that_are_kept_are_the_features(folder, tmp_path):
    make_rows().assign(id="x", more=1).to_csv(tmp_path / "rows.csv", index=False)
    keep = ("--keep", "b", "--keep", "a")
    out = tmp_path / "m.densekit"
    good("fit", tmp_path / "rows.csv", *QUICK, *keep, "--out", out)
    assert list(densekit.load(out).feature_names_in_) == ["a", "b"]
    good("score", out, tmp_path / "rows.csv", *keep, "--out", tmp_path / "s.npy")


def test_conditions_are_numbers_or_labels_as_asked(tmp_path):
    rows = make_rows().assign(level=np.arange(60) % 3, price=np.arange(60) * 1.5)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    model = tmp_path / "m.densekit"
    fit = ("fit", tmp_path / "rows.csv", *QUICK, "--out", model)
    for flags, has_classes in (((), True), (("--target-numbers",), False)):
        good(*fit, "--target", "level", "--drop", "price", *flags)
        assert hasattr(densekit.load(model), "classes_") == has_classes
        score = ("score", model, tmp_path / "rows.csv", "--target", "level", "--drop", "price")
        good(*score, "--out", tmp_path / "s.npy")
    assert "exclude" in bad(
        *fit, "--target", "level", "--target-numbers", "--target-labels", code=2
    )
    assert "how --target is taken" in bad(*fit, "--target-numbers", code=2)
    labels = (*fit, "--target", "level", "--target", "price", "--target-labels")
    assert "Labels are one column" in bad(*labels)


def test_labels_that_look_like_numbers_in_one_file_are_text_as_in_the_fit(tmp_path):
    rows = make_rows().assign(kind=["1", "2", "x"] * 20)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows[rows["kind"] != "x"].to_csv(tmp_path / "some.csv", index=False)
    model = tmp_path / "m.densekit"
    good("fit", tmp_path / "rows.csv", *QUICK, "--target", "kind", "--out", model)
    good("score", model, tmp_path / "some.csv", "--target", "kind", "--out", tmp_path / "s.npy")


class Named:
    """A model whose condition has names, as a fit to a frame gives them."""

    conditional = True
    feature_names_in_ = np.array(["a", "b"])
    condition_names_in_ = np.array(["u", "v"])


def test_conditions_are_matched_by_name_in_any_order(tmp_path):
    rows = make_rows().assign(u=np.arange(60) + 0.5, v=-np.arange(60) - 0.5)
    rows[["v", "b", "u", "a"]].to_csv(tmp_path / "rows.csv", index=False)
    table = open_table(tmp_path / "rows.csv")
    for target in (("u", "v"), ("v", "u")):
        chunk = all_model_rows(Named(), table, Choice(target))
        assert list(chunk.y.columns) == ["u", "v"]
        np.testing.assert_array_equal(chunk.y["u"], rows["u"])
        assert list(chunk.X.columns) == ["a", "b"]
    with pytest.raises(TableError, match=r"fitted with 'u', 'v'; give --target u --target v"):
        all_model_rows(Named(), table, Choice(("u",), ("v",)))
    with pytest.raises(TableError, match="give its condition by --target v"):
        all_model_rows(Named(), table, Choice())


def test_conditions_in_any_order_give_the_same_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    rows = make_rows().assign(u=rng.normal(size=60), v=rng.normal(size=60) - 5)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows[["v", "b", "u", "a"]].to_csv(tmp_path / "other.csv", index=False)
    model, scores = tmp_path / "m.densekit", []
    both = ("--target", "u", "--target", "v")
    good("fit", tmp_path / "rows.csv", *QUICK, *both, "--out", model)
    for name in ("rows.csv", "other.csv"):
        for target in (both, both[2:] + both[:2]):
            good("score", model, tmp_path / name, *target, "--out", tmp_path / "s.npy")
            scores.append(np.load(tmp_path / "s.npy"))
    for found in scores[1:]:
        np.testing.assert_array_equal(found, scores[0])
    assert "u, v" in good("info", model).stdout
    for given in ('{"u": 0.5, "v": -5}', '{"v": -5, "u": 0.5}', "[0.5, -5]"):
        good("sample", model, "-n", 3, "--seed", 0, "--given", given, "--out", tmp_path / "x.npy")
        scores.append(np.load(tmp_path / "x.npy"))
    np.testing.assert_array_equal(scores[-1], scores[-2])
    np.testing.assert_array_equal(scores[-1], scores[-3])
    assert "expected 'u', 'v'" in bad("sample", model, "--given", '{"u": 1}', code=2)


def test_a_price_is_a_number_and_a_level_a_label(tmp_path):
    rng = np.random.default_rng(0)
    rows = make_rows(400).assign(price=rng.permutation(400) * 10, level=rng.integers(0, 3, 400))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for target, other, has_classes in (("price", "level", False), ("level", "price", True)):
        command = (tmp_path / "rows.csv", "--target", target, "--drop", other)
        good("fit", *command, *QUICK, "--out", tmp_path / "m.densekit")
        assert hasattr(densekit.load(tmp_path / "m.densekit"), "classes_") == has_classes
        good("score", tmp_path / "m.densekit", *command, "--out", tmp_path / "s.npy")


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector, and rows with names and one strange row."""
    place = tmp_path_factory.mktemp("detector")
    rows = make_rows(200).assign(name=[f"r{i}" for i in range(200)])
    rows.to_csv(place / "rows.csv", index=False)
    quick = ("--model", "Anomaly", "--set", "estimator=RealNVP", "--set", "estimator__max_epochs=3")
    good("fit", place / "rows.csv", "--drop", "name", *quick, "--out", place / "d.densekit")
    rows.loc[5, "a"] = 40.0
    rows.to_csv(place / "rows.csv", index=False)
    return place


def test_anomalies_below_a_level_with_reasons_beside_columns_of_the_data(detector, tmp_path):
    command = ("anomalies", detector / "d.densekit", detector / "rows.csv", "--alpha", 0.05)
    out = tmp_path / "found.csv"
    good(*command, "--id", "name", "--reasons", "--out", out)
    found = pd.read_csv(out)
    assert list(found.columns) == ["name", "score", "p_value", "selected", "reasons"]
    assert found["name"].tolist() == [f"r{i}" for i in range(200)]
    assert found["selected"].tolist() == (found["p_value"] <= 0.05).tolist()
    assert found["reasons"].notna().tolist() == found["selected"].tolist()
    assert found["reasons"][5].startswith("a was 40")
    good(*command, "--drop", "name", "--keep-columns", "--out", out)
    whole = pd.read_csv(out)
    assert list(whole.columns) == ["a", "b", "name", "score", "p_value", "selected"]
    pd.testing.assert_frame_equal(whole[["a", "b", "name"]], pd.read_csv(detector / "rows.csv"))
    good(*command, "--drop", "name", "--id", "b", "--out", out)
    assert list(pd.read_csv(out).columns) == ["b", "score", "p_value", "selected"]
    listing = good(*command, "--id", "name", "--reasons").stdout
    assert "r5" in listing
    assert "a was 40" in listing


def test_detectors_judge_rows_given_their_condition(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    rows = make_rows(200).assign(u=rng.normal(size=200), v=rng.normal(size=200) - 5)
    rows["a"] += 10 * rows["u"]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    quick = ("--set", "estimator=realnvp", "--set", "estimator__max_epochs=3")
    both, model = ("--target", "u", "--target", "v"), tmp_path / "d.densekit"
    good("fit", tmp_path / "rows.csv", "--model", "anomaly", *quick, *both, "--out", model)
    assert "u, v" in good("info", model).stdout
    found = []
    for target in (both, both[2:] + both[:2]):
        command = ("anomalies", model, tmp_path / "rows.csv", *target, "--reasons")
        good(*command, "--out", tmp_path / "found.csv")
        found.append((tmp_path / "found.csv").read_text())
    assert found[0] == found[1]
    X, y = rows[["a", "b"]], rows[["u", "v"]]
    p_values = densekit.load(model).p_values(X, y)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "found.csv")["p_value"], p_values)


def test_anomalies_on_standard_input_keep_their_columns(detector, tmp_path):
    out = tmp_path / "found.csv"
    words = ("anomalies", detector / "d.densekit", "-", "--id", "name", "--reasons", "--out", out)
    content = (detector / "rows.csv").read_bytes()
    result = run(app, [str(word) for word in words], input=content)
    assert result.exit_code == 0, result.output
    assert pd.read_csv(out)["name"].tolist() == [f"r{i}" for i in range(200)]


def test_results_do_not_hide_columns_of_the_data(detector, tmp_path):
    pd.read_csv(detector / "rows.csv").assign(score=1).to_csv(tmp_path / "rows.csv", index=False)
    command = ("anomalies", detector / "d.densekit", tmp_path / "rows.csv", "--drop", "name")
    assert "a column 'score'" in bad(*command, "--drop", "score", "--keep-columns")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "{0}/kinds.csv", "--target", "kind", "--target", "kind"], "stands twice"),
        (["fit", "{0}/kinds.csv", "--target", "kind", "--drop", "kind"], "--drop and --target"),
        (["fit", "{0}/kinds.csv", "--model", "anomaly", "--target", "kind"], "no condition"),
        (["fit", "{0}/rows.csv", "--model", "anomaly", "--checkpoint", "c"], "no checkpoint"),
        (["fit", "{0}/rows.csv", "--max-epochs", "3", "--set", "max_epochs=4"], "give one"),
        (["score", "{0}/model.densekit", "{0}/kinds.csv", "--target", "kind"], "has none"),
        (["score", "{1}/d.densekit", "{0}/kinds.csv", "--target", "kind"], "has none"),
        (["sample", "{1}/d.densekit"], "draws no rows"),
        (["report", "{1}/d.densekit", "{0}/rows.csv"], "draws no rows"),
        (["compare", "{0}/rows.csv", "--model", "anomaly"], "draws no rows"),
        (["anomalies", "{0}/model.densekit", "{0}/rows.csv", "--reasons"], "needs a detector"),
        (["anomalies", "{1}/d.densekit", "x", "--fdr", "0.1", "--alpha", "0.1"], "exclude"),
        (["anomalies", "{1}/d.densekit", "x", "--alpha", "2"], "between 0 and 1"),
        (["scroe", "{0}/rows.csv"], "Did you mean"),
    ],
)
def test_wrong_usage_is_said_as_such(folder, detector, words, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    found = bad(*(word.format(folder, detector) for word in words), code=2)
    assert message in found
    assert "defect" not in found


def test_names_of_models_are_known_in_any_case(folder, tmp_path):
    for name in ("NSF", "Nsf", "nsf"):
        assert isinstance(settings.build(name, {}), NSFEstimator)
    assert "did you mean 'kind'" in bad("fit", folder / "kinds.csv", "--target", "kinf")
    good("fit", folder / "rows.csv", *QUICK[2:], "--max-epochs", 2, "--out", tmp_path / "m")
    assert densekit.load(tmp_path / "m").max_epochs == 2


def test_warnings_of_a_fit_reach_a_log_whenever_they_come(folder, tmp_path):
    make_rows().assign(c=1.0).to_csv(tmp_path / "rows.csv", index=False)
    result = good("fit", tmp_path / "rows.csv", *QUICK, "--out", tmp_path / "m.densekit")
    assert "warning: NSFEstimator: the columns ['c'] are constant" in result.stderr


def test_what_is_no_bar_goes_through_to_a_log():
    log = io.StringIO()
    stream = reporter._BarsAsLines(log)
    for text in ("\rfit:  10%|#   |", "hello", "\n", "\rfit:  20%|##  |", "\n", "two\n"):
        stream.write(text)
    assert log.getvalue() == "hello\ntwo\n"


def test_plugins_are_listed_for_programs():
    found = json.loads(good("plugins", "--group", "estimators", "--json").stdout)
    assert {"group", "name", "distribution", "version", "class"} == set(found[0])
    assert "nsf" in [plugin["name"] for plugin in found]


@pytest.mark.slow
def test_help_needs_no_torch():
    code = "import sys, densekit.cli; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


COMMANDS = get_command(app).commands
SLOW = ("demo", "report")  # tested by themselves
EXAMPLES = [
    line.removeprefix("$ ")
    for name, command in COMMANDS.items()
    if name not in SLOW
    for line in command.epilog.splitlines()
    if line.startswith("$ ")
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name):
    output = good(name, "--help").output
    assert re.search(rf"\$ densekit {name}", output)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_help_run(folder, example, monkeypatch, tmp_path):
    """In a folder that has the files that the examples name; quick fits in place of full ones."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "rows.csv").write_bytes(
        (folder / ("kinds.csv" if "kind" in example else "rows.csv")).read_bytes()
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "MAX_COMPONENTS", 1)
    words = shlex.split(example.partition(" < ")[0])[1:]
    if "detector.densekit" in words:
        fit = ("fit", "rows.csv", "--model", "anomaly", "--out", "detector.densekit")
        assert run(app, fit).exit_code == 0
    if words[0] in ("fit", "compare"):
        words += [
            word
            for word in QUICK
            if word.partition("=")[0] not in example.replace("max-epochs", "max_epochs")
            or word == "--set"
        ]
        words = _without_bare_sets(words)
    standard_input = (tmp_path / "rows.csv").read_bytes() if " < " in example else None
    result = run(app, words, input=standard_input)
    assert result.exit_code == 0, result.output


def _without_bare_sets(words):
    pairs = zip(words, [*words[1:], "--set"], strict=True)
    return [word for word, after in pairs if not (word == "--set" and after == "--set")]
