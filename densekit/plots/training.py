"""The course of a fit: nats and learning rate over epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from densekit.exceptions import PictureError
from densekit.plots import tools
from densekit.training import History


class TrainingDisplay:
    """Mean log-likelihood over epochs above, the learning rate below.

    The first epochs may lie far below the rest: the axis of nats begins where nine tenths of the
    epochs lie, so that the end can be read.

    Parameters
    ----------
    history : History
        An estimator's `history_`.
    name : str, optional
        Of what was trained, for the title.

    Attributes
    ----------
    axes_ : ndarray of shape (2,)
        Of the nats and of the learning rate, after `plot`.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from densekit import MAFEstimator
    >>> from densekit.plots import TrainingDisplay
    >>> model = MAFEstimator(max_epochs=5, random_state=0).fit(load_iris().data)
    >>> display = TrainingDisplay.from_estimator(model)
    >>> display.axes_[0].get_ylabel()
    'log-likelihood, nats per row'
    """

    def __init__(self, history: History, *, name: str | None = None):
        self.history = history
        self.name = name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> TrainingDisplay:
        """Draw the last fit of an estimator.

        Parameters
        ----------
        estimator : DensityEstimator
            Fitted.
        ax : matplotlib Axes, optional
            Its place is shared out between the two curves; a new figure otherwise.
        """
        check_is_fitted(estimator)
        return cls(estimator.history_, name=type(estimator).__name__).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> TrainingDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Its place is shared out between the two curves; a new figure otherwise, not shown by
            itself.

        Raises
        ------
        PictureError
            A ValueError: there was nothing to learn, so there were no epochs.
        """
        history = self.history
        if not history.n_epochs:
            raise PictureError("TrainingDisplay got the record of a fit without epochs.")
        axes = tools.grid_of_axes(
            ax,
            2,
            1,
            source="TrainingDisplay",
            figsize=(6.4, 4.8),
            sharex=True,
            height_ratios=(3, 1),
        )[:, 0]
        self.axes_, self.figure_ = axes, axes[0].figure
        self._plot_nats(axes[0])
        epochs = np.arange(1, history.n_epochs + 1)
        axes[1].plot(epochs, history.learning_rate, color=tools.BLACK, drawstyle="steps-post")
        axes[1].set(yscale="log", ylabel="learning rate", xlabel="epoch")
        ends = sorted({max(history.learning_rate), min(history.learning_rate)})
        axes[1].minorticks_off()  # or their labels run into one another
        axes[1].set_yticks(ends, labels=[f"{rate:.2g}" for rate in ends])
        axes[1].xaxis.get_major_locator().set_params(integer=True)
        axes[1].margins(y=0.2)
        axes[1].grid(alpha=0.3)
        return self

    def _plot_nats(self, ax: Any) -> None:
        history = self.history
        epochs = np.arange(1, history.n_epochs + 1)
        curves = [("training rows", history.train_nats, tools.ORANGE, "dashed")]
        if history.validation_nats:
            curves.append(("validation rows", history.validation_nats, tools.BLUE, "solid"))
        for label, nats, colour, style in curves:
            ax.plot(epochs, nats, color=colour, linestyle=style, label=label)
        if history.best_epoch:
            best = history.monitored[history.best_epoch - 1]
            label = f"kept: epoch {history.best_epoch}, {best:.2f} nats"
            ax.axvline(history.best_epoch, color=tools.GREY, linewidth=1, zorder=0)
            ax.plot([history.best_epoch], [best], "o", color=tools.BLACK, label=label)
        ax.set_ylim(_limits([nats for _, nats, *_ in curves]))
        ax.set_ylabel("log-likelihood, nats per row")
        ax.set_title("Training" if self.name is None else f"Training of {self.name}")
        ax.grid(alpha=0.3)
        ax.legend(loc="lower right", framealpha=0.9)


def _limits(curves: list[list[float]]) -> tuple[float, float]:
    """From where nine tenths of the epochs lie to the top."""
    low = min(float(np.quantile(nats, 0.1)) for nats in curves)
    high = max(map(max, curves))
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
