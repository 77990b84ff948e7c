"""``python -m benchmarks speed``: measure, print a table, write JSON and docs/benchmarks.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import report, speed

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Measure densekit beside its peers; a peer that is not installed is skipped by name."""


@app.command("speed")
def run_speed(
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved repeats of each cell.")] = 5,
    threads: Annotated[list[int] | None, typer.Option(help="Threads of torch: 1 and 2.")] = None,
    dimensions: Annotated[list[int] | None, typer.Option(help="Columns: 6, 43 and 63.")] = None,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("speed.json"),
    page: Annotated[Path | None, typer.Option(help="Markdown page to write.")] = None,
) -> None:
    """Scoring, sampling and training steps: ms, and multiples of the bare matrix products."""
    result = speed.measure(tuple(dimensions or (6, 43, 63)), tuple(threads or (1, 2)), repeats)
    out.write_text(json.dumps(result, indent=1))
    text = report.speed_page(result)
    print(text)
    if page is not None:
        page.write_text(text)


if __name__ == "__main__":
    app()
