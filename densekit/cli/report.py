"""``densekit report``: one page about a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densekit.cli.app import command
from densekit.cli.arguments import Data, Decimal, Drop, Encoding, Header, Keep, Model, Sep, Target
from densekit.cli.data import csv_options, open_data
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
    keep: Keep = None,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    header: Header = None,
) -> None:
    """Write a page about a model: training, held-out nats beside peers, calibration, strange rows.

    DATA are rows that the model was not fitted on.
    """
    from densekit.cli import models
    from densekit.cli.io.outputs import check_no_input_is_replaced, check_place
    from densekit.cli.rows import Choice, all_model_rows
    from densekit.report import write_report

    reporter: Reporter = ctx.obj
    choice = Choice(target or (), drop or (), keep or ())
    check_no_input_is_replaced({"--out": out}, {"MODEL": model, "DATA": data})
    check_place(out)
    fitted = models.load(model)
    models.check_draws(fitted, model)
    models.check_takes_condition(fitted, target)
    table = open_data(data, csv_options(sep, decimal, encoding, header), reporter)
    X, y = all_model_rows(fitted, table, choice)
    reporter.say(f"looking at {type(fitted).__name__} on {len(X):,} rows")
    write_report(fitted, X, out, y=y)
    reporter.say(f"wrote {out}")
