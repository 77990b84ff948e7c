"""``python -m benchmarks COMMAND``: measure, print tables, write JSON, and make a page of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import (
    anomaly,
    anomaly_images,
    calls,
    images,
    pages,
    paper,
    peers,
    pixelcnn,
    quality,
    robustness,
    sizes,
    speed,
    stability,
)

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
        print(pages.PAGES["speed"](result))


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
        print(pages.PAGES["quality"](result))


@app.command("stability")
def run_stability(
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each estimator to each table.")] = 3,
    max_rows: Annotated[int, typer.Option(min=20, help="Rows of a table that are used.")] = 500,
    out: Annotated[
        Path, typer.Option(help="Where the JSON goes; tables that it has are not fitted again.")
    ] = Path("stability.json"),
) -> None:
    """Default fits that diverge, and held-out scores that are not finite, over many tables."""
    torch.set_num_threads(1)
    result = earlier = json.loads(out.read_text()) if out.exists() else None
    for result in stability.measure(seeds, max_rows, earlier):
        out.write_text(json.dumps(result))
    if result:
        print(pages.PAGES["stability"](result))


@app.command("paper")
def run_paper(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = 100,
    rows: Annotated[int | None, typer.Option(help="Training rows; all of them by default.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="Some of the models.")] = None,
    gaussianize: Annotated[bool, typer.Option(help="Whether columns are Gaussianised.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("paper.json"),
) -> None:
    """POWER as in the papers, from DENSEKIT_DATA: test nats, and validation nats over time."""
    torch.set_num_threads(threads)
    result = paper.measure(models or list(paper.MODELS), epochs, rows, gaussianize)
    out.write_text(json.dumps(result, indent=1))
    print(pages.PAGES["paper"](result))


@app.command("images")
def run_images(
    tasks: Annotated[list[str] | None, typer.Option(help="Some of the tasks.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of each task's own.")] = None,
    rows: Annotated[int | None, typer.Option(help="Training images; all by default.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    models: Annotated[
        Path, typer.Option(help="Folder that keeps models and pictures; a kept model is used.")
    ] = Path("images"),
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("images.json"),
) -> None:
    """Models of images on what lies in DENSEKIT_DATA: nats, bits, classes, translations."""
    torch.set_num_threads(threads)
    result = images.measure(tasks or list(images.TASKS), epochs, rows, models)
    out.write_text(json.dumps(result, indent=1))
    print(pages.PAGES["images"](result))


@app.command("calls")
def run_calls(
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved; medians count.")] = 5,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("calls.json"),
) -> None:
    """A user's own calls: many rows, one row, first calls, two threads, a busy machine."""
    result = calls.measure(repeats)
    out.write_text(json.dumps(result, indent=1))
    print(pages.PAGES["calls"](result))


@app.command("pixelcnn")
def run_pixelcnn(
    repeats: Annotated[int, typer.Option(min=1, help="Of the fast way; its median counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("pixelcnn.json"),
) -> None:
    """Sampling of PixelCNN, beside a full pass for every pixel."""
    torch.set_num_threads(threads)
    result = pixelcnn.measure(repeats)
    out.write_text(json.dumps(result, indent=1))
    print(pages.PAGES["pixelcnn"](result))


@app.command("anomaly")
def run_anomaly(
    seeds: Annotated[list[int] | None, typer.Option(help="Seeds of the draws and fits.")] = None,
    sets: Annotated[list[str] | None, typer.Option(help="Some of the sets, by name.")] = None,
    methods: Annotated[list[str] | None, typer.Option(help="Some of the detectors.")] = None,
    guarantees: Annotated[
        bool, typer.Option(help="False positives, reasons; not with contamination.")
    ] = True,
    contamination: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of training rows that are anomalies.")
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("anomaly.json"),
) -> None:
    """AUROC on ADBench, from DENSEKIT_DATA, beside other detectors; thresholds and reasons."""
    torch.set_num_threads(threads)
    result = None
    chosen = seeds or [0, 1, 2], sets or [], methods or []
    for result in anomaly.measure(*chosen, guarantees, contamination):
        out.write_text(json.dumps(result, indent=1))
    if result:
        print(pages.PAGES["anomaly"](result))


@app.command("sizes")
def run_sizes(
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("sizes.json"),
) -> None:
    """The default detector from 60 rows to a million, and up to 1,555 columns."""
    torch.set_num_threads(threads)
    result = None
    for result in sizes.measure():
        out.write_text(json.dumps(result, indent=1))
    if result:
        print(pages.PAGES["sizes"](result))


@app.command("robustness")
def run_robustness(
    flips: Annotated[int, typer.Option(min=4, help="Flipped bytes over all models.")] = 10_000,
    saves: Annotated[int, typer.Option(min=1, help="Kills of saving.")] = 200,
    fits: Annotated[int, typer.Option(min=1, help="Fits of each model, killed twice.")] = 20,
    seed: Annotated[int, typer.Option(help="Of what is random.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("robustness.json"),
) -> None:
    """Damaged and hostile model files within a gigabyte; kill -9 of saving and of fitting."""
    torch.set_num_threads(1)
    result = robustness.measure(flips, saves, fits, seed)
    out.write_text(json.dumps(result, indent=1))
    print(pages.PAGES["robustness"](result))


@app.command("foreign")
def run_foreign(
    n_train: Annotated[int, typer.Option(min=100, help="Training images of a model.")] = 5000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("foreign.json"),
) -> None:
    """Foreign images, from DENSEKIT_DATA, by likelihood, likelihood ratios and typicality."""
    torch.set_num_threads(threads)
    result = None
    for result in anomaly_images.measure(n_train, epochs):
        out.write_text(json.dumps(result, indent=1))
    if result:
        print(pages.PAGES["foreign"](result))


@app.command("large")
def run_large(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the Parquet file.")] = 10_000_000,
    row_group: Annotated[int, typer.Option(help="Rows of a row group.")] = 1_000_000,
    kills: Annotated[int, typer.Option(help="Runs that are interrupted.")] = 10,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("large.json"),
) -> None:
    """`densekit score` over a large Parquet file: peak memory, order of rows, interruptions."""
    from benchmarks import large  # needs pyarrow

    result = large.measure(rows, kills, row_group, threads)
    out.write_text(json.dumps(result, indent=1))
    print(pages.PAGES["large"](result))


@app.command("page")
def write_page(
    folder: Annotated[Path, typer.Argument(help="Where the JSON files of the commands lie.")],
    out: Annotated[
        Path, typer.Option(help="Markdown page that sums up; tables lie in a folder of its name.")
    ] = Path("docs/benchmarks.md"),
) -> None:
    """Make the pages of benchmarks and their pictures from what the other commands wrote."""
    pages.write(folder, out)


if __name__ == "__main__":
    app()
