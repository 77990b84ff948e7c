"""``densekit check``: the contract kit over an installed plugin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from densekit import discovery, registry
from densekit.cli.app import command
from densekit.cli.reporter import Listing, Reporter, printable
from densekit.exceptions import UnknownNameError

if TYPE_CHECKING:
    from densekit.testing import Case


@command("densekit check spline", "densekit check transforms:reverse")
def check(
    ctx: typer.Context,
    plugin: Annotated[
        str,
        typer.Argument(
            metavar="PLUGIN",
            help="A distribution, such as densekit-example, or a name, also as GROUP:NAME or "
            "DISTRIBUTION:NAME.",
            show_default=False,
        ),
    ],
) -> None:
    """Hold a plugin to the laws of its group: run the contract kit over all its cases.

    Prints a table of cases, and each law that is broken. The exit code is 1 where one is.
    """
    reporter: Reporter = ctx.obj
    found = _find(plugin)
    rows: list[tuple[str, ...]] = []
    broken: list[str] = []
    for group, case in _cases(found):
        start = time.perf_counter()
        n_laws, complaints = _run(case, reporter)
        seconds = f"{time.perf_counter() - start:.1f}"
        rows.append((group, str(case), str(n_laws), str(len(complaints)), seconds))
        broken += complaints
    headings = ("group", "case", "laws", "broken", "seconds")
    reporter.table(Listing(f"densekit check {plugin}", headings, rows, n_texts=2))
    for complaint in broken:
        reporter.result(printable(complaint) + "\n")
    if broken:
        reporter.error(f"densekit check: {plugin} breaks {len(broken)} laws")
        raise typer.Exit(1)
    reporter.say(f"{plugin} keeps every law")


def _find(plugin: str) -> list[discovery.Plugin]:
    """What a word means: everything of a distribution, or what has the name."""
    known = discovery.plugins()
    by_distribution = [p for p in known if p.distribution == plugin]
    found = by_distribution or [
        p for p in known if plugin in (p.name, p.qualified_name, f"{p.group}:{p.name}")
    ]
    if not found:
        distributions = ", ".join(sorted({p.distribution for p in known}))
        raise UnknownNameError(
            f"There is no plugin and no distribution with plugins named {plugin!r}; the "
            f"distributions are {distributions}, and `densekit plugins` lists the names."
        )
    return found


def _cases(plugins: list[discovery.Plugin]) -> list[tuple[str, Case]]:
    """Cases of each class once, though it may have several names."""
    owners: dict[Any, str] = {}
    for plugin in plugins:
        target = registry.load(plugin.group, plugin.qualified_name)
        owners.setdefault(registry.owner(target), plugin.group)
    return [(group, case) for owner, group in owners.items() for case in owner.example_cases()]


def _run(case: Case, reporter: Reporter) -> tuple[int, list[str]]:
    """Run all checks on a case; how many there are, and what the broken ones say."""
    from densekit.testing import checks_for

    checks, complaints = checks_for(case), []
    for law in checks:
        try:
            law(case)
        except Exception as error:  # a plugin may fail in any way
            if reporter.is_debug:
                raise
            text = " ".join(str(error).split())
            complaints.append(f"{case}: {law.__name__}: {type(error).__name__}: {text}")
    return len(checks), complaints
