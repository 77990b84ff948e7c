"""What estimators of images share."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from densekit.data.columns import Columns
from densekit.data.images import Images
from densekit.densities.base import Density
from densekit.errors import ShapeError
from densekit.estimators.base import DensityEstimator
from densekit.estimators.parameters import either, integer, number, one_of, parameter
from densekit.estimators.trained import LEARNING_RATE
from densekit.networks import has_fast_bfloat16, use_low_precision
from densekit.training import Trainer

# A pixel is a row to a convolution: few images fill a step, and more steps teach more. After an
# epoch over 8,000 images of MNIST, steps of 8 leave PixelCNN 20 nats ahead of steps of 32, and Glow
# 100 ahead of steps of 16.
PIXELS_OF_A_STEP = 8 * 28 * 28
MIN_BATCH_SIZE, MAX_BATCH_SIZE = 8, 32
IMAGE_AVERAGE_DECAY = 0.999
PIXELS_TO_SEE = 5e8  # in all epochs together: minutes of small models
MIN_EPOCHS, MAX_EPOCHS = 3, 500
# After an epoch over 8,000 images of MNIST, 32 in a step, validation nats were best at 6e-3 of 2,
# 3, 6 and 12e-3 for PixelCNN, and at 4e-3 of 2, 4 and 8e-3 for Glow.
IMAGE_LEARNING_RATE = 4e-3


@dataclass(kw_only=True, eq=False, repr=False)
class ImageEstimator(DensityEstimator, ABC):
    """Base of the estimators that take images.

    Images are arrays (n, H, W) or (n, H, W, C) of integers, or flat rows with `image_shape`.

    Parameters
    ----------
    {image_parameters}
    {shared_parameters}
    """

    max_epochs: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    learning_rate: float | str = parameter("auto", either(one_of("auto"), number(0.0)))
    dtype: str = parameter("auto", one_of("auto", "bfloat16", "float32", "float64"))
    image_shape: Any = parameter(None)
    n_levels: int | str = parameter("auto", either(one_of("auto"), integer(2)))

    def bits_per_dim(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Bits for each number of each image: ``-score_samples / (log(2) * H * W * C)``.

        Parameters
        ----------
        X : array of images
        y : array-like, optional
            The condition of each image.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Lower is better.
        """
        scores = self.score_samples(X, y)
        return -scores / (math.log(2) * self.n_features_in_)

    @property
    def _images(self) -> Images:
        return cast("Images", self._form_)

    def _describe(self, X: Any) -> Columns | Images:
        if self.image_shape is None and np.asarray(X).ndim < 3:
            return self._describe_table(X)
        return Images.of(X, self.image_shape, self.n_levels, who=type(self).__name__)

    def _describe_table(self, X: Any) -> Columns | Images:
        """Say what to do with rows that are no images: by default they are refused."""
        raise ShapeError(
            f"{type(self).__name__} got X of shape {np.shape(X)}, expected images (n, H, W) or "
            "(n, H, W, C); for flat rows give image_shape=(H, W) or (H, W, C)."
        )

    def _make_core(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Density:
        core = super()._make_core(event_shape, context_shape, device, dtype)
        is_asked = self.dtype == "bfloat16"
        is_auto = self.dtype == "auto" and core.anchor.dtype == torch.float32
        if is_asked or (is_auto and has_fast_bfloat16(device)):
            use_low_precision(core, torch.bfloat16)
        return core

    def _max_epochs(self) -> int:
        if not isinstance(self.max_epochs, str):
            return self.max_epochs
        if not isinstance(self._form_, Images):
            return MAX_EPOCHS
        n_pixels = self.n_samples_fit_ * math.prod(self._form_.shape[:2])
        return min(MAX_EPOCHS, max(MIN_EPOCHS, round(PIXELS_TO_SEE / n_pixels)))

    def _learning_rate(self) -> float:
        if not isinstance(self.learning_rate, str):
            return self.learning_rate
        return IMAGE_LEARNING_RATE if isinstance(self._form_, Images) else LEARNING_RATE

    def _schedule(self) -> str:
        is_linear = self.schedule == "auto" and isinstance(self._form_, Images)
        return "linear" if is_linear else super()._schedule()

    def _trainer(self, noise: float) -> Trainer:
        trainer = super()._trainer(noise)
        if isinstance(self._form_, Images):
            trainer.average_decay = IMAGE_AVERAGE_DECAY
            if self.batch_size == "auto":
                n_images = PIXELS_OF_A_STEP // math.prod(self._form_.shape[:2])
                trainer.batch_size = min(MAX_BATCH_SIZE, max(MIN_BATCH_SIZE, n_images))
        return trainer
