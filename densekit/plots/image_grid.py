"""Grids of images: samples, completions, translations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.exceptions import ContextError
from densekit.images.schema import Images
from densekit.plots import tools


class ImageGrid:
    """Rows of images, each row with a name.

    Parameters
    ----------
    images : array of shape (n_rows, n_columns, H, W) or (n_rows, n_columns, H, W, C)
    names : sequence of str, optional
        Of the rows, drawn to the left of them.
    greatest : float, optional
        The number that is drawn white; the least is 0. By default the greatest of `images`.

    Attributes
    ----------
    figure_, ax_ : matplotlib's
        After `plot`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from densekit import PixelCNNEstimator
    >>> from densekit.plots import ImageGrid
    >>> X = load_digits().images[:100].astype(int)
    >>> model = PixelCNNEstimator(n_layers=2, n_channels=8, max_epochs=1, random_state=0).fit(X)
    >>> grid = ImageGrid.from_estimator(model, n=16, random_state=0)
    >>> grid.images.shape
    (4, 4, 8, 8)
    """

    def __init__(
        self,
        images: Any,
        *,
        names: Sequence[str] | None = None,
        greatest: float | None = None,
    ):
        self.images: NDArray[Any] = np.asarray(images)
        self.names = names
        self.greatest = greatest

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        n: int = 64,
        *,
        y: Sequence[Any] | None = None,
        random_state: Any = None,
        ax: Any = None,
        **options: Any,
    ) -> ImageGrid:
        """Draw samples of a fitted estimator of images; by class where it knows classes.

        Parameters
        ----------
        estimator : estimator that was fitted on images
        n : int, default=64
            Samples; of each class as many as fill a row.
        y : sequence of labels, optional
            The classes that are drawn; by default all.
        random_state : int, RandomState or None, default=None
        ax : matplotlib Axes, optional
        **options
            Of the estimator's `sample`, such as ``temperature``.
        """
        labels = getattr(estimator, "classes_", None) if y is None else y
        if labels is None:
            n_columns = math.ceil(math.sqrt(n))
            n_rows = math.ceil(n / n_columns)
            images = estimator.sample(n_rows * n_columns, random_state, **options)
            names = None
        else:
            n_rows, n_columns = len(labels), max(1, round(n / len(labels)))
            given = np.repeat(np.asarray(labels), n_columns)
            images = estimator.sample(len(given), random_state, y=given, **options)
            names = [str(label) for label in labels]
        grid = cls._of(estimator, [images], names).images[0]
        shaped = grid.reshape(n_rows, n_columns, *grid.shape[1:])
        return cls(shaped, names=names, greatest=_greatest(estimator)).plot(ax=ax)

    @classmethod
    def from_completions(
        cls, estimator: Any, X: Any, mask: Any, *, ax: Any = None, **options: Any
    ) -> ImageGrid:
        """Draw images as they were given, as `complete` filled them, and as they were.

        Parameters
        ----------
        estimator : estimator with `complete`
        X : array of images
        mask : bool array of shape (H, W) or (n, H, W)
            True where a pixel is known; unknown pixels are drawn grey.
        ax : matplotlib Axes, optional
        **options
            Of `complete`, such as ``random_state`` and ``y``.
        """
        filled = estimator.complete(X, mask, **options)
        grid = cls._of(estimator, [X, filled, X], ["given", "filled", "true"])
        known = np.asarray(mask).reshape(-1, *grid.images.shape[2:4])
        known = known.reshape(*known.shape, *[1] * (grid.images.ndim - 4))
        grid.images[0] = np.where(known, grid.images[0], _greatest(estimator) / 2)
        return grid.plot(ax=ax)

    @classmethod
    def from_translation(
        cls, estimator: Any, X: Any, source: Any, target: Any, *, ax: Any = None
    ) -> ImageGrid:
        """Draw images, what `translate` turns them into, and the way back.

        Parameters
        ----------
        estimator : flow that was fitted on images with labels
        X : array of images
            Of the class `source`.
        source, target : label
        ax : matplotlib Axes, optional
        """
        turned = estimator.translate(X, source, target)
        back = estimator.translate(turned, target, source)
        names = [f"{source}", f"to {target}", f"back to {source}"]
        return cls._of(estimator, [X, turned, back], names).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> ImageGrid:
        """Draw the grid.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure otherwise, not shown by itself.
        """
        n_rows, n_columns, height = self.images.shape[:3]
        scale = max(0.5, 0.35 * math.sqrt(height / 8))
        size = (n_columns * scale + 1, n_rows * scale)
        ax = tools.one_axes(ax, source="ImageGrid", figsize=size)
        shown = _tiled(self.images)
        greatest = float(self.images.max()) if self.greatest is None else self.greatest
        values = np.clip(shown / max(greatest, 1e-12), 0, 1)
        ax.imshow(values, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_xticks([])
        names = self.names or []
        centres = [i * (height + 1) + height / 2 for i in range(len(names))]
        ax.set_yticks(centres, labels=names)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def _of(cls, estimator: Any, rows: Sequence[Any], names: Sequence[str] | None) -> ImageGrid:
        """Images of any layout as (n_rows, n, H, W) or with channels."""
        form = getattr(estimator, "_form_", None)
        if not isinstance(form, Images):
            raise ContextError(
                f"ImageGrid got a {type(estimator).__name__} that was not fitted on images."
            )
        shape = form.shape[:2] if form.shape[2] == 1 else form.shape
        images = np.stack([np.asarray(row, dtype=float).reshape(-1, *shape) for row in rows])
        return cls(images, names=names, greatest=_greatest(estimator))


def _greatest(estimator: Any) -> float:
    """The greatest level of the images that an estimator was fitted on."""
    return float(estimator.support_.max())


def _tiled(images: NDArray[Any]) -> NDArray[Any]:
    """One image of all, a white line between each two; (n_rows, n_columns, H, W, ...)."""
    n_rows, n_columns, height, width = images.shape[:4]
    shape = (n_rows * (height + 1) - 1, n_columns * (width + 1) - 1, *images.shape[4:])
    tiled = np.full(shape, images.max(initial=1))
    for row in range(n_rows):
        for column in range(n_columns):
            top, left = row * (height + 1), column * (width + 1)
            tiled[top : top + height, left : left + width] = images[row, column]
    return tiled
