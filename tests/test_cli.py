"""The command line."""

import pytest
from typer.testing import CliRunner

from densekit import demo
from densekit.cli import app

run = CliRunner().invoke


def test_plugins_lists_every_group(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = run(app, ["plugins"])
    assert result.exit_code == 0
    for word in ("elementwise", "spline", "transforms", "bases", "estimators", "MAFEstimator"):
        assert word in result.output


def test_demo_prints_its_tables_and_writes_its_picture(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(demo, "MAX_COMPONENTS", 2)
    picture = tmp_path / "picture.png"
    result = run(app, ["demo", "--picture", str(picture), "--max-epochs", "3"])
    assert result.exit_code == 0, result.output
    for word in ("maf", "realnvp", "nsf", "KernelDensity", "GaussianMixture", "strangest"):
        assert word in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("picture", ["no/such/folder/x.png", "x.xyz"])
def test_demo_refuses_a_bad_path_before_any_work(picture):
    result = run(app, ["demo", "--picture", picture])
    assert result.exit_code == 1
    assert "expected a file in a folder that exists" in result.output.replace("\n", " ")


def test_demo_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    result = run(app, ["demo"])
    assert result.exit_code == 1
    assert "densekit[plots]" in result.output


@pytest.mark.parametrize("command", [[], ["plugins"], ["demo"]])
def test_help(command):
    assert run(app, [*command, "--help"]).exit_code == 0
