"""``densekit anomalies``: the rows of a table that do not belong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from densekit.cli.app import command
from densekit.cli.arguments import Data, Drop, Model, Target
from densekit.cli.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table as RichTable

    from densekit.data.table import Table

N_SHOWN = 20
ROWS_WRITTEN_AT_ONCE = 100_000

Reference = Annotated[
    Path | None,
    typer.Option(
        help="For a density: a table of normal rows that it was not fitted on, beside which "
        "rows are judged."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Score, p-value and selection of each row: CSV, Parquet, Feather or .npy; - is "
        "CSV on standard output. Without it, the strangest rows are printed."
    ),
]


class Judge(NamedTuple):
    """Scores and conformal p-values of rows, and the number of rows that calibrate them."""

    judge: Callable[[Any, Any], tuple[NDArray[np.float64], NDArray[np.float64]]]
    n_calibration: int


@command(
    "densekit anomalies detector.densekit rows.csv --fdr 0.1",
    "densekit anomalies model.densekit rows.csv --reference normal.csv --out anomalies.csv",
    "densekit anomalies conditional.densekit kinds.csv --reference kinds.csv --target kind",
)
def anomalies(
    ctx: typer.Context,
    model: Model,
    data: Data,
    fdr: Annotated[
        float,
        typer.Option(help="Share of normal rows among those that are selected, on average."),
    ] = 0.1,
    reference: Reference = None,
    out: Out = None,
    target: Target = None,
    drop: Drop = None,
) -> None:
    """Find the rows of DATA that do not belong, with a bound on false alarms.

    MODEL is an anomaly detector (`densekit fit --model anomaly`), or a density with --reference.
    DATA may be larger than memory.
    """
    import numpy as np

    from densekit.cli import models
    from densekit.data.readers import open_table
    from densekit.data.writers import check_output
    from densekit.meta import conformal

    reporter: Reporter = ctx.obj
    if not 0 < fdr < 1:
        raise typer.BadParameter(f"--fdr {fdr} is not between 0 and 1.")
    if out is not None:
        check_output(out)
    fitted, table = models.load(model), open_table(data)
    judge = _judge(fitted, model, reference, (target, drop), reporter)
    with reporter.progress("judged", table.n_rows) as advance:
        pieces = list(_judgements(fitted, judge, table, (target, drop), advance))
    scores, p_values = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
    selected = conformal.select(p_values, fdr, judge.n_calibration, "anomalies")
    if out is not None:
        _write(out, scores, p_values, selected)
    else:
        reporter.table(_strangest(scores, p_values, selected))
    reporter.say(f"{int(selected.sum()):,} of {len(selected):,} rows selected at FDR {fdr:g}")


def _judge(
    model: Any, path: Path, reference: Path | None, columns: Any, reporter: Reporter
) -> Judge:
    """How to judge rows: by the detector's own calibration, or beside reference rows."""
    import numpy as np

    from densekit.cli import models
    from densekit.cli.rows import model_rows
    from densekit.data.readers import open_table
    from densekit.errors import ContextError
    from densekit.meta import conformal

    if hasattr(model, "p_values"):
        if reference is not None:
            raise typer.BadParameter(f"{path} is a detector with its own calibration rows.")
        if columns[0]:
            raise typer.BadParameter(f"{path} is a detector, which takes no --target.")
        return Judge(
            lambda X, y: (model.score_samples(X), model.p_values(X)),
            len(model.calibration_scores_),
        )
    if reference is None:
        raise ContextError(
            f"{path} is a density ({type(model).__name__}), which has no normal rows to judge "
            "others by: refit with `densekit fit --model anomaly`, or give --reference with normal "
            "rows that it was not fitted on."
        )
    table = open_table(reference)
    with reporter.progress("reference", table.n_rows) as advance:
        found = []
        for X, y in model_rows(model, table, *columns):
            found.append(models.score(model, X, y))
            advance(len(found[-1]))
    known = np.sort(np.concatenate(found))

    def judge(X: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        scores = models.score(model, X, y)
        return scores, conformal.p_values([known], [scores])

    return Judge(judge, len(known))


def _judgements(
    model: Any, judge: Judge, table: Table, columns: Any, advance: Callable[[int], None]
) -> Iterator[Any]:
    from densekit.cli.rows import model_rows

    for X, y in model_rows(model, table, *columns):
        yield judge.judge(X, y)
        advance(len(X))


def _write(out: Path, scores: Any, p_values: Any, selected: Any) -> None:
    """Write one line for each row of DATA, in its order."""
    import pandas as pd

    from densekit.data.writers import open_writer

    with open_writer(out) as writer:
        for start in range(0, len(scores), ROWS_WRITTEN_AT_ONCE):
            part = slice(start, start + ROWS_WRITTEN_AT_ONCE)
            columns = {"score": scores[part], "p_value": p_values[part], "selected": selected[part]}
            writer.write(pd.DataFrame(columns))


def _strangest(scores: Any, p_values: Any, selected: Any) -> RichTable:
    import numpy as np
    from rich.table import Table as RichTable

    order = np.argsort(scores, kind="stable")[:N_SHOWN]
    table = RichTable(title=f"The {len(order)} strangest rows (the first row is 0)")
    for heading in ("row", "score", "p-value", "selected"):
        table.add_column(heading, justify="right")
    for row in order:
        mark = "yes" if selected[row] else ""
        table.add_row(f"{row:,}", f"{scores[row]:.4g}", f"{p_values[row]:.3g}", mark)
    return table
