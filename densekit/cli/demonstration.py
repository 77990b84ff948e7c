"""What `densekit demo` shows: flows beside scikit-learn's estimators on real data."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from densekit import registry
from densekit.cli import comparison
from densekit.cli.comparison import Fit, Result
from densekit.cli.reporter import Listing, Reporter
from densekit.exceptions import MissingExtraError, PictureError
from densekit.persistence.replacing import replacing

FLOWS = ("maf", "realnvp", "nsf")
N_STRANGEST = 5
SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
PAIRS = (
    ("mean radius", "mean texture"),
    ("mean area", "mean smoothness"),
    ("worst concavity", "worst symmetry"),
)


def run(picture: Path, *, max_epochs: int, random_state: int, reporter: Reporter) -> None:
    """Fit, compare, print and draw."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("The picture needs matplotlib: pip install 'densekit[plots]'.")
    if not picture.parent.is_dir() or picture.suffix not in SUFFIXES:
        raise PictureError(
            f"--picture got {str(picture)!r}, expected a file in a folder that exists, with one of "
            f"the endings {', '.join(SUFFIXES)}."
        )
    data = load_breast_cancer(as_frame=True).data
    train, test = train_test_split(data, test_size=0.2, random_state=random_state)
    reporter.say(
        f"Breast-cancer measurements: {train.shape[1]} columns, {len(train)} rows to fit, "
        f"{len(test)} held out."
    )
    quiet = not reporter.shows_bars
    fits = comparison.peer_fits(train, random_state, is_quiet=quiet)
    fits |= {name: _flow(name, train, max_epochs, random_state, quiet) for name in FLOWS}
    with reporter.bars_as_lines():
        results = comparison.measure(fits, test, random_state, what="densekit demo", is_quiet=quiet)
    best = next(result for result in results if result.name in FLOWS)
    reporter.table(comparison.table(results))
    reporter.table(_strangest(test, best))
    _draw(test, best, picture)
    reporter.say(f"Picture of data beside samples of {best.name}: {picture}")


def _flow(name: str, train: Any, max_epochs: int, seed: int, is_quiet: bool) -> Fit:
    estimator = registry.make_estimator(
        name, max_epochs=max_epochs, random_state=seed, verbose=int(not is_quiet)
    )
    return lambda: estimator.fit(train)


def _strangest(test: pd.DataFrame, best: Result) -> Listing:
    """The held-out rows of the least density, with the column that lies farthest out in each."""
    centre, spread = test.median(), test.quantile(0.75) - test.quantile(0.25)
    rows = []
    for index in np.argsort(best.scores)[:N_STRANGEST]:
        row = test.iloc[index]
        distance = (row - centre) / spread
        column = distance.abs().idxmax()
        text = f"{column} = {row[column]:.4g} ({distance[column]:+.1f})"
        rows.append((text, str(test.index[index]), f"{best.scores[index]:.1f}"))
    return Listing(
        f"The {N_STRANGEST} strangest held-out rows, by {best.name}",
        ("farthest out (interquartile ranges from the median)", "row", "nats"),
        rows,
        n_texts=1,
    )


def _draw(test: pd.DataFrame, best: Result, picture: Path) -> None:
    """Write a picture: held-out rows above, as many samples below, on the same axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    samples = pd.DataFrame(best.samples[: len(test)], columns=test.columns)
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(PAIRS), sharex="col", sharey="col")
    rows = [("held-out rows", test, "C0"), (f"samples of {best.name}", samples, "C1")]
    for line, (title, frame, colour) in zip(axes, rows, strict=True):
        for ax, (x, y) in zip(line, PAIRS, strict=True):
            ax.scatter(frame[x], frame[y], s=14, color=colour, alpha=0.6, linewidths=0)
            ax.set(title=title, xlabel=x, ylabel=y)
    figure.suptitle("Breast-cancer measurements: data beside samples")
    with replacing(picture) as file:
        figure.savefig(file, format=picture.suffix[1:], dpi=150)
