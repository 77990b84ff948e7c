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
    assert "All tables: [speed](page/speed.md)" in page.read_text()
    assert "### Train step, batch 256, 1 thread" in (tmp_path / "page" / "speed.md").read_text()


def test_quality(run, tmp_path):
    out = tmp_path / "quality.json"
    shown = run("quality", "--methods=GaussianMixture", "--tables=wine", f"--out={out}")
    assert "### wine: 142 rows, 13 columns" in shown
    result = json.loads(out.read_text())
    assert np.isfinite(result["cells"][0]["nats"])
    assert result["repeats"] == {"wine": 1.0}  # rounded measurements, few rows


def test_rivals_are_summed_up_where_there_are_any(run):
    from benchmarks import pages

    def cell(method, nats, **more):
        shape = {"n_rows": 9, "n_features": 2, "n_splits": 1, "error": 0.1, "seconds": 8.0}
        return {"table": "t", "method": method, "nats": nats} | shape | more

    result = {"threads": 1, "max_seconds": 1.0, "torch": "2", "skipped": []}
    own = cell("densekit nsf", 1.0, seconds_to_best_rival=2.0)
    rivals = [cell("a", 0.5), cell("b", float("nan")), cell("densekit maf", 2.0)]
    page = pages.quality_page(result | {"cells": [own, *rivals]})
    assert "| t | 1.00 +- 0.10 | a 0.50 | +0.50 | 2.0 | 8.0 |" in page
    assert "has the most nats on 1 of 1 tables, on 1 by more than its own standard error" in page
    assert "did not record" in page
    assert "best rival |" not in pages.quality_page(result | {"cells": [own]})


def test_leads_where_values_repeat_are_counted_apart(run):
    from benchmarks import pages

    def cells(table, own):
        shape = {"table": table, "n_rows": 9, "n_features": 2, "n_splits": 1, "seconds": 1.0}
        found = {"densekit nsf": own, "a": 0.5}
        return [
            {"method": method, "nats": nats, "error": 0.1} | shape for method, nats in found.items()
        ]

    result = {"threads": 1, "max_seconds": 1.0, "torch": "2", "skipped": []}
    result |= {"cells": cells("smooth", 0.55) + cells("counts", 99.0)}
    page = pages.quality_page(result | {"repeats": {"smooth": 0.0, "counts": 0.5}})
    assert "on 1 of 1 tables in which no values repeat, on 0 by more than" in page
    assert "on 1 of 1 other tables" in page
    assert "Values repeat in 50% of the columns: nats are no measure here." in page
    assert page.count("nats are no measure here") == 1
    times = "seconds to the rival's nats"
    assert times in page
    assert times not in pages.quality_page(result | {"is_of_one_machine": False})


def test_the_pages_of_the_documentation_are_made_of_the_measurements(run, tmp_path):
    docs = ROOT / "docs"
    out = tmp_path / "benchmarks.md"
    run("page", str(docs / "measurements"), f"--out={out}")
    names = ["", *(f"/{name}" for name in ("speed", "quality", "anomalies", "images"))]
    for name in [*names, "/robustness"]:
        made, kept = (folder / f"benchmarks{name}.md" for folder in (tmp_path, docs))
        assert made.read_text().splitlines()[3:] == kept.read_text().splitlines()[3:]
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == sorted(path.name for path in (docs / "pictures").glob("benchmarks_*"))
    assert all((docs / "pictures" / name).stat().st_size < 60_000 for name in pictures)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_contaminated_halves_share_no_anomaly(run, n_copies):
    from benchmarks.anomaly import halves

    random = np.random.default_rng(0)
    X = random.normal(size=(260, 2))
    X[200:] = random.normal(9, 1, (60 // n_copies, 2)).repeat(n_copies, axis=0)
    y = np.repeat([0, 1], [200, 60])
    train, test, labels = halves(X, y, contamination=0.1, seed=0)
    assert len(train) - 100 == (labels == 0).sum() - 100 + 60 - (labels == 1).sum()
    assert 11 - n_copies < len(train) - 100 <= 11
    assert not {tuple(row) for row in train[100:]} & {tuple(row) for row in test[labels == 1]}
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-12)
    most = halves(X, y, contamination=0.45, seed=0)
    assert len(most[0]) == 130  # half of the anomalies, and no more


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
    assert "| maf | n_layers=10, hidden_sizes=(128, 128) | 0.24 |" in shown
    shown = run("paper", "--epochs=1", "--models=maf", "--no-gaussianize", f"--out={out}")
    assert "--models maf --no-gaussianize" in shown
    assert "gaussianize=False | 0.24 |" in shown


def test_sizes(run, monkeypatch, tmp_path):
    from benchmarks import sizes

    monkeypatch.setattr(sizes, "SHAPES", ((60, 3),))
    shown = run("sizes", f"--out={tmp_path / 'sizes.json'}")
    assert "| 60 | 3 |" in shown
    assert json.loads((tmp_path / "sizes.json").read_text())["cells"][0]["n_not_finite"] == 0
