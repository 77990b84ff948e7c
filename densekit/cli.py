"""The command line. Commands import what they need when they run, so `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from densekit import registry
from densekit.errors import DensekitError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Density estimators for tables of numbers.",
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Density estimators for tables of numbers."""


@app.command()
def plugins() -> None:
    """List every elementwise map, transform, base and estimator that is installed.

    Nothing is imported for it, so a broken plugin is listed like the others.
    """
    table = Table(title="densekit plugins")
    for heading in ("group", "name", "distribution", "version", "class"):
        table.add_column(heading, overflow="fold")
    for plugin in registry.plugins():
        table.add_row(plugin.group, plugin.name, plugin.distribution, plugin.version, plugin.target)
    Console().print(table)


@app.command()
def demo(
    picture: Annotated[
        Path, typer.Option(help="Where to write the picture of data beside samples.")
    ] = Path("densekit-demo.png"),
    max_epochs: Annotated[
        int, typer.Option(min=1, help="Most epochs of each flow; the default trains to the end.")
    ] = 500,
    random_state: Annotated[int, typer.Option(help="Seed of the split and the fits.")] = 0,
) -> None:
    """Fit flows beside scikit-learn's estimators on real data and compare them.

    Rows of scikit-learn's breast-cancer measurements are held out; MAF, RealNVP and a spline flow
    are fitted beside KernelDensity and GaussianMixture. Prints one table and the five strangest
    rows, and writes one picture.
    """
    from densekit import demo as demonstration

    try:
        demonstration.run(picture, max_epochs=max_epochs, random_state=random_state)
    except DensekitError as error:
        Console(stderr=True).print(f"densekit demo: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
