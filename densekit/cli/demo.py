"""``densekit demo``: what densekit is for, in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densekit.cli.app import command


@command("densekit demo", "densekit demo --max-epochs 5 --picture demo.png")
def demo(
    ctx: typer.Context,
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
    from densekit.cli import demonstration

    demonstration.run(picture, max_epochs=max_epochs, random_state=random_state, reporter=ctx.obj)
