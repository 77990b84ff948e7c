"""What several pictures need: matplotlib or an error, axes, colours, tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.utils.validation import check_array, check_is_fitted

from densekit.data.frames import column_index
from densekit.exceptions import MissingExtraError, PictureError

# Of Okabe and Ito (2008): told apart by colour-blind eyes, and by their darkness in grey print.
BLUE, ORANGE, GREY, BLACK = "#0072B2", "#E69F00", "#8C8C8C", "#000000"
STYLES = ("solid", "dashed", "dotted")
SHARES = (0.5, 0.95)  # of the mass, inside contour lines
MAX_DOTS = 2000  # more blot a picture and swell its file
CELLS = 96  # of a smoothed histogram, along each side
MAX_LABEL = 60  # characters of a name
SHARE_NEAR, MIN_NEAR = 0.1, 50  # of the rows, whose conditions are called near
Columns = int | str | Sequence[int | str] | None


def import_pyplot(source: str) -> Any:
    """Import matplotlib's pyplot.

    Raises
    ------
    MissingExtraError
        An ImportError that says what to install.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtraError(
            f"{source} needs matplotlib: pip install 'densekit[plots]'."
        ) from None
    return pyplot


def grid_of_axes(
    ax: Any,
    n_rows: int,
    n_columns: int,
    *,
    source: str,
    figsize: tuple[float, float],
    sharex: Any = False,
    **options: Any,
) -> NDArray[Any]:
    """Axes of shape (n_rows, n_columns): in a new figure, or in the place of `ax`.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Made invisible; what is drawn shares out its place.
    n_rows, n_columns : int
    source : str
        Name of the display, for errors.
    figsize : (width, height)
        Of a new figure, in inches.
    sharex : bool or str, default=False
    **options
        Of matplotlib's ``GridSpec``, such as ``height_ratios``.
    """
    if ax is None:
        figure = import_pyplot(source).figure(figsize=figsize, layout="constrained")
        grid = figure.add_gridspec(n_rows, n_columns, **options)
    else:
        place = ax.get_subplotspec()
        if place is None:
            raise PictureError(
                f"{source} got an `ax` outside of a grid; make it by plt.subplots()."
            )
        ax.set_axis_off()
        figure, grid = ax.figure, place.subgridspec(n_rows, n_columns, **options)
    axes: NDArray[Any] = grid.subplots(sharex=sharex, squeeze=False)
    return axes


def one_axes(ax: Any, *, source: str, figsize: tuple[float, float]) -> Any:
    """The given axes, or those of a new figure."""
    if ax is not None:
        return ax
    return import_pyplot(source).subplots(figsize=figsize, layout="constrained")[1]


def as_table(X: Any, source: str) -> tuple[NDArray[np.float64], list[str]]:
    """Finite numbers (n_samples, n_features) and the names of their columns."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    values = check_array(X, dtype=np.float64, input_name="X", estimator=source)
    if isinstance(frame, nw.DataFrame):
        return values, [str(name) for name in frame.columns]
    return values, [f"column {i}" for i in range(values.shape[1])]


def rows_like_fitted(estimator: Any, rows: NDArray[np.float64]) -> Any:
    """Rows as an estimator takes them: under the names of the columns that it was fitted on."""
    check_is_fitted(estimator)
    names = getattr(estimator, "feature_names_in_", None)
    return rows if names is None else pd.DataFrame(rows, columns=names)


def shown(name: object, at_most: int = MAX_LABEL) -> str:
    """A name from data as matplotlib shows it letter by letter: no formula, no hidden label."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(name))
    text = text if len(text) <= at_most else f"{text[: at_most - 1]}…"
    text = text.replace("\\", "\\\u200b") if "\\$" in text else text
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # which legends would leave out


def condition_text(y: Any) -> str:
    """One condition in words: a label, or numbers with commas."""
    values = np.asarray(y).ravel()
    if values.dtype.kind == "f":
        return ", ".join(f"{value:.4g}" for value in values)
    return ", ".join(str(value) for value in values)


