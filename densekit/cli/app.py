"""The application: global options, and what every command does the same way."""

from __future__ import annotations

import functools
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import densekit
from densekit.cli.reporter import Reporter
from densekit.exceptions import InterruptedFitWarning

ORDER = (  # of commands in the help: that of use
    *("fit", "score", "sample", "anomalies", "report", "compare"),
    *("info", "plugins", "check", "demo"),
)
GLOBAL_FLAGS = ("--quiet", "--debug")
EXIT_ERROR = 1  # 2 is typer's own, for usage
EXIT_INTERRUPTED = 130
EXIT_BY_SIGNAL = 128  # and the signal's number, as shells count
TERMINATIONS = ("SIGTERM", "SIGHUP")


class _WholeHelp:
    """Prints help whole, or says in one line why it cannot."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from densekit.cli.io.outputs import StandardOutput

        reporter = Reporter(is_quiet=False, is_debug=False)
        with _errors_in_one_line("--help", reporter), StandardOutput().explained():
            super().format_help(ctx, formatter)  # type: ignore[misc]
            sys.stdout.flush()


class Command(_WholeHelp, TyperCommand):
    """A command."""


class Group(_WholeHelp, TyperGroup):
    """Takes global flags wherever they stand, before the command or behind it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        flags = [word for word in args[:end] if word in GLOBAL_FLAGS]
        rest = [word for word in args[:end] if word not in GLOBAL_FLAGS]
        return super().parse_args(ctx, [*flags, *rest, *args[end:]])


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        reporter = Reporter(is_quiet=False, is_debug=False)
        with _errors_in_one_line("--version", reporter):
            reporter.result(f"densekit {densekit.__version__}\n")
        raise typer.Exit


@app.callback(epilog="Exit codes: 0 done; 1 an error of densekit or of the data; 2 wrong usage.")
def main(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", is_eager=True, callback=_print_version
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing but results and errors.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show an error with its traceback.")
    ] = False,
) -> None:
    """Density estimators for tables and images: fit, score, sample, find anomalies, report."""
    ctx.obj = Reporter(is_quiet=quiet, is_debug=debug)


def command(*examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first parameter is the `typer.Context`.

    Parameters
    ----------
    *examples : str
        Command lines for its help; the tests run them.
    """
    epilog = "\n\n".join(["Examples:", *(f"$ {example}" for example in examples)])

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            ctx = args[0] if args else kwargs["ctx"]
            with _errors_in_one_line(name, ctx.obj), _terminable(), _short_warnings(ctx.obj):
                function(*args, **kwargs)

        return app.command(name, cls=Command, epilog=epilog)(guarded)

    return decorate


@contextmanager
def _errors_in_one_line(name: str, reporter: Reporter) -> Iterator[None]:
    """Turn an error into one line on standard error and the exit code 1."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except (KeyboardInterrupt, InterruptedFitWarning):
        reporter.error(f"densekit {name}: interrupted; nothing was written")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except Exception as error:
        if reporter.is_debug:
            raise
        reporter.error(f"densekit {name}: {_in_one_line(error)}")
        raise typer.Exit(EXIT_ERROR) from None


def _in_one_line(error: Exception) -> str:
    """What an error says; one that nobody thought of says its class, and how to see more."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"there is not enough memory; take fewer rows or columns. {text}".strip()
    if isinstance(error, ValueError | TypeError | ImportError | OSError | RuntimeError) and text:
        return text
    return f"{type(error).__name__}: {text} (a defect of densekit or a plugin; see --debug)"


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a termination unwind the stack, so that drafts of files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A hang-up that is ignored, as under nohup, stays ignored.
    numbers = [getattr(signal, name) for name in TERMINATIONS if hasattr(signal, name)]
    before = {
        number: handler
        for number in numbers
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def unwind(number: int, *_: Any) -> None:
        for other in before:  # another one would stop the cleaning up
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(EXIT_BY_SIGNAL + number)

    for number in before:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _short_warnings(reporter: Reporter) -> Iterator[None]:
    """Show warnings that are meant for users in one line each, whatever the filters are.

    A fit that was interrupted ends the command: half a model is no result of it.
    """

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        reporter.say("warning: " + " ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("error", InterruptedFitWarning)
        warnings.showwarning = show
        yield
