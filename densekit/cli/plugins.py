"""``densekit plugins``: what is installed."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from densekit import discovery
from densekit.cli.app import command
from densekit.cli.reporter import Listing, Reporter


@command("densekit plugins", "densekit plugins --group estimators --json")
def plugins(
    ctx: typer.Context,
    group: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(discovery.GROUPS)}; all by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an array of objects for programs.")
    ] = False,
) -> None:
    """List every map, layer, base and estimator that is installed.

    Nothing is imported for it, so a broken plugin is listed like the others.
    """
    reporter: Reporter = ctx.obj
    if group is not None and group not in discovery.GROUPS:
        raise typer.BadParameter(f"--group {group!r} is none of {', '.join(discovery.GROUPS)}.")
    found = [plugin for plugin in discovery.plugins() if group in (None, plugin.group)]
    if as_json:
        objects = [
            {"class" if key == "target" else key: value for key, value in row.items()}
            for row in map(dataclasses.asdict, found)
        ]
        reporter.result(json.dumps(objects, indent=2) + "\n")
        return
    rows = [(p.group, p.name, p.distribution, p.version, p.target) for p in found]
    headings = ("group", "name", "distribution", "version", "class")
    reporter.table(Listing("densekit plugins", headings, rows, n_texts=len(headings)))
