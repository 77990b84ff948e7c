"""What estimators of images share."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from densekit.densities.base import Density
from densekit.estimators.base import DensityEstimator
from densekit.estimators.parameters import either, integer, number, one_of, parameter
from densekit.exceptions import ShapeError
from densekit.images.schema import ImageCondition, Images
from densekit.networks import use_bfloat16
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
    image_shape : (height, width) or (height, width, channels), optional
        Shape of the images where X has flat rows, (n_samples, height * width * channels). Arrays of
        images (n, H, W) and (n, H, W, C) need none.
    n_levels : int or "auto", default="auto"
        Numbers are integers from 0 to ``n_levels - 1``. "auto" is what the greatest number of the
        training images asks for, and above 64 levels 256 or 65,536.
    max_epochs : int or "auto", default="auto"
        Most passes over the training images. "auto" is so many that half a billion pixels are seen,
        from 3 to 500.
    batch_size : int or "auto", default="auto"
        Images of a gradient step. "auto" takes as few as fill a step, 32 small ones to 8 of 28x28
        pixels and more: more steps teach more.
    learning_rate : float or "auto", default="auto"
        Adam's, at the start. "auto" is 4e-3.
    schedule : {"auto", "plateau", "linear"}, default="auto"
        With "linear" the learning rate rises over the first steps, and then falls in a straight
        line to zero after `max_epochs`; with "plateau" it is halved whenever a third of the
        patience passes without progress. "auto" is "linear".
    dtype : {"auto", "bfloat16", "float32", "float64"}, default="auto"
        Number type of the layers; "auto" is float64 up to 10,000 values in X, and float32 above and
        on a GPU. With "bfloat16" networks train in half precision, and everything else stays in
        float32; "auto" does so in place of float32 where it is faster. Scores are always float64.
    support, gaussianize, noise, optimizer : as they are
        Without effect on images; another value is an error.
    conditional : bool, default=False
        Whether the density is conditioned on the `y` of `fit`.
    condition_type : {"auto", "labels", "numbers"}, default="auto"
        What `y` holds. "auto" takes text, categories, booleans and few whole numbers (1-D) for
        labels, and other numbers, and all that is 2-D, for numbers; a warning says where that is in
        doubt.
    validation_fraction : float, default=0.1
        Share of the rows held out to stop early; 0 trains on all and monitors those. Fewer than ten
        rows are never split.
    n_iter_no_change : int, default=20
        Epochs without progress after which training stops; the best epoch's weights are kept.
    tol : float, default=1e-4
        Least gain that counts as progress, in nats.
    device : str, default="auto"
        "auto" is a GPU where there is one; otherwise any of torch's names.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights, the preprocessing and the classes of the fit before.
    random_state : int, RandomState or None, default=None
        Makes the fit repeatable: initial weights, the validation split, the order of batches.
    verbose : int, default=0
        1 shows a progress bar with nats of training and validation and the time left.
    """

    max_epochs: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    learning_rate: float | str = parameter("auto", either(one_of("auto"), number(0.0)))
    dtype: str = parameter("auto", one_of("auto", "bfloat16", "float32", "float64"))
    image_shape: Any = parameter(None)
    n_levels: int | str = parameter("auto", either(one_of("auto"), integer(2)))

    _takes_one_thread = False
    _stored_types: ClassVar = DensityEstimator._stored_types | {
        "Images": Images,
        "ImageCondition": ImageCondition,
        "Pictures": ImageCondition,  # its name in older files
    }

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

    def _describe(self, X: Any) -> Images:
        if self.image_shape is None and np.asarray(X).ndim < 3:
            raise ShapeError(
                f"{type(self).__name__} got X of shape {np.shape(X)}, expected images (n, H, W) or "
                "(n, H, W, C); for flat rows give image_shape=(H, W) or (H, W, C)."
            )
        return Images.of(X, self.image_shape, self.n_levels, source=type(self).__name__)

    def _without_effect(self) -> dict[str, str]:
        reason = "on images, whose levels are modelled as they are"
        return super()._without_effect() | {
            "support": reason,
            "gaussianize": reason,
            "noise": reason,
            "optimizer": "on images, whose networks have no matrices for Muon to train",
        }

    def _trainer(self, noise: float) -> Trainer:
        trainer = super()._trainer(noise)
        n_pixels = math.prod(self._form_.shape[:2])
        trainer.average_decay = IMAGE_AVERAGE_DECAY
        if self.max_epochs == "auto":
            n_epochs = round(PIXELS_TO_SEE / (self.n_samples_fit_ * n_pixels))
            trainer.max_epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, n_epochs))
        if self.batch_size == "auto":
            n_images = PIXELS_OF_A_STEP // n_pixels
            trainer.batch_size = min(MAX_BATCH_SIZE, max(MIN_BATCH_SIZE, n_images))
        if self.learning_rate == "auto":
            trainer.learning_rate = IMAGE_LEARNING_RATE
        if self.schedule == "auto":
            trainer.schedule = "linear"
        return trainer

    def _in_precision(self, model: Density) -> Density:
        """A model whose networks train in the precision that the fit asks for."""
        is_asked = self.dtype == "bfloat16"
        use_bfloat16(model, "auto" if self.dtype == "auto" else is_asked)
        return model
