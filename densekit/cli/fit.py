"""``densekit fit``: a model from a table."""

from __future__ import annotations

import inspect
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from densekit.cli import models, settings
from densekit.cli.app import command
from densekit.cli.arguments import (
    Data,
    Decimal,
    Drop,
    Encoding,
    Header,
    Keep,
    Sep,
    Settings,
    Target,
)
from densekit.cli.data import csv_options, open_data
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
    "densekit fit rows.parquet --model maf --set n_layers=3 --max-epochs 50",
    "densekit fit rows.csv --target kind --out conditional.densekit",
)
def fit(
    ctx: typer.Context,
    data: Data,
    model: Annotated[
        str, typer.Option(help="Name of an estimator; `densekit plugins` lists them.")
    ] = "nsf",
    set_: Settings = None,
    max_epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Most passes over the rows; --set max_epochs=N for short."),
    ] = None,
    target: Target = None,
    target_numbers: Annotated[
        bool, typer.Option("--target-numbers", help="Take the condition for numbers.")
    ] = False,
    target_labels: Annotated[
        bool, typer.Option("--target-labels", help="Take the condition for labels.")
    ] = False,
    drop: Drop = None,
    keep: Keep = None,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    header: Header = None,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("model.densekit"),
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of split, weights and batches.")] = 0,
) -> None:
    """Fit a density to the rows of DATA and write it to a model file."""
    from densekit.cli.io.outputs import check_no_input_is_replaced, check_place
    from densekit.cli.rows import Choice, training_rows

    reporter: Reporter = ctx.obj
    given = settings.parse(set_)
    condition_type = _condition_type(target, target_numbers, target_labels)
    choice = Choice(target or (), drop or (), keep or (), condition_type)
    check_no_input_is_replaced({"--out": out, "--checkpoint": checkpoint}, {"DATA": data})
    check_place(out)
    if checkpoint is not None:
        check_place(checkpoint)
    estimator = _estimator(model, given, max_epochs, choice, checkpoint)
    table = open_data(data, csv_options(sep, decimal, encoding, header), reporter)
    X, y = training_rows(table, choice)
    settings.set_default(estimator, given, "random_state", seed)
    settings.set_default(estimator, given, "verbose", int(reporter.shows_bars))
    source = type(estimator).__name__
    reporter.say(f"fitting {source} to {len(X):,} rows of shape {X.shape[1:]}")
    start = time.perf_counter()
    with reporter.bars_as_lines():
        estimator.fit(X, y, **({} if checkpoint is None else {"checkpoint": checkpoint}))
    reporter.say(f"fitted in {time.perf_counter() - start:.1f} s{_summary(estimator)}")
    if "verbose" not in given:
        settings.set_default(estimator, given, "verbose", 0)
    models.save(estimator, out)
    reporter.say(f"wrote {out}")


def _condition_type(target: Any, are_numbers: bool, are_labels: bool) -> str:
    """How the condition is taken, as the estimators' parameter of this name has it."""
    flags = [
        flag
        for flag, is_given in (("--target-numbers", are_numbers), ("--target-labels", are_labels))
        if is_given
    ]
    if len(flags) > 1:
        raise typer.BadParameter("--target-numbers and --target-labels exclude each other.")
    if flags and not target:
        raise typer.BadParameter(f"{flags[0]} says how --target is taken, which is not given.")
    return flags[0].removeprefix("--target-") if flags else "auto"


def _estimator(
    model: str, given: dict[str, Any], max_epochs: int | None, choice: Any, checkpoint: Any
) -> Any:
    """The estimator that is to be fitted, once it is known to take what was asked for."""
    if max_epochs is not None and given.setdefault("max_epochs", max_epochs) != max_epochs:
        raise typer.BadParameter("--max-epochs and --set max_epochs differ; give one.")
    estimator = settings.build(model, given)
    source = type(estimator).__name__
    if choice.target:
        _condition_on(estimator, given, choice)
    if checkpoint is not None and "checkpoint" not in inspect.signature(estimator.fit).parameters:
        raise typer.BadParameter(f"{source} keeps no checkpoint; leave --checkpoint out.")
    return estimator


def _condition_on(estimator: Any, given: dict[str, Any], choice: Any) -> None:
    """Make an estimator, or the one inside a detector, conditional."""
    known = estimator.get_params(deep=False)
    is_own = "conditional" in known
    inner, prefix = (estimator, "") if is_own else (known.get("estimator"), "estimator__")
    if not hasattr(inner, "conditional"):
        advice = "give one that does by --set estimator=maf, or " if "estimator" in known else ""
        raise typer.BadParameter(
            f"{type(estimator).__name__} takes no condition as it is; {advice}leave --target out "
            f"(--drop {choice.target[0]} leaves the column out)."
        )
    values = {"conditional": True, "condition_type": choice.condition_type}
    for key, value in values.items():
        if prefix + key not in given:
            inner.set_params(**{key: value})


def _summary(estimator: Any) -> str:
    """Epochs and nats, of an estimator that has them."""
    if not hasattr(estimator, "n_iter_"):
        return ""
    nats = getattr(estimator, "best_validation_score_", None)
    text = "" if nats is None else f", {nats:.4g} nats a row on validation rows"
    return f": {estimator.n_iter_} epochs{text}"
