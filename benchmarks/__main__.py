"""``python -m benchmarks speed|quality``: measure, print tables, write JSON and a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import quality, report, speed

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
    jax_python: JaxPython = None,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("speed.json"),
) -> None:
    """Scoring, sampling and training steps: ms, and multiples of the bare matrix products."""
    result = speed.measure(
        tuple(dimensions or (6, 43, 63)), tuple(threads or (1, 2)), repeats, jax_python
    )
    out.write_text(json.dumps(result, indent=1))
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
    result = quality.measure(methods or [], tables or [], max_seconds, jax_python)
    out.write_text(json.dumps(result, indent=1))
    print(report.quality_page(result))


@app.command("page")
def write_page(
    speed_json: Annotated[Path, typer.Option(help="What `speed` wrote.")] = Path("speed.json"),
    quality_json: Annotated[Path, typer.Option(help="What `quality` wrote.")] = Path(
        "quality.json"
    ),
    out: Annotated[Path, typer.Option(help="Markdown page.")] = Path("docs/benchmarks.md"),
) -> None:
    """Make the page of benchmarks from both JSON files."""
    pages = (
        report.speed_page(json.loads(speed_json.read_text())),
        report.quality_page(json.loads(quality_json.read_text())),
    )
    out.write_text("# Benchmarks\n\n" + "\n".join(pages))


if __name__ == "__main__":
    app()
