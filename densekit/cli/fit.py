"""``densekit fit``: a model from a table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from densekit.cli import models, settings
from densekit.cli.app import command
from densekit.cli.arguments import Data, Drop, Settings, Target
from densekit.cli.reporter import Reporter

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="Keep the state of a long fit in this file; a fit that was killed goes on from it "
        "when the command is given again."
    ),
]


@command(
    "densekit fit rows.csv --model nsf --out model.densekit",
    "densekit fit rows.parquet --model maf --set n_layers=3 --set max_epochs=50",
    "densekit fit rows.csv --target kind --out conditional.densekit",
)
def fit(
    ctx: typer.Context,
    data: Data,
    model: Annotated[
        str, typer.Option(help="Name of an estimator; `densekit plugins` lists them.")
    ] = "nsf",
    set_: Settings = None,
    target: Target = None,
    drop: Drop = None,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("model.densekit"),
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of split, weights and batches.")] = 0,
) -> None:
    """Fit a density to the rows of DATA and write it to a model file."""
    from densekit.data.readers import open_table
    from densekit.data.writers import check_place

    reporter: Reporter = ctx.obj
    given = settings.parse(set_)
    check_place(out)
    if checkpoint is not None:
        check_place(checkpoint)
    estimator = settings.build(model, given)
    X, y = _rows(open_table(data), target, drop)
    settings.set_default(estimator, given, "random_state", seed)
    settings.set_default(estimator, given, "verbose", int(not reporter.is_quiet))
    if y is not None:
        settings.set_default(estimator, given, "conditional", True)
    who = type(estimator).__name__
    reporter.say(f"fitting {who} to {len(X):,} rows of shape {X.shape[1:]}")
    start = time.perf_counter()
    with reporter.bars_as_lines():
        estimator.fit(X, y, **({} if checkpoint is None else {"checkpoint": checkpoint}))
    reporter.say(f"fitted in {time.perf_counter() - start:.1f} s{_summary(estimator)}")
    if "verbose" not in given:
        settings.set_default(estimator, given, "verbose", 0)
    models.save(estimator, out)
    reporter.say(f"wrote {out}")


def _rows(table: Any, target: list[str] | None, drop: list[str] | None) -> Any:
    from densekit.cli.rows import training_rows

    return training_rows(table, target, drop)


def _summary(estimator: Any) -> str:
    """Epochs and nats, of an estimator that has them."""
    if not hasattr(estimator, "n_iter_"):
        return ""
    nats = getattr(estimator, "best_validation_score_", None)
    text = "" if nats is None else f", {nats:.4g} nats a row on validation rows"
    return f": {estimator.n_iter_} epochs{text}"
