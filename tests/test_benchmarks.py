"""Every command of the benchmarks imports, runs in its smallest form, and makes its page."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command where results go to a folder of the test, and give what it printed."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("DENSEKIT_DATA", str(tmp_path))
    app = pytest.importorskip("benchmarks.__main__").app

    def invoke(*words):
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_every_command_explains_itself(run):
    from benchmarks.__main__ import app

    names = [command.name for command in app.registered_commands]
    assert {"speed", "quality", "paper", "stability", "page"} <= set(names)
    for name in names:
        assert "Usage" in run(name, "--help")


def test_speed(run, monkeypatch, tmp_path):
    from benchmarks import architectures, speed

    monkeypatch.setattr(speed, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(speed, "ARCHITECTURES", architectures.ARCHITECTURES[:2])
    out = tmp_path / "speed.json"
    run(
        "speed", "--repeats=1", "--threads=1", "--dimensions=2", "--no-beside-peers", f"--out={out}"
    )
    cells = json.loads(out.read_text())["cells"]
    assert {cell["task"] for cell in cells} == set(speed.TASKS)
    assert all(min(cell["seconds"]["densekit"]) > 0 for cell in cells)
    page = tmp_path / "page.md"
    run("page", str(tmp_path), f"--out={page}")
    assert "### Train step, batch 256, 1 thread" in page.read_text()


def test_quality(run, tmp_path):
    out = tmp_path / "quality.json"
    shown = run("quality", "--methods=GaussianMixture", "--tables=wine", f"--out={out}")
    assert "### wine: 142 rows, 13 columns" in shown
    assert np.isfinite(json.loads(out.read_text())["cells"][0]["nats"])


def test_a_peer_takes_part(run):
    pytest.importorskip("zuko")
    from benchmarks import architectures, peers, quality

    x = np.random.default_rng(0).normal(size=(40, 3))
    contender = peers.available()["zuko"](architectures.ARCHITECTURES[1], 3)
    fitted = quality._fit_peer(contender, x, max_seconds=0.01)
    assert np.isfinite(fitted.score(x)).all()


def test_stability(run, monkeypatch, tmp_path):
    from benchmarks import stability, tables

    table = tables.Table("two", [(np.eye(20)[:, :2] + 0.1, np.eye(5)[:, :2])])
    monkeypatch.setattr(tables, "tables", lambda: [table])
    monkeypatch.setattr(tables, "odd_tables", list)
    assert "pixelcnn" not in stability.estimators()
    monkeypatch.setattr(stability, "estimators", lambda: ["made"])
    out = tmp_path / "stability.json"
    assert "| made | 1 | 0 | 5 | 0 |" in run("stability", "--seeds=1", f"--out={out}")


def test_paper(run, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "power.npz", train=x, val=x, test=x)
    out = tmp_path / "paper.json"
    shown = run("paper", "--epochs=1", "--models=maf", "--threads=1", f"--out={out}")
    assert "| maf | n_layers=10 | 0.24 |" in shown


def test_sizes(run, monkeypatch, tmp_path):
    from benchmarks import sizes

    monkeypatch.setattr(sizes, "SHAPES", ((60, 3),))
    shown = run("sizes", f"--out={tmp_path / 'sizes.json'}")
    assert "| 60 | 3 |" in shown
    assert json.loads((tmp_path / "sizes.json").read_text())["cells"][0]["n_not_finite"] == 0
