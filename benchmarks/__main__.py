"""``python -m benchmarks COMMAND``: measure, print tables, write JSON, and make a page of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import paper, peers, quality, report, speed, stability

JaxPython = Annotated[
    Path | None,
    typer.Option(help="A Python that has flowjax or pzflow, which are skipped without."),
]

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Measure densekit beside its peers; a peer that is not installed is skipped by name."""


@app.command("speed")
def run_speed(
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved repeats of each cell.")] = 5,
    threads: Annotated[list[int] | None, typer.Option(help="Threads of torch: 1 and 2.")] = None,
    dimensions: Annotated[list[int] | None, typer.Option(help="Columns: 6, 43 and 63.")] = None,
    beside_peers: Annotated[
        bool, typer.Option(help="Whether to time the peers; some take minutes to sample.")
    ] = True,
    jax_python: JaxPython = None,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("speed.json"),
) -> None:
    """Scoring, sampling and training steps: ms, and multiples of the bare matrix products."""
    result = None
    for result in speed.measure(
        tuple(dimensions or (6, 43, 63)),
        tuple(threads or (1, 2)),
        repeats,
        jax_python,
        peers.available() if beside_peers else {},
    ):
        out.write_text(json.dumps(result, indent=1))
    if result:
        print(report.speed_page(result))


@app.command("quality")
def run_quality(
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    tables: Annotated[list[str] | None, typer.Option(help="Some of the tables, by name.")] = None,
    methods: Annotated[list[str] | None, typer.Option(help="Some of the methods.")] = None,
    max_seconds: Annotated[float, typer.Option(help="For each fit of a peer.")] = 120.0,
    jax_python: JaxPython = None,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("quality.json"),
) -> None:
    """Held-out nats and seconds of default fits, also of what is in the folder DENSEKIT_DATA."""
    torch.set_num_threads(threads)
    result = None
    for result in quality.measure(methods or [], tables or [], max_seconds, jax_python):
        out.write_text(json.dumps(result, indent=1))
    if result:
        print(report.quality_page(result))


@app.command("stability")
def run_stability(
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each estimator to each table.")] = 3,
    max_rows: Annotated[int, typer.Option(min=20, help="Rows of a table that are used.")] = 500,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("stability.json"),
) -> None:
    """Default fits that diverge, and held-out scores that are not finite, over many tables."""
    torch.set_num_threads(1)
    result = None
    for result in stability.measure(seeds, max_rows):
        out.write_text(json.dumps(result))
    if result:
        print(report.stability_page(result))


@app.command("paper")
def run_paper(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = 100,
    rows: Annotated[int | None, typer.Option(help="Training rows; all of them by default.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="Some of the models.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("paper.json"),
) -> None:
    """POWER as in the papers, from DENSEKIT_DATA: test nats, and validation nats over time."""
    torch.set_num_threads(threads)
    result = paper.measure(models or list(paper.MODELS), epochs, rows)
    out.write_text(json.dumps(result, indent=1))
    print(report.paper_page(result))


@app.command("page")
def write_page(
    folder: Annotated[Path, typer.Argument(help="Where the JSON files of the commands lie.")],
    out: Annotated[Path, typer.Option(help="Markdown page.")] = Path("docs/benchmarks.md"),
) -> None:
    """Make the page of benchmarks from what the other commands wrote."""
    pages = [
        page(json.loads(path.read_text()))
        for name, page in report.PAGES.items()
        for path in sorted(folder.glob(f"{name}*.json"))
    ]
    made_by = (
        f"Made by `python -m benchmarks page {folder}` from the JSON files there, which the other "
        "commands wrote.\n"
    )
    out.write_text("\n".join(["# Benchmarks\n", made_by, *pages]))


if __name__ == "__main__":
    app()
