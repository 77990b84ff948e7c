"""``densekit plugins``: what is installed."""

from __future__ import annotations

from typing import Annotated

import typer

from densekit import discovery
from densekit.cli.app import command
from densekit.cli.reporter import Reporter


@command("densekit plugins", "densekit plugins --group estimators")
def plugins(
    ctx: typer.Context,
    group: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(discovery.GROUPS)}; all by default.")
    ] = None,
) -> None:
    """List every map, layer, base and estimator that is installed.

    Nothing is imported for it, so a broken plugin is listed like the others.
    """
    from rich.table import Table

    reporter: Reporter = ctx.obj
    if group is not None and group not in discovery.GROUPS:
        raise typer.BadParameter(f"--group {group!r} is none of {', '.join(discovery.GROUPS)}.")
    table = Table(title="densekit plugins")
    for heading in ("group", "name", "distribution", "version", "class"):
        table.add_column(heading, overflow="fold")
    for plugin in discovery.plugins():
        if group in (None, plugin.group):
            row = (plugin.group, plugin.name, plugin.distribution, plugin.version, plugin.target)
            table.add_row(*row)
    reporter.table(table)
