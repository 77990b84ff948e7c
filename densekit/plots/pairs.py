"""Data beside samples, column by column and pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.exceptions import PictureError
from densekit.plots import tools

MAX_COLUMNS = 4
MIN_SAMPLES, MAX_SAMPLES = 2000, 20_000


class PairDisplay:
    """A corner plot: dots of data under contour lines of samples, and histograms of both.

    The lines enclose half and 95 % of the samples. Where they follow the dots, the samples look
    like the data in these columns.

    Parameters
    ----------
    data, samples : ndarray of shape (n, n_columns)
    names : list of str
        Of the columns; a unit may be written after a comma.
    condition : str, default=""
        What the samples are given, for the legend.

    Attributes
    ----------
    axes_ : ndarray of shape (n_columns, n_columns)
        After `plot`; those above the diagonal are empty.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from densekit import MAFEstimator
    >>> from densekit.plots import PairDisplay
    >>> X = load_iris(as_frame=True).data
    >>> model = MAFEstimator(max_epochs=5, random_state=0).fit(X)
    >>> display = PairDisplay.from_estimator(model, X, columns=[0, 2, 3], random_state=0)
    >>> display.axes_.shape
    (3, 3)
    """

    def __init__(
        self,
        data: NDArray[np.float64],
        samples: NDArray[np.float64],
        *,
        names: list[str],
        condition: str = "",
    ):
        self.data, self.samples, self.names = data, samples, names
        self.condition = condition

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        columns: tools.Columns = None,
        y: Any = None,
        conditions: Any = None,
        n_samples: int | None = None,
        random_state: Any = None,
        ax: Any = None,
    ) -> PairDisplay:
        """Draw the rows of X beside samples of a fitted estimator.

        Parameters
        ----------
        estimator : DensityEstimator
            Fitted on a table.
        X : array or data frame of shape (n_samples, n_features)
        columns : a name or number, or a sequence of them, optional
            By default the first four.
        y : array-like, optional
            The conditions of the samples, of a conditional estimator: one, or one for each row of
            X.
        conditions : array-like, optional
            The condition of each row of X. With it and one `y`, the rows of that label are drawn,
            or the tenth of the rows whose numbers are nearest; without it all rows are.
        n_samples : int, optional
            By default ten for each row of X, from 2000 to 20,000. With a `y` for each row there
            is one for each row.
        random_state : int, RandomState or None, default=None
        ax : matplotlib Axes, optional
            Its place is shared out; a new figure otherwise.

        Raises
        ------
        PictureError
            A ValueError: there is no such column.
        """
        table, names = tools.as_table(X, "PairDisplay")
        chosen = tools.choose_columns(columns, names, at_most=MAX_COLUMNS, source="PairDisplay")
        if n_samples is None:
            n_samples = int(np.clip(10 * len(table), MIN_SAMPLES, MAX_SAMPLES))
        condition = {} if y is None else {"y": y}
        is_row_by_row = y is not None and np.ndim(y) > 0 and len(y) > 1
        samples = estimator.sample(1 if is_row_by_row else n_samples, random_state, **condition)
        rows = tools.as_table(samples, "PairDisplay")[0]
        condition_text = ""
        if y is not None and not is_row_by_row:
            condition_text = f"given y = {tools.condition_text(y)}"
            if conditions is not None:
                has_labels = hasattr(estimator, "classes_")
                near = tools.near_condition(
                    conditions, y, has_labels=has_labels, source="PairDisplay"
                )
                table = table[near]
        display = cls(
            table[:, chosen],
            rows[:, chosen],
            names=[names[i] for i in chosen],
            condition=condition_text,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> PairDisplay:
        """Draw the corner plot.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Its place is shared out; a new figure otherwise, not shown by itself.
        """
        n = len(self.names)
        if self.data.shape[1] != n or self.samples.shape[1] != n:
            raise PictureError(
                f"PairDisplay got {n} names for {self.data.shape[1]} columns of data and "
                f"{self.samples.shape[1]} of samples."
            )
        side = 1.9 * n + 0.9
        axes = tools.grid_of_axes(ax, n, n, source="PairDisplay", figsize=(side, side))
        self.axes_, self.figure_ = axes, axes[0, 0].figure
        ends = [tools.limits(self.data[:, i]) for i in range(n)]
        for i in range(n):
            self._plot_column(axes[i, i], i, ends[i])
            for j in range(n):
                if j < i:
                    self._plot_pair(axes[i, j], j, i, (ends[j], ends[i]))
                if j > i:
                    axes[i, j].set_axis_off()
        self._write_labels()
        return self

    def _plot_column(self, ax: Any, i: int, ends: tuple[float, float]) -> None:
        bins = np.linspace(*ends, int(np.clip(np.sqrt(len(self.data)), 10, 50)) + 1)
        for values, style in (
            (self.data[:, i], {"color": tools.GREY, "alpha": 0.55}),
            (self.samples[:, i], {"histtype": "step", "color": tools.BLUE, "linewidth": 1.5}),
        ):
            # Of all numbers, also of those that are out of sight.
            weight = 1 / (len(values) * (bins[1] - bins[0]))
            ax.hist(values, bins, weights=np.full(len(values), weight), **style)
        ax.set(xlim=ends, yticks=[])

    def _plot_pair(
        self, ax: Any, i: int, j: int, ends: tuple[tuple[float, float], tuple[float, float]]
    ) -> None:
        ax.plot(
            *tools.thinned(self.data[:, [i, j]]).T, "o", markersize=2.5, color=tools.GREY,
            alpha=0.5, markeredgewidth=0, rasterized=True,
        )  # fmt: skip
        grid, density = tools.smoothed_histogram(self.samples[:, [i, j]], ends)
        levels = tools.enclosing_levels(density, tools.SHARES)
        if levels[-1] > 0:  # or no sample is in sight
            ax.contour(
                *grid, density, levels, colors=tools.BLUE, linewidths=1.3,
                linestyles=["dashed", "solid"][-len(levels) :],
            )  # fmt: skip
        ax.set(xlim=ends[0], ylim=ends[1])

    def _write_labels(self) -> None:
        """Names along the outer edges, and one legend in the empty corner."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        n, axes = len(self.names), self.axes_
        for i, name in enumerate(map(tools.shown, self.names)):
            axes[n - 1, i].set_xlabel(_folded(name))
            if i:
                axes[i, 0].set_ylabel(_folded(name))
            for j in range(i + 1):
                axes[i, j].tick_params(labelsize=8, labelbottom=i == n - 1)
                axes[i, j].tick_params(labelleft=j == 0 and i > 0)
                axes[i, j].locator_params(axis="x", nbins=4)
        axes[0, 0].set_ylabel("density,\n1 / unit of x", fontsize=8)
        handles: list[Any] = [Patch(color=tools.GREY, alpha=0.55, label="data")]
        lines = {"samples (half inside)": "solid", "samples (95% inside)": "dashed"}
        for label, style in (lines if n > 1 else {"samples": "solid"}).items():
            handles.append(Line2D([], [], color=tools.BLUE, linestyle=style, label=label))
        title = tools.shown(self.condition) if self.condition else None
        axes[0, n - 1].legend(handles=handles, loc="upper right", fontsize=8, title=title)


def _folded(name: str, width: int = 18) -> str:
    """A long name on two lines."""
    if len(name) <= width or " " not in name:
        return name
    middle = min(
        (i for i, letter in enumerate(name) if letter == " "), key=lambda i: abs(i - len(name) / 2)
    )
    return f"{name[:middle]}\n{name[middle + 1 :]}"
