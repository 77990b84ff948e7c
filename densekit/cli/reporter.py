"""What commands say: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any, TextIO

import typer

SECONDS_BETWEEN_LINES = 10.0  # of progress in a log


def printable(text: str) -> str:
    """The text with control characters as escapes, such as ``\\x1b``: names come from data."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Listing:
    """A table for people.

    Attributes
    ----------
    title : str
    headings : sequence of str
    rows : sequence of sequences of str
    n_texts : int
        The first so many columns are texts, which are shown whole; the others are numbers.
    caption : str, optional
    has_header : bool, default=True
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_texts: int
    caption: str | None = None
    has_header: bool = True


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
        # Where messages go even while bars are turned into lines, which leaves most of them out.
        self._log: TextIO | None = sys.stderr

    @property
    def has_terminal(self) -> bool:
        """Whether somebody looks on."""
        return self._log is not None and self._log.isatty()

    @property
    def shows_bars(self) -> bool:
        """Whether estimators may show their progress, for which there must be a stream."""
        return not self.is_quiet and sys.stderr is not None

    def say(self, message: str) -> None:
        """Print a line on standard error."""
        if not self.is_quiet:
            self._print(message)

    def error(self, message: str) -> None:
        """Print a line on standard error, quiet or not."""
        self._print(typer.style(printable(message), fg="red"), is_styled=True)

    def result(self, text: str) -> None:
        """Print lines on standard output, all of them or an error."""
        from densekit.cli.io.outputs import StandardOutput

        output = StandardOutput()
        output.write(text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "replace"))
        output.flush()

    def table(self, listing: Listing) -> None:
        """Print a table on standard output; no name in it is read as markup."""
        from rich.console import Console
        from rich.table import Table

        from densekit.cli.io.outputs import StandardOutput

        table = Table(
            title=printable(listing.title),
            caption=listing.caption,
            show_header=listing.has_header,
        )
        for i, heading in enumerate(listing.headings):
            is_text = i < listing.n_texts
            table.add_column(
                heading, justify="left" if is_text else "right", overflow="fold", no_wrap=False
            )
        for row in listing.rows:
            table.add_row(*map(printable, row))
        console = Console(markup=False, emoji=False, highlight=False)
        with StandardOutput().explained(), console.capture() as captured:
            console.print(table)
        self.result(captured.get())

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
        if self.has_terminal or self.is_quiet or sys.stderr is None:
            yield
            return
        with redirect_stderr(_BarsAsLines(sys.stderr)):
            yield

    def _print(self, message: str, *, is_styled: bool = False) -> None:
        # Where standard error cannot be written, there is nowhere to say so.
        with contextlib.suppress(OSError, ValueError):
            typer.echo(message if is_styled else printable(message), file=self._log, err=True)


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
    """A stream that turns the states of a bar, which overwrite one another, into lines.

    What is no bar goes through as it is.
    """

    encoding = "ascii"  # bars without block characters; they are cut out anyway

    def __init__(self, log: TextIO):
        super().__init__()
        self._log: Any = log
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES
        self._is_in_a_bar = True

    def write(self, text: str) -> int:
        if text.startswith("\r"):
            self._is_in_a_bar = True
        elif text.strip():
            self._is_in_a_bar = False
        if not self._is_in_a_bar:
            self._log.write(text)
            self._log.flush()
            return len(text)
        line = " ".join(re.sub(r"\|[^|]*\|", "", text).split())
        if line and time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            self._log.write(line + "\n")
            self._log.flush()
        return len(text)
