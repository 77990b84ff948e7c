"""The density of one column as a curve, of two as contours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.exceptions import PictureError
from densekit.plots import tools

N_SAMPLES = 20_000
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)


class DensityDisplay:
    """A density beside data: a curve over one column, contours over two.

    Contours enclose the smallest regions that hold a stated share of the mass. Where the
    estimator has no more columns than are drawn, its own density is drawn; where it has more, the
    *marginal* density of the chosen columns is, as a smoothed histogram of samples. Marginals are
    what dots of data can be compared with; a slice through the other columns is not.

    Parameters
    ----------
    grid : list of one or two ndarray of shape (n_grid,)
        Where the density is known, along each column.
    density : ndarray of shape (n_grid,) or (n_grid, n_grid)
        Density, not its logarithm; the second column runs along the first axis.
    data : ndarray of shape (n_samples, 1 or 2), optional
        Rows to draw with it.
    names : list of str
        Of the columns; a unit may be written after a comma.
    is_marginal : bool, default=False
        Whether the density is that of some columns of several.
    condition : str, default=""
        What the density is given, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from densekit import MAFEstimator
    >>> from densekit.plots import DensityDisplay
    >>> X = load_iris(as_frame=True).data
    >>> model = MAFEstimator(max_epochs=5, random_state=0).fit(X)
    >>> display = DensityDisplay.from_estimator(
    ...     model, X, columns=["petal length (cm)", "petal width (cm)"], random_state=0
    ... )
    >>> display.is_marginal
    True
    """

    def __init__(
        self,
        grid: list[NDArray[np.float64]],
        density: NDArray[np.float64],
        *,
        names: list[str],
        data: NDArray[np.float64] | None = None,
        is_marginal: bool = False,
        condition: str = "",
    ):
        self.grid, self.density, self.names = grid, density, names
        self.data, self.is_marginal, self.condition = data, is_marginal, condition

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        columns: tools.Columns = None,
        y: Any = None,
        conditions: Any = None,
        n_grid: int = 120,
        random_state: Any = None,
        ax: Any = None,
    ) -> DensityDisplay:
        """Draw the density of a fitted estimator with the rows of X.

        Parameters
        ----------
        estimator : DensityEstimator of real numbers
            Fitted.
        X : array or data frame of shape (n_samples, n_features)
            Drawn as dots, 2000 at most, and says how far the axes go.
        columns : a name or number, or two of them, optional
            By default the first two.
        y : label or numbers, optional
            The one condition that the density is drawn for, of a conditional estimator. Without it
            the density is the marginal over labels.
        conditions : array-like of shape (n_samples,) or (n_samples, n_conditions), optional
            The condition of each row of X. With it and `y`, the rows of that label are drawn, or
            the tenth of the rows whose numbers are nearest. Without it, no rows are drawn beside a
            density given `y`, since rows of other conditions are nothing to compare it with.
        n_grid : int, default=120
            Points along each column, for an estimator without further columns.
        random_state : int, RandomState or None, default=None
            Of the samples that a marginal density is drawn from.
        ax : matplotlib Axes, optional

        Raises
        ------
        PictureError
            A ValueError: there is no such column, there are more than two, or the estimator is one
            of levels, which have no density.
        """
        _check_real(estimator)
        table, names = tools.as_table(X, "DensityDisplay")
        chosen = tools.choose_columns(columns, names, at_most=2, source="DensityDisplay")
        if len(chosen) > 2:
            raise PictureError(f"DensityDisplay got {len(chosen)} columns, expected one or two.")
        is_marginal = len(chosen) < table.shape[1]
        ends = [tools.limits(column) for column in table[:, chosen].T]
        has_labels = hasattr(estimator, "classes_")
        given = None if y is None else _one_row(y, has_labels=has_labels)
        near = _rows_to_draw(table, given, conditions, has_labels=has_labels)
        data = table[near][:, chosen] if len(near) else None
        if is_marginal:
            condition = {} if given is None else {"y": given}
            samples = estimator.sample(N_SAMPLES, random_state, **condition)
            rows = tools.as_table(samples, "DensityDisplay")[0][:, chosen]
            grid, density = tools.smoothed_histogram(rows, ends)
        else:
            grid, density = _on_grid(estimator, ends, chosen, n_grid, given)
        chosen_names = [names[place] for place in chosen]
        display = cls(
            grid,
            density,
            names=chosen_names,
            data=data,
            is_marginal=is_marginal,
            condition="" if given is None else f"y = {tools.condition_text(given)}",
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> DensityDisplay:
        """Draw the density.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure otherwise, not shown by itself.
        """
        ax = tools.one_axes(ax, source="DensityDisplay", figsize=(5.6, 4.6))
        self.ax_, self.figure_ = ax, ax.figure
        self._plot_curve(ax) if len(self.grid) == 1 else self._plot_contours(ax)
        kind = "Marginal density" if self.is_marginal else "Density"
        of = " and ".join(map(tools.shown, self.names)) if self.is_marginal else ""
        title = f"{kind} of {of}" if of and len(of) < 45 else kind
        if self.condition:
            title += f"\ngiven {tools.shown(self.condition)}"
        ax.set_title(title)
        return self

    @property
    def _data_label(self) -> str:
        return "data of such a condition" if self.condition else "data"

    def _plot_curve(self, ax: Any) -> None:
        (name,) = map(tools.shown, self.names)
        if self.data is not None:
            n_bins = int(np.clip(2 * len(self.data) ** 0.4, 5, 60))
            bins = np.linspace(*ax_range(self.grid[0]), n_bins)
            ax.hist(
                self.data[:, 0],
                bins,
                density=True,
                color=tools.GREY,
                alpha=0.4,
                label=self._data_label,
            )
        ax.plot(self.grid[0], self.density, color=tools.BLUE, linewidth=2, label="density")
        ax.set_ylim(bottom=0)
        ax.legend(loc="best", framealpha=0.9, fontsize="small")
        ax.set(xlabel=name, ylabel=f"density, 1 / (unit of {name})")

    def _plot_contours(self, ax: Any) -> None:
        x, y = self.grid
        if self.density.max() > 0:
            self._plot_regions(ax)
        else:
            ax.text(0.5, 0.5, "no density in sight", transform=ax.transAxes, ha="center")
        if self.data is not None:
            ax.plot(
                *tools.thinned(self.data).T, "o", markersize=2.4, color=tools.BLACK,
                markeredgewidth=0, alpha=0.5, label=self._data_label, rasterized=True,
            )  # fmt: skip
            ax.legend(loc="best", framealpha=0.9, fontsize="small")
        x_name, y_name = map(tools.shown, self.names)
        ax.set(xlabel=x_name, ylabel=y_name, xlim=ax_range(x), ylim=ax_range(y))

    def _plot_regions(self, ax: Any) -> None:
        """Lines and colours, with a bar that says what they hold."""
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap

        levels = tools.enclosing_levels(self.density, SHARES)
        x, y = self.grid
        top = max(levels[-1] * 1.01, float(self.density.max()))
        # Not down to the darkest blue, on which dots could not be seen.
        colours = ListedColormap(colormaps["Blues"](np.linspace(0.1, 0.65, len(levels))))
        filled = ax.contourf(x, y, self.density, [*levels, top], cmap=colours, norm=_steps(levels))
        ax.contour(x, y, self.density, levels, colors=tools.BLUE, linewidths=0.8)
        bar = ax.figure.colorbar(filled, ax=ax, spacing="uniform", ticks=levels, shrink=0.9)
        bar.ax.set_yticklabels([f"{share:.0%}" for share in _inside(levels)])
        bar.set_label("share of the mass inside the line")


def _inside(levels: list[float]) -> list[float]:
    """The share inside the line of each level; of lines that coincide, the smaller ones."""
    return sorted(SHARES, reverse=True)[-len(levels) :]


def _steps(levels: list[float]) -> Any:
    """One colour from each level to the next."""
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm([*levels, max(levels[-1] * 2, 1e-300)], len(levels))


def ax_range(grid: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of a grid."""
    return float(grid[0]), float(grid[-1])


