"""RealNVP of images: affine couplings in several scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.images.base_flow import ImageFlowEstimator
from densekit.images.conv_coupling import ConvCoupling
from densekit.images.squeeze import Squeeze
from densekit.transforms import ActNorm, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class ImageRealNVPEstimator(ImageFlowEstimator):
    """Real-valued non-volume-preserving flow of images (Dinh 2016).

    Affine couplings whose masks are checkerboards and then halves of the channels, with
    convolutional conditioners; after each scale half of the channels leave. Scores are lower bounds
    of log-masses, by dequantisation. Images are arrays (n, H, W) or (n, H, W, C) of integers.

    Parameters
    ----------
    n_layers : int or "auto", default="auto"
        Couplings of each scale; "auto" is the preset's.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "affine".
    n_scales : int or "auto", default="auto"
        How often the sides of the images are halved, after which half of the channels leave. "auto"
        is as often as they can be halved, and at most three times.
    n_channels, n_blocks : int or "auto", default="auto"
        Hidden channels and residual blocks of each convolutional conditioner; "auto" is the
        preset's.
    preset : {"fast", "paper"}, default="fast"
        What "auto" stands for. "fast" trains in minutes on a laptop, "paper" has the sizes of the
        paper's own experiments, for a GPU.
    dequantization : {"uniform", "variational"}, default="uniform"
        The noise that makes levels continuous. Variational noise is learned and gives a tighter
        bound (Ho 2019), for a third more time.
    n_dequantizations : int, default=1
        Draws of the noise whose mean makes a score. More give a tighter bound, and cost as many
        passes.
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

    Attributes
    ----------
    density_ : Density
        The fitted density of rows in the units of X: `preprocessing` in front of a `model`.
    n_features_in_ : int
        Columns of X, or numbers of an image.
    feature_names_in_ : ndarray of str
        Column names of X, where they are text.
    support_ : ndarray of shape (2, n_features)
        Least and greatest values.
    classes_ : ndarray of shape (n_classes,)
        Labels, where `y` had labels.
    condition_names_in_ : ndarray
        Column names of `y`, where it had some.
    n_samples_fit_ : int
        Rows of positive weight.
    n_iter_ : int
        Epochs.
    history_ : History
        Nats, learning rates and seconds of each epoch.
    loss_curve_ : list of float
        Negative mean nats of the training rows, epoch by epoch.
    validation_scores_ : list of float or None
        Mean nats of the validation rows, epoch by epoch.
    best_validation_score_ : float
        The best of them, or of the training rows where none were held out.
    repeated_values_ : dict from str to (float, float)
        For columns in which values repeat the commonest value and its share.
    noise_ : float
        The noise at the start of the training that was kept.

    See Also
    --------
    RealNVPEstimator : The flow of tables.
    PixelCNNEstimator : Exact log-masses of images.

    References
    ----------
    .. [1] Dinh, Sohl-Dickstein and Bengio (2016), "Density Estimation using Real NVP",
       arXiv:1605.08803, sections 3.4 to 3.6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from densekit import ImageRealNVPEstimator
    >>> X = load_digits().images[:100].astype(int)
    >>> flow = ImageRealNVPEstimator(n_layers=2, n_channels=8, max_epochs=1, random_state=0)
    >>> flow.fit(X).sample(3).shape
    (3, 8, 8)
    """

    _presets = {
        "fast": {"n_layers": 8, "n_channels": 64, "n_blocks": 1},
        "paper": {"n_layers": 6, "n_channels": 64, "n_blocks": 8},
    }

    def _build_scale(
        self, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        n_layers = self._size("n_layers")
        n_checkered = (n_layers + 1) // 2
        layers: list[Transform] = []
        for i in range(n_checkered):
            mask = ("checkerboard", "inverse_checkerboard")[i % 2]
            layers += [ActNorm(event_shape), ConvCoupling(event_shape, mask=mask, **options)]
        squeeze = Squeeze(event_shape)
        layers.append(squeeze)
        shape = squeeze.output_shape
        for i in range(n_layers - n_checkered):
            mask = ("first", "last")[i % 2]
            layers += [ActNorm(shape), ConvCoupling(shape, mask=mask, **options)]
        return layers
