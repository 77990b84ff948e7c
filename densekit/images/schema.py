"""What the images in X look like, so that samples can look the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from densekit.data.columns import Columns
from densekit.exceptions import ContextError, ShapeError, SupportError

MAX_SMALL_LEVELS = 64  # up to here the data's greatest value tells the levels; above, its bits do


@dataclass(frozen=True)
class Images:
    """Shape, levels and number type of the training images, whose numbers are levels 0, 1, 2...

    Attributes
    ----------
    shape : (height, width, channels)
    n_levels : int
    layout : tuple of int
        Shape of one image as it was given: ``(height, width)``, with channels, or flat.
    dtypes : Columns
        Number type, and container of flat images.
    """

    shape: tuple[int, int, int]
    n_levels: int
    layout: tuple[int, ...]
    dtypes: Columns

    @classmethod
    def of(
        cls, X: Any, image_shape: Sequence[int] | None, n_levels: int | str, *, source: str
    ) -> Images:
        """Describe images: an array (n, H, W) or (n, H, W, C), or flat rows with `image_shape`.

        Raises
        ------
        ShapeError
            X is not an array of images, or not of images of `image_shape`.
        SupportError
            A number is not a level.
        """
        values = np.asarray(X)
        layout = values.shape[1:]
        shape = _with_channels(layout if image_shape is None else image_shape, source)
        if layout not in (shape, shape[:2] if shape[2] == 1 else shape, (math.prod(shape),)):
            raise ShapeError(
                f"{source} got X of shape {values.shape}, expected (n, {_listed(shape)}) or "
                f"(n, {math.prod(shape)}) as image_shape={shape} says."
            )
        if isinstance(n_levels, str):
            n_levels = _count_levels(values, source)
        return cls(shape, int(n_levels), layout, Columns.of(X))

    def bounds(self, support: Any, n_features: int, *, source: str) -> NDArray[np.float64]:
        """Least and greatest level of each number of a flat image, (2, n_features)."""
        return np.repeat([[0.0], [self.n_levels - 1.0]], math.prod(self.shape), axis=1)

    def table(self, X: Any, *, source: str) -> Any:
        """Images in any of their layouts as flat rows."""
        shape = np.asarray(X).shape
        if len(shape) == 2:
            return X  # a data frame keeps its names; the width is checked with the rest
        if shape[1:] not in (self.shape, self.shape[:2] if self.shape[2] == 1 else self.shape):
            raise ShapeError(
                f"{source} got X of shape {shape}, expected (n, {_listed(self.shape)}) as in fit."
            )
        return np.asarray(X).reshape(shape[0], math.prod(shape[1:]))

    def rows(self, table: NDArray[Any], *, source: str) -> NDArray[np.float32]:
        """Flat rows as (n, channels, height, width), once every number is known to be a level."""
        _check_levels(table, self.n_levels, source)
        images = table.reshape(len(table), *self.shape)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)

    def describe_condition(self, y: NDArray[Any], source: str) -> ImageCondition:
        """Describe images that are the conditions of images."""
        return ImageCondition(Images.of(y, None, "auto", source=f"{source}, as y,"))

    def grey(self, X: Any, *, low: float, high: float, source: str) -> NDArray[np.float64]:
        """Grey levels with fractions, between two bounds, as (n, channels, height, width)."""
        table = check_array(self.table(X, source=source), dtype=np.float64, estimator=source)
        if table.shape[1] != math.prod(self.shape) or table.min() < low or table.max() > high:
            raise SupportError(
                f"{source} got images of {table.shape[1]} numbers from {table.min():g} to "
                f"{table.max():g}, expected {math.prod(self.shape)} grey levels from {low:g} to "
                f"{high:g}."
            )
        images = table.reshape(len(table), *self.shape)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def known(self, mask: Any, n_images: int, *, source: str) -> NDArray[np.bool_]:
        """A mask of pixels, in any of its layouts, as (n, channels, height, width)."""
        given: NDArray[Any] = np.asarray(mask)
        height, width, channels = self.shape
        whole = given
        if whole.shape in ((height, width), (n_images, height, width)):
            whole = whole[..., None]
        elif whole.shape == (n_images, height * width * channels):
            whole = whole.reshape(n_images, *self.shape)
        is_one = whole.ndim == 3
        is_each = whole.ndim == 4 and len(whole) == n_images
        is_image = whole.shape[-3:] in ((height, width, 1), self.shape)
        if not (is_image and (is_one or is_each) and whole.dtype == bool):
            raise ShapeError(
                f"{source} got a mask of {given.dtype} and shape {given.shape}, expected bool and "
                f"({height}, {width}) or ({n_images}, {height}, {width}), True where a pixel is "
                "known."
            )
        whole = np.broadcast_to(whole, (n_images, *self.shape))
        return whole.transpose(0, 3, 1, 2).copy()

    def flat(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Undo `rows`."""
        return rows.transpose(0, 2, 3, 1).reshape(len(rows), -1).astype(np.float64)

    def restore(self, rows: NDArray[Any], bounds: NDArray[np.float64], *, is_discrete: bool) -> Any:
        """Give images (n, channels, height, width) the layout and type of the training data."""
        found = self.dtypes.restore(self.flat(rows), bounds, is_discrete=is_discrete)
        return found if len(self.layout) == 1 else found.reshape(len(rows), *self.layout)


