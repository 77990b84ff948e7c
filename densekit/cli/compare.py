"""``densekit compare``: several estimators on the same held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from densekit.cli import settings
from densekit.cli.app import command
from densekit.cli.arguments import Data, Decimal, Drop, Encoding, Header, Keep, Sep, Settings
from densekit.cli.data import csv_options, open_data
from densekit.cli.reporter import Reporter

if TYPE_CHECKING:
    from densekit.cli.comparison import Fit

DEFAULT_MODELS = ("nsf", "maf", "realnvp")
MAX_ROWS = 10_000
LEAST_ROWS = 20
TEST_FRACTION = 0.2


@command(
    "densekit compare rows.csv",
    "densekit compare rows.parquet --model nsf --model maf --set max_epochs=20 --max-rows 5000",
)
def compare(
    ctx: typer.Context,
    data: Data,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of an estimator; give several. By default " + ", ".join(DEFAULT_MODELS) + "."
        ),
    ] = None,
    set_: Settings = None,
    drop: Drop = None,
    keep: Keep = None,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    header: Header = None,
    max_rows: Annotated[
        int, typer.Option(min=LEAST_ROWS, help="Most rows that are used, drawn at random.")
    ] = MAX_ROWS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of rows, split and fits.")] = 0,
) -> None:
    """Compare estimators with KernelDensity and GaussianMixture on held-out rows of DATA.

    A fifth of the rows is held out. Prints nats a row (higher is better), seconds of the fit and
    samples a second, with the best first.
    """
    from sklearn.model_selection import train_test_split

    from densekit.cli import comparison, models
    from densekit.cli.rows import Choice

    reporter: Reporter = ctx.obj
    quiet, given = not reporter.shows_bars, settings.parse(set_)
    estimators = {name: settings.build(name, dict(given)) for name in model or DEFAULT_MODELS}
    for name, estimator in estimators.items():
        models.check_draws(estimator, name)
        settings.set_default(estimator, given, "random_state", seed)
        settings.set_default(estimator, given, "verbose", int(not quiet))
    choice = Choice(drop=drop or (), keep=keep or ())
    table = open_data(data, csv_options(sep, decimal, encoding, header), reporter)
    rows = _rows(table, choice, max_rows, seed)
    train, test = train_test_split(rows, test_size=TEST_FRACTION, random_state=seed)
    reporter.say(f"{len(train):,} rows of {rows.shape[1]} columns to fit, {len(test):,} held out")
    fits = comparison.peer_fits(train, seed, is_quiet=quiet)
    fits |= {name: _fit(estimator, train) for name, estimator in estimators.items()}
    with reporter.bars_as_lines():
        results = comparison.measure(fits, test, seed, what="densekit compare", is_quiet=quiet)
    reporter.table(comparison.table(results))
    if warning := comparison.why_no_measure(results):
        reporter.error(warning)


def _fit(estimator: Any, train: Any) -> Fit:
    return lambda: estimator.fit(train)


def _rows(table: Any, choice: Any, max_rows: int, seed: int) -> Any:
    """The features of DATA, or as many of its rows as are to be used."""
    import numpy as np

    from densekit.cli.rows import training_rows
    from densekit.exceptions import TableError

    rows = training_rows(table, choice).X
    if rows.ndim != 2 or len(rows) < LEAST_ROWS:
        raise TableError(
            f"{table.source} holds an array of shape {rows.shape}, expected a table of "
            f"{LEAST_ROWS} rows or more to compare on."
        )
    if len(rows) <= max_rows:
        return rows
    index = np.sort(np.random.default_rng(seed).choice(len(rows), max_rows, replace=False))
    return rows[index] if isinstance(rows, np.ndarray) else rows.iloc[index]
