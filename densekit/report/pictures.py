"""The pictures of a report, drawn without pyplot and held as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from densekit.exceptions import MissingExtraError
from densekit.plots import ImageGrid, LatentDisplay, PairDisplay, TrainingDisplay, tools
from densekit.plots.density import DensityDisplay
from densekit.plots.latents import latents_and_base
from densekit.report.subject import Part, Subject

MAX_PAIR_COLUMNS = 3
WIDTH = 6.4  # inches of a figure, which a page stretches to its own width
NARROW_PAGE, READABLE = 400, 9.0  # pixels of a phone's page, and of the smallest letters on it


@dataclass(frozen=True)
class Picture:
    """An image for a page: ``<img src=uri alt=alt>``, and a caption under it."""

    uri: str
    alt: str
    caption: str


def draw(
    plot: Callable[[Any], Any], size: tuple[float, float], *, alt: str, caption: str
) -> Picture:
    """Call a display's `plot` with an axes of a new figure of so many inches.

    Letters are made as large as a page of 400 pixels needs.
    """
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.text import Text
    except ImportError:
        raise MissingExtraError(
            "write_report needs matplotlib: pip install 'densekit[report]'."
        ) from None
    figure = Figure(figsize=size, layout="constrained", dpi=150)  # of what is not drawn in lines
    FigureCanvasSVG(figure)
    plot(figure.subplots())
    points = READABLE / NARROW_PAGE * size[0] * 72
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), points))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/svg+xml;base64,{data}", alt, caption)


def training(subject: Subject) -> Picture | None:
    """The course of the fit; None where there were no epochs."""
    history = subject.estimator.history_
    if not history.n_epochs:
        return None
    display = TrainingDisplay(history)
    return draw(
        lambda ax: display.plot(ax=ax),
        (WIDTH, 4.6),
        alt="Log-likelihood and learning rate over epochs",
        caption="Mean log-likelihood of each epoch; the weights of the marked epoch were kept.",
    )


def scores(rows: NDArray[np.float64], samples: NDArray[np.float64]) -> Picture | None:
    """Histograms of the nats of held-out rows and of samples."""
    finite = [part[np.isfinite(part)] for part in (rows, samples)]
    if not all(len(part) for part in finite):
        return None

    def plot(ax: Any) -> None:
        low, high = tools.limits(*finite, share=0.005)
        bins = np.linspace(low, high, 41 if min(map(len, finite)) > 200 else 16)
        of_rows, of_samples = [np.full(len(p), 1 / len(p)) for p in finite]
        clipped = [np.clip(part, low, high) for part in finite]
        ax.hist(clipped[0], bins, weights=of_rows, color=tools.GREY, alpha=0.55, label="rows")
        ax.hist(
            clipped[1], bins, weights=of_samples, histtype="step", color=tools.BLUE, linewidth=1.6,
            label="samples",
        )  # fmt: skip
        ax.set(xlabel="log-likelihood, nats per row", ylabel="share in each bin", xlim=(low, high))
        ax.legend()

    return draw(
        plot,
        (WIDTH, 3.4),
        alt="Histograms of the log-likelihood of held-out rows and of samples",
        caption="Where the density is right, rows and samples score alike. Values beyond the axis "
        "are counted in the outermost bins.",
    )


def latents(subject: Subject) -> tuple[Picture, LatentDisplay] | None:
    """Latents against the base; None without latents."""
    if not subject.has_latents:
        return None
    part = subject.scored
    values, base, names = latents_and_base(subject.estimator, part.X, part.y)
    display = LatentDisplay(values, base, names=names)
    picture = draw(
        lambda ax: display.plot(ax=ax, is_stacked=True),
        (WIDTH, 9.6),
        alt="Quantiles and probability integral transforms of latents against the base",
        caption="Each curve is a column of the latents, and one more their log-density under the "
        "base. Below, curves stay inside the band with a probability of 95% if the fit is right.",
    )
    return picture, display


def beside_samples(subject: Subject, samples: Any, sampled: Part) -> list[Picture]:
    """Data beside samples, as images or as a corner plot."""
    if subject.images is not None:
        n = min(len(sampled), len(subject.scored))
        return [
            image_grid(subject, subject.scored.table[:n], "Held-out images"),
            image_grid(subject, sampled.table[:n], "Samples"),
        ]
    data = subject.scored.table
    if subject.is_discrete:
        return [_levels(data, sampled.table)]
    chosen = _most_different(data, sampled.table)
    names = [subject.names[i] for i in chosen]
    pictures = []
    if data.shape[1] <= 2 and not subject.has_numbers:
        pictures.append(_density(subject))
    if len(chosen) > 1 or not pictures:
        display = PairDisplay(data[:, chosen], sampled.table[:, chosen], names=names)
        which = "" if data.shape[1] <= len(chosen) else (
            f" Of {data.shape[1]} columns these {len(chosen)} differ the most."
        )  # fmt: skip
        pictures.append(
            draw(
                lambda ax: display.plot(ax=ax),
                (WIDTH, WIDTH if len(chosen) > 1 else 4.0),
                alt="Held-out rows beside samples, pair of columns by pair",
                caption=f"Dots are held-out rows, lines enclose half and 95% of samples.{which}",
            )
        )
    return pictures


def image_grid(subject: Subject, table: NDArray[np.float64], title: str) -> Picture:
    """Flat images in rows of eight."""
    images = subject.images
    if images is None:
        raise TypeError("image_grid got an estimator of tables.")
    height, width, n_channels = images.shape
    shape = (height, width) if n_channels == 1 else images.shape
    n_columns = min(8, len(table))
    n_rows = len(table) // n_columns
    grid = ImageGrid(
        table[: n_rows * n_columns].reshape(n_rows, n_columns, *shape),
        greatest=float(images.n_levels - 1),
    )
    return draw(
        lambda ax: grid.plot(ax=ax),
        (WIDTH, WIDTH * n_rows * height / (n_columns * width)),
        alt=f"{title}: a grid of {n_rows * n_columns} images of {height} x {width} pixels",
        caption=f"{title}: black is level 0, white level {images.n_levels - 1}.",
    )


def _density(subject: Subject) -> Picture:
    X = subject.scored.X
    return draw(
        lambda ax: DensityDisplay.from_estimator(subject.estimator, X, ax=ax),
        (WIDTH, 4.9),
        alt="The fitted density with held-out rows",
        caption="The fitted density with held-out rows.",
    )


def _levels(data: NDArray[np.float64], samples: NDArray[np.float64]) -> Picture:
    """Means and correlations of columns of levels, in rows and in samples; dots would coincide."""

    def plot(ax: Any) -> None:
        axes = tools.grid_of_axes(ax, 2, 1, source="write_report", figsize=(WIDTH, 8.4))[:, 0]
        means = [data.mean(axis=0), samples.mean(axis=0)]
        can_vary = np.array([part.std(axis=0) > 0 for part in (data, samples)]).all(axis=0)
        pairs = np.triu_indices(int(can_vary.sum()), 1)
        both = [np.atleast_2d(np.corrcoef(part[:, can_vary].T)) for part in (data, samples)]
        found = [means, [part[pairs] for part in both]] if len(pairs[0]) else [means]
        titles = ["Mean of each column", "Correlation of each pair of columns"]
        for axis, title, (of_rows, of_samples) in zip(axes, titles, found, strict=False):
            low, high = tools.limits(of_rows, of_samples, share=0)
            axis.plot([low, high], [low, high], color=tools.BLACK, linewidth=1)
            axis.plot(of_rows, of_samples, "o", markersize=4, color=tools.BLUE, alpha=0.6)
            axis.set(title=title, xlabel="held-out rows, levels", ylabel="samples, levels")
        axes[1].set(xlabel="held-out rows, no unit", ylabel="samples, no unit")

    return draw(
        plot,
        (WIDTH, 8.4),
        alt="Means and correlations of columns in held-out rows and in samples",
        caption="On the diagonal, samples are as held-out rows are.",
    )


def _most_different(data: NDArray[np.float64], samples: NDArray[np.float64]) -> list[int]:
    """The columns whose distributions differ the most, in the order of the table."""
    gaps = [
        ks_2samp(of_data, of_samples, method="asymp").statistic
        for of_data, of_samples in zip(data.T, samples.T, strict=True)
    ]
    return sorted(np.argsort(gaps)[::-1][:MAX_PAIR_COLUMNS].tolist())
