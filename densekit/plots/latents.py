"""Whether the latents of a flow follow its base."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from densekit.data import seeds
from densekit.estimators.base_flow import BaseFlowEstimator
from densekit.exceptions import PictureError
from densekit.plots import tools

N_BASE_NUMBERS = 4_000_000  # drawn from the base, in all columns together
MAX_BASE_ROWS, MIN_BASE_ROWS = 200_000, 20_000
N_POINTS = 100  # of a curve
N_DRAWS = 4000  # that a band is computed from
LEVEL = 0.95
N_NAMED = 3
JOINT = "log-density of latents"


class LatentDisplay:
    """Latents against the base of a flow: quantiles left, probability integral transforms right.

    The latents of held-out rows are distributed as the base if the fit is good. Each curve is a
    column of the latents; one more is the base's log-density of the whole latent, which also sees
    columns that depend on one another. Left are quantiles of the latents against the base's:
    curves lie on the diagonal if the fit is good. Right is, for each value of the base's
    distribution function, the share of latents below it, less the share that there should be.

    The band holds all curves at once with a probability of 95 % if the latents follow the base
    (simulated as in Säilynoja 2022, section 3.2, and shared out among the curves by Bonferroni's
    inequality). The three curves that leave it farthest are named. The base's distribution is that
    of its samples, so any base will do.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, n_curves)
    base : ndarray of shape (n_base_samples, n_curves)
        Samples of what the latents should follow.
    names : list of str
        Of the curves.

    Attributes
    ----------
    depth_ : ndarray of shape (n_curves,)
        How far each curve leaves the band: its greatest distance from zero, in multiples of the
        band's height there, less one. Up to 0 is inside.
    axes_ : ndarray of shape (2,)
        Of quantiles and of probability integral transforms, after `plot`.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from densekit import MAFEstimator
    >>> from densekit.plots import LatentDisplay
    >>> X = load_iris().data
    >>> model = MAFEstimator(random_state=0).fit(X[::2])
    >>> display = LatentDisplay.from_estimator(model, X[1::2])
    >>> display.depth_.shape
    (5,)
    """

    def __init__(
        self, latents: NDArray[np.float64], base: NDArray[np.float64], *, names: list[str]
    ):
        if latents.shape[1] != len(names) or base.shape[1] != len(names):
            raise PictureError(
                f"LatentDisplay got {len(names)} names for {latents.shape[1]} columns of latents "
                f"and {base.shape[1]} of the base."
            )
        self.latents, self.base, self.names = latents, np.sort(base, axis=0), names
        self.points = np.arange(1, N_POINTS) / N_POINTS
        self.excess = self._shares_below() - self.points[:, None]
        self.band = _band(len(latents), self.points, (1 - LEVEL) / len(names))
        room = np.where(self.excess.T > 0, self.band[1], -self.band[0])
        self.depth_ = (np.abs(self.excess.T) / np.maximum(room, 1e-12)).max(axis=1) - 1

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, ax: Any = None
    ) -> LatentDisplay:
        """Draw the latents of the rows of X.

        Parameters
        ----------
        estimator : flow
            Fitted on a table: NSF, MAF, RealNVP and so on. MADE and PixelCNN have no latents.
        X : array or data frame of shape (n_samples, n_features)
            Rows that the flow was not fitted on: those that it was are too good.
        y : array-like, optional
            The condition of each row, of a conditional flow.
        ax : matplotlib Axes, optional
            Its place is shared out between the two panels; a new figure otherwise.

        Raises
        ------
        PictureError
            A ValueError: the estimator is no flow.
        """
        latents, base, names = latents_and_base(estimator, X, y)
        return cls(latents, base, names=names).plot(ax=ax)

    def plot(self, *, ax: Any = None, is_stacked: bool = False) -> LatentDisplay:
        """Draw both panels.

        Parameters
        ----------
        is_stacked : bool, default=False
            Whether the panels stand one above the other, as on a narrow page.
        ax : matplotlib Axes, optional
            Its place is shared out; a new figure otherwise, not shown by itself.
        """
        shape, size = ((2, 1), (4.4, 8.4)) if is_stacked else ((1, 2), (8.4, 4.4))
        axes = tools.grid_of_axes(ax, *shape, source="LatentDisplay", figsize=size).ravel()
        self.axes_, self.figure_ = axes, axes[0].figure
        self._plot_quantiles(axes[0])
        self._plot_excess(axes[1])
        for axis in axes:
            axis.grid(alpha=0.3)
        axes[1].legend(loc="upper center", fontsize="x-small", framealpha=0.9, ncols=2)
        return self

    def _plot_quantiles(self, ax: Any) -> None:
        """In standard deviations of the base, so that all curves share an axis."""
        centre, scale = self.base.mean(axis=0), self.base.std(axis=0)
        n = len(self.latents)
        probabilities = (np.arange(n) + 0.5) / n
        probabilities = probabilities[np.unique(np.linspace(0, n - 1, 400).astype(int))]
        expected = (np.quantile(self.base, probabilities, axis=0) - centre) / scale
        found = (np.quantile(self.latents, probabilities, axis=0) - centre) / scale
        ends = float(np.abs(expected).max()) * 1.05
        ax.plot([-ends, ends], [-ends, ends], color=tools.BLACK, linewidth=1)
        for i, style in enumerate(self._styles()):
            ax.plot(expected[:, i], found[:, i], **style)
        low, high = np.quantile(found, [0.001, 0.999])
        ax.set_ylim(max(-3 * ends, min(low, -ends)), min(3 * ends, max(high, ends)))
        ax.set_xlim(-ends, ends)
        ax.set_title("Quantiles")
        ax.set_xlabel("base, in its standard deviations")
        ax.set_ylabel("latents, in the base's standard deviations")

    def _plot_excess(self, ax: Any) -> None:
        low, high = self.band
        label = f"{LEVEL:.0%} band, for all curves"
        ax.fill_between(self.points, low, high, color=tools.GREY, alpha=0.3, lw=0, label=label)
        ax.axhline(0, color=tools.BLACK, linewidth=1)
        for i, style in enumerate(self._styles()):
            ax.plot(self.points, self.excess[:, i], **style)
        largest = max(np.abs(self.excess).max(), np.abs(self.band).max())
        ax.set(xlim=(0, 1), ylim=(-1.2 * largest, 1.7 * largest))
        ax.set_title("Probability integral transform")
        ax.set_xlabel("share of the base below")
        ax.set_ylabel("share of latents below, less the base's")

    def _styles(self) -> list[dict[str, Any]]:
        """Grey thin lines; those that leave the band farthest have a name and a style."""
        styles: list[dict[str, Any]] = [
            {"color": tools.GREY, "linewidth": 0.8, "alpha": 0.7, "zorder": 2} for _ in self.names
        ]
        farthest = [i for i in np.argsort(-self.depth_)[:N_NAMED] if self.depth_[i] > 0]
        colours = (tools.BLUE, tools.ORANGE, tools.BLACK)
        for i, colour, line in zip(farthest, colours, tools.STYLES, strict=False):
            styles[i] = {
                "color": colour, "linestyle": line, "linewidth": 1.8, "zorder": 3,
                "label": tools.shown(self.names[i]),
            }  # fmt: skip
        unnamed = next((i for i in range(len(self.names)) if i not in farthest), None)
        if unnamed is not None:
            styles[unnamed]["label"] = "other columns" if farthest else "columns"
        return styles

    def _shares_below(self) -> NDArray[np.float64]:
        """Share of each column's latents below the base's quantiles, (n_points, n_curves)."""
        heights = np.quantile(self.base, self.points, axis=0)
        ordered = np.sort(self.latents, axis=0)
        counts = [
            np.searchsorted(ordered[:, i], heights[:, i], side="right")
            for i in range(heights.shape[1])
        ]
        return np.stack(counts, axis=1) / len(self.latents)


def latents_and_base(
    estimator: Any, X: Any, y: Any = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Latents of rows, samples of the base, and names of the columns; the last is their
    log-density under the base.
    """
    is_table = np.ndim(X) == 2
    if not (isinstance(estimator, BaseFlowEstimator) and is_table):
        raise PictureError(
            f"LatentDisplay got a {type(estimator).__name__} and X of shape {np.shape(X)}, "
            "expected a flow that was fitted on a table, which alone has latents to compare."
        )
    latents = estimator.transform(X, y)
    base = estimator.density_.model.base
    n_columns = latents.shape[1]
    n_rows = int(np.clip(N_BASE_NUMBERS // n_columns, MIN_BASE_ROWS, MAX_BASE_ROWS))
    generator = seeds.make_generator(0, base.anchor.device)  # the same picture at every call
    with torch.no_grad():
        samples = base.sample(n_rows, generator=generator)
        rows = torch.from_numpy(latents).to(samples.device, samples.dtype)
        joint = [base.log_prob(part).double().cpu().numpy() for part in (rows, samples)]
    drawn = samples.double().cpu().numpy()
    names = _names(X, n_columns)
    if n_columns > 1 and np.ptp(joint[1]) > 0:  # a uniform base has one density
        latents, drawn = np.c_[latents, joint[0]], np.c_[drawn, joint[1]]
        names.append(JOINT)
    return latents, drawn, names


def _names(X: Any, n_columns: int) -> list[str]:
    """Names of latents: that of the column in the same place, where columns have names."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return [f"latent {i}" for i in range(n_columns)]
    return [f"latent of {name}" for name in frame.columns]


def _band(n: int, points: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Ends of a band around zero, (2, n_points), that a curve of n uniform numbers leaves with
    probability `level`.

    At every point it has the same probability of being left, which simulated curves choose.
    """
    rng = np.random.default_rng(0)
    steps = np.diff(np.r_[0.0, points, 1.0])
    counts = rng.multinomial(n, steps, size=N_DRAWS).cumsum(axis=1)[:, :-1]
    below, above = binom.cdf(counts, n, points), binom.sf(counts - 1, n, points)
    least = np.minimum(below, above).min(axis=1)
    local = np.quantile(least, max(level, 10 / N_DRAWS))
    ends = binom.ppf([[local], [1 - local]], n, points)
    return np.asarray(ends / n - points)