@dataclass(frozen=True)
class ImageCondition:
    """Images, channels first and scaled to [-1, 1] by the levels of the training data.

    Attributes
    ----------
    images : Images
        What they look like.
    """

    images: Images

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row of context."""
        height, width, channels = self.images.shape
        return channels, height, width

    def encode(self, y: Any, source: str) -> NDArray[np.float64]:
        """Images (n, channels, height, width); another shape or level is an error."""
        table = check_array(self.images.table(y, source=f"{source}, as y,"), dtype=np.float64)
        rows = self.images.rows(table, source=f"{source}, as y,")
        return 2.0 * rows / (self.images.n_levels - 1) - 1.0

    def draw(self, n_samples: int, rng: np.random.Generator, source: str) -> NDArray[np.float64]:
        raise ContextError(
            f"{source} was fitted with images as y, whose distribution it does not know; give `y`."
        )


def _with_channels(shape: Sequence[int], source: str) -> tuple[int, int, int]:
    sizes = tuple(shape)
    is_sizes = all(isinstance(s, int | np.integer) and s > 0 for s in sizes)
    if not is_sizes or len(sizes) not in (2, 3):
        raise ShapeError(
            f"{source} got images of shape {sizes}, expected (height, width) or (height, width, "
            "channels); for flat rows give `image_shape`."
        )
    height, width, channels = (*sizes, 1)[:3]
    return int(height), int(width), int(channels)


def _listed(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _count_levels(values: NDArray[Any], source: str) -> int:
    if values.dtype.kind not in "biuf":
        return 2  # scikit-learn's validation says what is wrong
    _check_levels(values, 2**16, source)
    n_levels = int(values.max(initial=0)) + 1
    if n_levels <= MAX_SMALL_LEVELS:
        return max(2, n_levels)
    return 2**8 if n_levels <= 2**8 else 2**16


def _check_levels(values: NDArray[Any], n_levels: int, source: str) -> None:
    """Raise a SupportError that names the first number that is no level."""
    if values.dtype.kind not in "biuf":
        return  # scikit-learn's validation says what is wrong
    is_level = (values >= 0) & (values <= n_levels - 1)
    if values.dtype.kind == "f":
        is_level &= values == np.floor(values)
    if not is_level.all():
        place = tuple(int(i) for i in np.argwhere(~is_level)[0])
        raise SupportError(
            f"{source} got {float(values[place]):g} in image {place[0]}, expected integers from 0 "
            f"to {n_levels - 1}; grey levels that were scaled to [0, 1] must be scaled back and "
            "rounded, and more levels be given as `n_levels`."
        )
