"""``densekit report``: one page about a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densekit.cli.app import command
from densekit.cli.arguments import Data, Drop, Model, Target
from densekit.cli.reporter import Reporter


@command("densekit report model.densekit rows.csv --out report.html")
def report(
    ctx: typer.Context,
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="The page, which holds its pictures.")] = Path(
        "report.html"
    ),
    target: Target = None,
    drop: Drop = None,
) -> None:
    """Write a page about a model: training, held-out nats beside peers, calibration, strange rows.

    DATA are rows that the model was not fitted on.
    """
    from densekit.cli import models
    from densekit.cli.rows import all_model_rows
    from densekit.data.readers import open_table
    from densekit.data.writers import check_place
    from densekit.report import write_report

    reporter: Reporter = ctx.obj
    check_place(out)
    fitted = models.load(model)
    X, y = all_model_rows(fitted, open_table(data), target, drop)
    reporter.say(f"looking at {type(fitted).__name__} on {len(X):,} rows")
    write_report(fitted, X, out, y=y)
    reporter.say(f"wrote {out}")
