"""``densekit sample``: new rows from a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from densekit.cli.app import command
from densekit.cli.arguments import Model
from densekit.cli.reporter import Reporter

MAX_ROWS_AT_ONCE = 100_000


@command(
    "densekit sample model.densekit -n 1000 --out new_rows.csv --seed 0",
    "densekit sample conditional.densekit -n 5 --given a",
)
def sample(
    ctx: typer.Context,
    model: Model,
    n_samples: Annotated[int, typer.Option("-n", "--n-samples", min=1, help="How many.")] = 1000,
    out: Annotated[
        Path,
        typer.Option(help="CSV, Parquet, Feather or .npy; - is CSV on standard output."),
    ] = Path("-"),
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same rows each time; without it, new ones.")
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="Condition of all rows: a label, or numbers as [1.5, 2], or by their names as "
            '{"age": 1.5, "dose": 2}. Without it, labels are drawn as frequent as in the training '
            "data.",
        ),
    ] = None,
) -> None:
    """Draw new rows from a model, with the columns that it was fitted on."""
    from densekit.cli import models
    from densekit.cli.io.outputs import check_no_input_is_replaced
    from densekit.cli.io.writers import check_output, open_writer

    reporter: Reporter = ctx.obj
    check_no_input_is_replaced({"--out": out}, {"MODEL": model})
    check_output(out)
    fitted = models.load(model)
    models.check_draws(fitted, model)
    y = None if given is None else _condition(fitted, given)
    with open_writer(out) as writer, reporter.progress("drawn", n_samples) as advance:
        for rows in _pieces(fitted, n_samples, seed, y):
            writer.write(rows)
            advance(len(rows))
    if str(out) != "-":
        reporter.say(f"wrote {n_samples:,} rows to {out}")


def _pieces(model: Any, n_samples: int, seed: int | None, y: Any) -> Iterator[Any]:
    """Rows, so many at a time that memory is bounded; few of them are those of `sample` itself.

    Labels that are drawn, too, are one more column.
    """
    import numpy as np
    import pandas as pd

    random_state: Any = seed
    if seed is not None and n_samples > MAX_ROWS_AT_ONCE:
        random_state = np.random.RandomState(seed)
    options = {} if y is None else {"y": y}
    for start in range(0, n_samples, MAX_ROWS_AT_ONCE):
        n_rows = min(MAX_ROWS_AT_ONCE, n_samples - start)
        if y is not None or getattr(model, "classes_", None) is None:
            yield model.sample(n_rows, random_state=random_state, **options)
            continue
        rows, labels = model.sample(n_rows, random_state=random_state, return_y=True)
        if np.ndim(rows) > 2:  # images, which are no table
            yield rows
            continue
        if not hasattr(rows, "columns"):
            names = [f"x{i}" for i in range(np.shape(rows)[1])]
            rows = pd.DataFrame(rows, columns=names)
        name = str(getattr(model, "condition_names_in_", ["y"])[0])
        rows[name if name not in rows.columns else f"{name} (drawn)"] = labels
        yield rows


def _condition(model: Any, text: str) -> Any:
    """The condition that a word on the command line means: a label of the model, or numbers."""
    import json

    import numpy as np

    if not getattr(model, "conditional", False):
        raise typer.BadParameter(
            f"--given {text!r} is for a model with a condition; fit one with --target."
        )
    classes = getattr(model, "classes_", None)
    if classes is not None:
        matches = [label for label in classes if str(label) == text]
        return matches[0] if matches else text
    try:
        numbers = json.loads(text)
        if isinstance(numbers, dict):
            numbers = _in_order(numbers, getattr(model, "condition_names_in_", None), text)
        return np.atleast_2d(np.asarray(numbers, dtype=np.float64))
    except (ValueError, TypeError):
        raise typer.BadParameter(f"--given {text!r} is no number and no list of them.") from None


def _in_order(numbers: dict[str, Any], names: Any, text: str) -> list[Any]:
    """Numbers that are given by names, in the order of the model."""
    known = [] if names is None else [str(name) for name in names]
    if sorted(known) != sorted(numbers):
        expected = ", ".join(map(repr, known)) if known else "a list: this model knows no names"
        raise typer.BadParameter(f"--given {text!r} names other conditions, expected {expected}.")
    return [numbers[name] for name in known]
