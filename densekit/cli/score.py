"""``densekit score``: the log-density of every row of a table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from densekit.cli.app import command
from densekit.cli.arguments import Data, Decimal, Drop, Encoding, Header, Keep, Model, Sep, Target
from densekit.cli.data import csv_options, open_data
from densekit.cli.reporter import Reporter


@command(
    "densekit score model.densekit rows.csv --out scores.csv",
    "densekit score model.densekit rows.parquet --out scores.parquet",
    "densekit score conditional.densekit rows.csv --target kind --out scores.npy",
    "densekit score model.densekit - < rows.csv > scores.csv",
)
def score(
    ctx: typer.Context,
    model: Model,
    data: Data,
    out: Annotated[
        Path,
        typer.Option(help="CSV, Parquet, Feather or .npy; - is CSV on standard output."),
    ] = Path("-"),
    target: Target = None,
    drop: Drop = None,
    keep: Keep = None,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    header: Header = None,
) -> None:
    """Write the log-density of each row of DATA, in nats, in the order of the rows.

    DATA may be larger than memory: it is scored chunk by chunk. The output is there whole at the
    end, or not at all. Rows outside the support of the model score minus infinity.
    """
    import numpy as np
    import pandas as pd

    from densekit.cli import models
    from densekit.cli.io.outputs import check_no_input_is_replaced
    from densekit.cli.io.writers import check_output, open_writer
    from densekit.cli.rows import Choice, model_rows

    reporter: Reporter = ctx.obj
    choice = Choice(target or (), drop or (), keep or ())
    check_no_input_is_replaced({"--out": out}, {"MODEL": model, "DATA": data})
    check_output(out)
    fitted = models.load(model)
    models.check_takes_condition(fitted, target)
    table = open_data(data, csv_options(sep, decimal, encoding, header), reporter)
    name = models.score_name(fitted)
    start, n_rows, n_outside, total = time.perf_counter(), 0, 0, 0.0
    with (
        open_writer(out) as writer,
        reporter.progress("scored", table.n_rows) as advance,
    ):
        for X, y in model_rows(fitted, table, choice):
            scores = models.score(fitted, X, y)
            writer.write(pd.DataFrame({name: scores}))
            is_inside = np.isfinite(scores)
            n_rows += len(scores)
            n_outside += int((~is_inside).sum())
            total += float(scores[is_inside].sum())
            advance(len(scores))
    seconds = time.perf_counter() - start
    outside = f", and {n_outside:,} outside the support" if n_outside else ""
    mean = total / max(1, n_rows - n_outside)
    reporter.say(f"scored {n_rows:,} rows in {seconds:.1f} s: mean {mean:.4g} nats{outside}")