def _check_real(estimator: Any) -> None:
    density = getattr(estimator, "density_", None)
    if density is not None and density.support == "discrete":
        raise PictureError(
            f"DensityDisplay got a {type(estimator).__name__} of levels, which have masses and no "
            "density; draw its samples by ImageGrid or PairDisplay."
        )


def _rows_to_draw(
    table: NDArray[np.float64], given: Any, conditions: Any, *, has_labels: bool
) -> NDArray[np.intp]:
    """Index of the rows that a density is compared with: all, or those near its condition."""
    if given is None:
        return np.arange(len(table))
    if conditions is None:
        return np.arange(0)
    if len(conditions) != len(table):
        raise PictureError(
            f"DensityDisplay got {len(conditions)} conditions for {len(table)} rows of X, expected "
            "one for each."
        )
    return tools.near_condition(conditions, given, has_labels=has_labels, source="DensityDisplay")


def _one_row(y: Any, *, has_labels: bool) -> NDArray[Any]:
    """One condition as an estimator takes it for one row: (1,) of a label, (1, n) of numbers."""
    values = np.asarray(y)
    row = values.reshape(-1) if has_labels else np.atleast_2d(values)
    if len(row) != 1:
        raise PictureError(
            f"DensityDisplay got y with {len(row)} conditions, expected one: a label, or a row of "
            "numbers."
        )
    return row


def _on_grid(
    estimator: Any, ends: list[tuple[float, float]], chosen: list[int], n_grid: int, y: Any
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """The estimator's own density, of all its columns, on a grid."""
    grid = [np.linspace(low, high, n_grid) for low, high in ends]
    points = np.stack([part.ravel() for part in np.meshgrid(*grid)], axis=1)
    rows = np.empty_like(points)
    rows[:, chosen] = points  # columns may be named in another order
    condition = {} if y is None else {"y": np.repeat(y, len(rows), axis=0)}
    scores = estimator.score_samples(tools.rows_like_fitted(estimator, rows), **condition)
    return grid, np.exp(scores).reshape([n_grid] * len(grid))
