"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="CSV, TSV or text in columns, JSON lines (all also compressed), Parquet, Feather, "
        ".npy or .npz; - is CSV on standard input.",
        show_default=False,
    ),
]
Sep = Annotated[
    str | None,
    typer.Option(
        "--sep",
        metavar="CHARACTER",
        help="What stands between cells of text: a character, tab or space. By default the first "
        "lines tell.",
        show_default=False,
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        "--decimal",
        metavar="CHARACTER",
        help="Decimal mark of text, . or a comma. By default the first lines tell.",
        show_default=False,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Encoding of text, such as cp1252. By default its start tells.",
        show_default=False,
    ),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first line of text holds the columns' names, which are x0, x1 and so on "
        "if it does not. By default a line of numbers is an error, unless it is quite unlike the "
        "others.",
        show_default=False,
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="COLUMN",
        help="Take these columns of DATA alone as features; may be given several times.",
        show_default=False,
    ),
]
Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="A file that `densekit fit` wrote.", show_default=False),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="Condition on this column: labels (text or whole numbers), or numbers. Give it "
        "several times for several columns of numbers; they are matched by their names.",
        show_default=False,
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="COLUMN",
        help="Leave this column of DATA out; may be given several times.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter of the estimator, as JSON or as Python writes it; may be given several "
        "times.",
        show_default=False,
    ),
]
