"""DATA of a command: opened as its options say, and what was found is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from densekit.cli.io.csv_format import CsvOptions
    from densekit.cli.io.table import Table
    from densekit.cli.reporter import Reporter


def csv_options(
    sep: str | None, decimal: str | None, encoding: str | None, header: bool | None
) -> CsvOptions:
    """What the options of a command say about text."""
    from densekit.cli.io.csv_format import CsvOptions

    return CsvOptions(sep, decimal, encoding, header)


def open_data(path: Path, options: CsvOptions, reporter: Reporter) -> Table:
    """Open a table, and say how it was read where it is not plain."""
    from densekit.cli.io.readers import open_table

    table = open_table(path, options)
    for note in table.notes:
        reporter.say(note)
    return table