def near_condition(conditions: Any, y: Any, *, has_labels: bool, source: str) -> NDArray[np.intp]:
    """Index of rows whose condition is the label `y`, or that are nearest to the numbers `y`.

    Near are a tenth of the rows, and fifty at least, in robust spreads of each number.
    """
    values, one = np.asarray(conditions), np.asarray(y)
    if has_labels:
        return np.flatnonzero(values.reshape(-1) == one.reshape(-1)[0])
    values = values.reshape(len(values), -1).astype(np.float64)
    one = one.reshape(1, -1).astype(np.float64)
    if one.shape[1] != values.shape[1]:
        raise PictureError(
            f"{source} got conditions of {values.shape[1]} columns, expected as many as y has, "
            f"{one.shape[1]}."
        )
    low, high = np.quantile(values, [0.16, 0.84], axis=0)
    scale = np.where(high > low, (high - low) / 2, 1.0)
    distance = (((values - one) / scale) ** 2).sum(axis=1)
    n_near = min(len(values), max(MIN_NEAR, round(SHARE_NEAR * len(values))))
    return np.sort(np.argsort(distance, kind="stable")[:n_near])


def choose_columns(
    columns: Columns, names: Sequence[str], *, at_most: int, source: str
) -> list[int]:
    """Places of columns that are given by name or number; the first few if none are given.

    Raises
    ------
    PictureError
        A ValueError: there is no such column.
    """
    if columns is None:
        return list(range(min(at_most, len(names))))
    if isinstance(columns, str | int | np.integer):
        columns = [columns]
    places = [column_index(key, names, len(names)) for key in columns]
    unknown = [key for key, place in zip(columns, places, strict=True) if place is None]
    if unknown or not places:
        raise PictureError(
            f"{source} got columns={list(columns)!r}, expected one or more of {list(names)}, or "
            f"their numbers from 0 to {len(names) - 1}."
        )
    return [place for place in places if place is not None]


def thinned(rows: NDArray[np.float64], at_most: int = MAX_DOTS) -> NDArray[np.float64]:
    """At most so many rows, evenly spread over the table."""
    if len(rows) <= at_most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, at_most).astype(int)]


def limits(*parts: NDArray[np.float64], share: float = 0.001) -> tuple[float, float]:
    """Ends of an axis that leave out the outermost share of the numbers on each side."""
    lows, highs = zip(*(np.quantile(part, [share, 1 - share]) for part in parts), strict=True)
    low, high = float(min(lows)), float(max(highs))
    margin = 0.05 * (high - low) or max(1e-3, 1e-3 * abs(low))
    return low - margin, high + margin


def smoothed_histogram(
    rows: NDArray[np.float64], ends: Sequence[tuple[float, float]]
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Centres of cells, and the density in them, of rows (n, 1 or 2), smoothed by Scott's rule.

    The density has shape (CELLS,) or (CELLS, CELLS): the second column runs along the first axis,
    as matplotlib's ``contour`` likes it.
    """
    counts, edges = np.histogramdd(rows, bins=CELLS, range=ends)
    widths = np.array([high - low for low, high in ends]) / CELLS
    lows, highs = np.quantile(rows, [0.16, 0.84], axis=0)
    spread = np.minimum(rows.std(axis=0), (highs - lows) / 2)  # of the bulk, where there are tails
    # Across a ridge there is less room than either column alone would say.
    across = 1.0 if len(ends) == 1 else np.sqrt(max(0.02, 1 - _correlation(rows, ends) ** 2))
    scott = len(rows) ** (-1 / (4 + len(ends)))
    sigma = np.clip(0.7 * across * spread * scott / widths, 0.7, CELLS / 8)
    density = gaussian_filter(counts, sigma, mode="constant") / (len(rows) * widths.prod())
    return [(edge[1:] + edge[:-1]) / 2 for edge in edges], density.T


def _correlation(rows: NDArray[np.float64], ends: Sequence[tuple[float, float]]) -> float:
    """Of the rows in sight."""
    low, high = np.array(ends).T
    seen = rows[((rows >= low) & (rows <= high)).all(axis=1)]
    if len(seen) < 3 or not (seen.std(axis=0) > 0).all():
        return 0.0
    return float(np.corrcoef(seen.T)[0, 1])


def enclosing_levels(density: NDArray[np.float64], shares: Sequence[float]) -> list[float]:
    """Heights whose contours are the smallest regions that hold the shares of the mass, rising.

    Equal cells are taken for granted. Heights that coincide are given once.
    """
    heights = np.sort(density, axis=None)[::-1]
    mass = np.cumsum(heights)
    places = [np.searchsorted(mass, share * mass[-1]) for share in sorted(shares, reverse=True)]
    found = [float(heights[min(place, heights.size - 1)]) for place in places]
    return sorted(set(found))
