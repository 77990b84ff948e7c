"""What commands say: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0  # of progress in a log


class Reporter:
    """Speaks for a command: bars on a terminal, plain lines in a log, nothing when quiet.

    Parameters
    ----------
    is_quiet : bool
        Whether messages and progress are left out; errors and results are not.
    is_debug : bool
        Whether errors keep their traceback.
    """

    def __init__(self, *, is_quiet: bool, is_debug: bool):
        self.is_quiet = is_quiet
        self.is_debug = is_debug

    @property
    def has_terminal(self) -> bool:
        """Whether somebody looks on."""
        return typer.get_text_stream("stderr").isatty()

    def say(self, message: str) -> None:
        """Print a line on standard error."""
        if not self.is_quiet:
            typer.echo(message, err=True)

    def error(self, message: str) -> None:
        """Print a line on standard error, quiet or not."""
        typer.secho(message, err=True, fg="red")

    def table(self, table: Table) -> None:
        """Print a table on standard output."""
        from rich.console import Console

        Console().print(table)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show how many rows are done; yields the function that is told of more."""
        if self.is_quiet:
            yield lambda n_rows: None
        elif self.has_terminal:
            with _bar(what, total) as advance:
                yield advance
        else:
            yield _Lines(self, what, total).advance

    @contextmanager
    def bars_as_lines(self) -> Iterator[None]:
        """Print the bars of tqdm as lines now and then, where they go to a log."""
        if self.has_terminal or self.is_quiet:
            yield
            return
        with redirect_stderr(_BarsAsLines(sys.stderr)):
            yield


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n_rows: progress.update(task, advance=n_rows)


class _Lines:
    """Progress in a log."""

    def __init__(self, reporter: Reporter, what: str, total: int | None):
        self._reporter = reporter
        self._what = what
        self._of_total = "" if total is None else f" of {total:,}"
        self._n_done = 0
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def advance(self, n_rows: int) -> None:
        self._n_done += n_rows
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            self._reporter.say(f"{self._what}: {self._n_done:,}{self._of_total} rows")


class _BarsAsLines(io.TextIOBase):
    """A stream that turns the states of a bar, which overwrite one another, into lines."""

    encoding = "ascii"  # bars without block characters; they are cut out anyway

    def __init__(self, log: TextIO):
        super().__init__()
        self._log = log
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def write(self, text: str) -> int:
        line = " ".join(re.sub(r"\|[^|]*\|", "", text).split())
        if line and time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            self._log.write(line + "\n")
            self._log.flush()
        return len(text)
