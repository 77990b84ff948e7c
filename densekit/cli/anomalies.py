"""``densekit anomalies``: the rows of a table that do not belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from densekit.cli.app import command
from densekit.cli.arguments import Data, Decimal, Drop, Encoding, Header, Keep, Model, Sep, Target
from densekit.cli.data import csv_options, open_data
from densekit.cli.reporter import Listing, Reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from densekit.cli.io.csv_format import CsvOptions
    from densekit.cli.io.table import Table
    from densekit.cli.rows import Choice

N_SHOWN = 20
ROWS_WRITTEN_AT_ONCE = 100_000
N_REASONS = 3
DEFAULT_FDR = 0.1
OWN_COLUMNS = ("score", "p_value", "selected", "reasons")

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
Id = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="COLUMN",
        help="Put this column of DATA, which is no feature, beside the results; may be given "
        "several times.",
        show_default=False,
    ),
]


class Judge(NamedTuple):
    """Scores and conformal p-values of rows, and the number of rows that calibrate them."""

    judge: Callable[[Any, Any], tuple[NDArray[np.float64], NDArray[np.float64]]]
    n_calibration: int


@dataclass(frozen=True)
class Results:
    """Scores, p-values and selection of all rows, and the columns of DATA beside them."""

    table: Table
    scores: NDArray[np.float64]
    p_values: NDArray[np.float64]
    selected: NDArray[np.bool_]
    copied: list[str]
    reasons: dict[int, str] | None


@command(
    "densekit anomalies detector.densekit rows.csv --fdr 0.1",
    "densekit anomalies detector.densekit rows.csv --alpha 0.1 --reasons",
    "densekit anomalies model.densekit rows.csv --reference normal.csv --out anomalies.csv",
    "densekit anomalies conditional.densekit kinds.csv --reference kinds.csv --target kind",
)
def anomalies(
    ctx: typer.Context,
    model: Model,
    data: Data,
    fdr: Annotated[
        float | None,
        typer.Option(
            help="Share of normal rows among those that are selected, on average; "
            f"{DEFAULT_FDR:g} by default."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Select rows with p-values up to this instead: so many of normal rows."),
    ] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Say why rows are strange; needs a detector.")
    ] = False,
    reference: Reference = None,
    out: Out = None,
    keep_columns: Annotated[
        bool, typer.Option("--keep-columns", help="Put all columns of DATA beside the results.")
    ] = False,
    id_: Id = None,
    target: Target = None,
    drop: Drop = None,
    keep: Keep = None,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    header: Header = None,
) -> None:
    """Find the rows of DATA that do not belong, with a bound on false alarms.

    MODEL is an anomaly detector (`densekit fit --model anomaly`), or a density with --reference.
    DATA may be larger than memory.
    """
    from densekit.cli import models
    from densekit.cli.io.outputs import check_no_input_is_replaced
    from densekit.cli.io.writers import check_output
    from densekit.cli.rows import Choice

    reporter: Reporter = ctx.obj
    _check_levels(fdr, alpha)
    choice, ids = Choice(target or (), drop or (), keep or ()), list(dict.fromkeys(id_ or ()))
    inputs = {"MODEL": model, "DATA": data, "--reference": reference}
    check_no_input_is_replaced({"--out": out}, inputs)
    if out is not None:
        check_output(out)
    options = csv_options(sep, decimal, encoding, header)
    fitted = models.load(model)
    if reasons and not hasattr(fitted, "reasons"):
        raise typer.BadParameter(f"--reasons needs a detector, and {model} is none.")
    choice = _without_ids(choice, ids, fitted)
    table = _table(open_data(data, options, reporter), ids, keep_columns, reasons)
    copied = list(table.columns or ()) if keep_columns else ids
    _check_names(table, copied, reasons)
    judge = _judge(fitted, model, reference, choice, options, reporter)
    scores, p_values = _scores(fitted, judge, table, choice, reporter)
    selected = _selected(p_values, fdr, alpha, judge.n_calibration)
    wanted = _explained_rows(scores, selected, out) if reasons else []
    words = _reasons(fitted, table, choice, wanted, reporter) if reasons else None
    results = Results(table, scores, p_values, selected, copied, words)
    if out is not None:
        _write(out, results)
    else:
        reporter.table(_strangest(results))
    level = f"alpha {alpha:g}" if alpha is not None else f"FDR {fdr or DEFAULT_FDR:g}"
    reporter.say(f"{int(selected.sum()):,} of {len(selected):,} rows selected at {level}")


def _check_levels(fdr: float | None, alpha: float | None) -> None:
    if fdr is not None and alpha is not None:
        raise typer.BadParameter("--fdr and --alpha exclude each other; give one.")
    for name, level in (("--fdr", fdr), ("--alpha", alpha)):
        if level is not None and not 0 < level < 1:
            raise typer.BadParameter(f"{name} {level} is not between 0 and 1.")


def _without_ids(choice: Choice, ids: list[str], model: Any) -> Choice:
    """The choice of columns without those of --id, unless they are features of the model."""
    known = {*choice.target, *choice.drop, *getattr(model, "feature_names_in_", ())}
    return replace(
        choice,
        drop=[*choice.drop, *(name for name in ids if name not in known)],
        keep=[name for name in choice.keep if name in known or name not in ids],
    )


def _table(table: Table, ids: list[str], keeps_columns: bool, has_reasons: bool) -> Table:
    """The table, or all of its rows in memory where they are needed twice and come once."""
    from densekit.cli.io.table import HeldTable

    is_read_twice = bool(ids) or keeps_columns or has_reasons
    return HeldTable(table) if table.is_once and is_read_twice else table


def _check_names(table: Table, copied: list[str], has_reasons: bool) -> None:
    """Refuse columns that DATA has not, and those under the names of the results."""
    from densekit.cli.rows import check_names
    from densekit.exceptions import TableError

    check_names(table, copied)
    own = OWN_COLUMNS if has_reasons else OWN_COLUMNS[:-1]
    clash = [name for name in copied if name in own]
    if clash:
        raise TableError(
            f"{table.source} has a column {clash[0]!r}, and so have the results; rename it, or "
            "name the columns that are to stand beside the results by --id."
        )


def _judge(
    model: Any,
    path: Path,
    reference: Path | None,
    choice: Choice,
    options: CsvOptions,
    reporter: Reporter,
) -> Judge:
    """How to judge rows: by the detector's own calibration, or beside reference rows."""
    import numpy as np

    from densekit.anomaly import conformal
    from densekit.cli import models
    from densekit.cli.io.csv_format import CsvOptions
    from densekit.cli.io.readers import is_text
    from densekit.cli.rows import model_rows
    from densekit.exceptions import ContextError

    models.check_takes_condition(model, choice.target)
    if hasattr(model, "p_values"):
        if reference is not None:
            raise typer.BadParameter(f"{path} is a detector with its own calibration rows.")
        return Judge(
            lambda X, y: (
                models.score(model, X, y),
                model.p_values(X, *(() if y is None else (y,))),
            ),
            len(model.calibration_scores_),
        )
    if reference is None:
        raise ContextError(
            f"{path} is a density ({type(model).__name__}), which has no normal rows to judge "
            "others by: refit with `densekit fit --model anomaly`, or give --reference with normal "
            "rows that it was not fitted on."
        )
    table = open_data(reference, options if is_text(reference) else CsvOptions(), reporter)
    with reporter.progress("reference", table.n_rows) as advance:
        found = []
        for X, y in model_rows(model, table, _for_reference(choice, table)):
            found.append(models.score(model, X, y))
            advance(len(found[-1]))
    known = np.sort(np.concatenate(found))

    def judge(X: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        scores = models.score(model, X, y)
        return scores, conformal.p_values([known], [scores])

    return Judge(judge, len(known))


def _for_reference(choice: Choice, table: Table) -> Choice:
    """The choice of columns for reference rows, which need not have those that are left out."""
    known = set(table.columns or ())
    return replace(choice, drop=[name for name in choice.drop if name in known])


def _scores(
    model: Any, judge: Judge, table: Table, choice: Choice, reporter: Reporter
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    from densekit.cli.rows import model_rows

    pieces = []
    with reporter.progress("judged", table.n_rows) as advance:
        for X, y in model_rows(model, table, choice):
            pieces.append(judge.judge(X, y))
            advance(len(X))
    scores, p_values = zip(*pieces, strict=True)
    return np.concatenate(scores), np.concatenate(p_values)


def _selected(
    p_values: Any, fdr: float | None, alpha: float | None, n_calibration: int
) -> NDArray[np.bool_]:
    from densekit.anomaly import conformal

    if alpha is None:
        return conformal.select(p_values, fdr or DEFAULT_FDR, n_calibration, "anomalies")
    level = conformal.check_alpha(alpha, n_calibration, "anomalies")
    selected: NDArray[np.bool_] = p_values <= level + 1e-12
    return selected


def _explained_rows(scores: Any, selected: Any, out: Path | None) -> list[int]:
    """Rows whose reasons are told: those that are printed, or those that are selected."""
    import numpy as np

    rows = np.flatnonzero(selected) if out is not None else _order(scores)
    return [int(row) for row in rows]


def _reasons(
    model: Any, table: Table, choice: Choice, wanted: list[int], reporter: Reporter
) -> dict[int, str]:
    """Why rows are strange, in words, by their numbers."""
    import numpy as np

    from densekit.cli.rows import model_rows

    found: dict[int, str] = {}
    rows, n_done = np.sort(np.array(wanted, dtype=int)), 0
    with reporter.progress("explained", len(rows)) as advance:
        for X, y in model_rows(model, table, choice):
            here = rows[(rows >= n_done) & (rows < n_done + len(X))]
            if len(here):
                part = X.iloc[here - n_done] if hasattr(X, "iloc") else X[here - n_done]
                given = {} if y is None else {"y": y.iloc[here - n_done]}
                words_of_rows = model.reasons(part, n=N_REASONS, **given)
                for row, words in zip(here, words_of_rows, strict=True):
                    found[int(row)] = "; ".join(words)
                advance(len(here))
            n_done += len(X)
    return found


def _write(out: Path, results: Results) -> None:
    """Write one line for each row of DATA, in its order."""
    from densekit.cli.io.writers import open_writer

    with open_writer(out) as writer:
        for part in _parts(results):
            writer.write(part)


def _parts(results: Results) -> Iterator[Any]:
    """The output in pieces: columns of DATA, and the results beside them."""
    import pandas as pd

    n_rows, start = len(results.scores), 0
    chunks: Iterator[Any]
    if results.copied:
        chunks = results.table.chunks(ROWS_WRITTEN_AT_ONCE, results.copied)
    else:
        starts = range(0, n_rows, ROWS_WRITTEN_AT_ONCE)
        chunks = (
            pd.DataFrame(index=range(first, min(n_rows, first + ROWS_WRITTEN_AT_ONCE)))
            for first in starts
        )
    for chunk in chunks:
        part = slice(start, start + len(chunk))
        columns: dict[str, Any] = {name: chunk[name].to_numpy() for name in chunk.columns}
        columns |= {
            "score": results.scores[part],
            "p_value": results.p_values[part],
            "selected": results.selected[part],
        }
        if results.reasons is not None:
            rows = range(start, start + len(chunk))
            columns["reasons"] = [results.reasons.get(row, "") for row in rows]
        yield pd.DataFrame(columns)
        start += len(chunk)


def _order(scores: Any) -> Any:
    import numpy as np

    return np.argsort(scores, kind="stable")[:N_SHOWN]


def _strangest(results: Results) -> Listing:
    """The strangest rows for people."""
    order = _order(results.scores)
    copied = _cells(results, {int(row) for row in order})
    rows = []
    for row in order:
        texts = copied.get(int(row), [])
        if results.reasons is not None:
            texts = [*texts, results.reasons.get(int(row), "")]
        numbers = (
            f"{row:,}",
            f"{results.scores[row]:.4g}",
            f"{results.p_values[row]:.3g}",
            "yes" if results.selected[row] else "",
        )
        rows.append((*texts, *numbers))
    headings = [*results.copied, *(("reasons",) if results.reasons is not None else ())]
    return Listing(
        f"The {len(order)} strangest rows (the first row is 0)",
        (*headings, "row", "score", "p-value", "selected"),
        rows,
        n_texts=len(headings),
    )


def _cells(results: Results, wanted: set[int]) -> dict[int, list[str]]:
    """Cells of DATA that are shown beside results, by the rows' numbers."""
    found: dict[int, list[str]] = {}
    if not results.copied:
        return found
    start = 0
    for chunk in results.table.chunks(ROWS_WRITTEN_AT_ONCE, results.copied):
        for row in wanted:
            if start <= row < start + len(chunk):
                found[row] = [str(cell) for cell in chunk.iloc[row - start]]
        start += len(chunk)
    return found
