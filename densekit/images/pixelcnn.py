"""PixelCNN: images, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, check_scalar
from torch import Tensor

from densekit.cases import EstimatorCase
from densekit.data import seeds
from densekit.data.context import Labels
from densekit.densities.base import Density, check_not_negative
from densekit.densities.likelihoods import Bernoulli, Categorical, Discrete, LogisticMixture
from densekit.estimators.fitting import MANY_ROWS
from densekit.estimators.parameters import either, integer, number, odd, one_of, parameter
from densekit.exceptions import ContextError, ParameterError
from densekit.images.base import ImageEstimator
from densekit.images.contrast import Contrast
from densekit.images.pixelcnn_density import PixelCNN
from densekit.training import Trainer
from densekit.training.progress import progress_bar

CONTRAST_OF_MANY = 10.0
MAX_CATEGORIES = 64  # beyond, neighbouring levels should share what is learned about them
# Four layers of kernels of five, two of them dilated, see 13 pixels around, as far as a digit's
# strokes go. Six that are not see as far, cost half as much again and learn no faster.
_PRESETS = {
    "fast": {"n_layers": 4, "n_channels": 32, "kernel_size": 5, "dilation": 2},
    "paper": {"n_layers": 15, "n_channels": 128, "kernel_size": 3, "dilation": 1},
}


@dataclass(kw_only=True, eq=False, repr=False)
class PixelCNNEstimator(ImageEstimator):
    """Gated PixelCNN: each pixel's distribution given the pixels above it and to its left.

    Gated masked convolutions in a vertical and a horizontal stack, without a blind spot (van den
    Oord 2016a, 2016b). Scores are exact log-masses from one pass; a sample computes each pixel
    once.

    Parameters
    ----------
    likelihood : {"auto", "bernoulli", "categorical", "logistic_mixture"}, default="auto"
        Distribution of a number given those before it. "auto" is "bernoulli" for two levels,
        "categorical" up to 64, and above them a mixture of logistics that are rounded to levels
        (Salimans 2017), whose neighbouring levels learn from one another.
    n_components : int, default=10
        Logistics of the mixture.
    preset : {"fast", "paper"}, default="fast"
        Layers, channels, kernels and their dilation: 4, 32, 5 and 2, which train in minutes on a
        laptop, or 15, 128, 3 and 1 as in the paper's own experiments, for a GPU.
    n_layers, n_channels : int or "auto", default="auto"
        Layers and channels of both stacks; "auto" is the preset's.
    kernel_size : int or "auto", default="auto"
        Odd side of the kernels but the first, which is 7; "auto" is the preset's.
    dilation : {"auto", 1, 2, 3}, default="auto"
        Pixels from number to number of the kernels in the later half of the layers (Yu 2016), which
        see further at the same cost; "auto" is the preset's. A layer sees ``kernel_size // 2``
        pixels further up, to the left and to the right than that before it, times its dilation; the
        first sees 3.
    contrast : float or "auto", default="auto"
        With labels as the `y` of `fit`, the weight of telling classes apart beside likelihood,
        after the first quarter of training (McCallum 2006), on images moved by up to a fourteenth
        of their sides and slanted: set 0 where a class is a place or a slant. Classes that seem
        likelier to images of another are told apart from it more often. A class is worth a few nats
        of hundreds, and likelihood alone learns much about strokes before they depend on the class.
        "auto" is 10 from 10,000 images on, and 0 below, where likelihood alone generalises better
        (Ng and Jordan 2001).
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
    ImageGlowEstimator : Latents, and quick samples.

    References
    ----------
    .. [1] van den Oord et al. (2016), "Conditional Image Generation with PixelCNN Decoders",
       NeurIPS, eq. 2.
    .. [2] Salimans et al. (2017), "PixelCNN++", ICLR, eq. 2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from densekit import PixelCNNEstimator
    >>> X = load_digits().images[:200].astype(int) // 4
    >>> model = PixelCNNEstimator(n_layers=2, n_channels=8, max_epochs=2, random_state=0).fit(X)
    >>> model.sample(3).shape, model.bits_per_dim(X).shape
    ((3, 8, 8), (200,))
    """

    likelihood: str = parameter(
        "auto", one_of("auto", "bernoulli", "categorical", "logistic_mixture")
    )
    n_components: int = parameter(10, integer(1))
    preset: str = parameter("fast", one_of(*_PRESETS))
    n_layers: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    n_channels: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    kernel_size: int | str = parameter("auto", either(one_of("auto"), odd(3)))
    dilation: int | str = parameter("auto", one_of("auto", 1, 2, 3))
    contrast: float | str = parameter(
        "auto", either(one_of("auto"), number(0.0, including_low=True))
    )

    _before: ClassVar = {"dilation": 1}

    def sample(  # type: ignore[override]  # levels are whole numbers as they are
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        y: Any = None,
        temperature: float = 1.0,
        guidance: float = 0.0,
        return_y: bool = False,
    ) -> Any:
        """Draw new images.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None
            None draws other images at every call.
        y : label or array-like, optional
            The condition, as in `DensityEstimator.sample`.
        temperature : float, default=1.0
            Each number is drawn with masses to the power ``1 / temperature``; at 0 the likeliest
            level is taken. Strokes end sooner below one, which does not always look better.
        guidance : float, default=0.0
            With labels as `y`, how much more than in the training data samples are to look like
            their own class and no other: each level's mass is multiplied by ``p(y | pixels so
            far)`` to this power, with all classes as likely. Samples are then less diverse, and
            drawing takes as many times as long as there are classes, and more.
        return_y : bool, default=False
            Whether to return the condition of each image as well.

        Returns
        -------
        array or data frame
            In the container and the units of the X that was fitted.

        Raises
        ------
        ValueError
            The temperature or the guidance is no finite number from 0.
        ContextError
            A ValueError: there is guidance, but the model was not fitted with labels as `y`.
        """
        source = f"{type(self).__name__}.sample"
        self._check_draws(source, temperature, guidance)

        def draw(n: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
            n_rows = n * self.density_.event_shape[1]
            with progress_bar(is_shown=self.verbose > 0, total=n_rows, desc=source) as bar:
                return self._core.sample(
                    n,
                    context,
                    generator=generator,
                    temperature=temperature,
                    guidance=guidance,
                    on_row=lambda n: None if bar is None else bar.update(n),
                )

        return self._sample(n_samples, random_state, y, draw, return_y)

    def complete(
        self,
        X: Any,
        mask: Any,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        y: Any = None,
        temperature: float = 1.0,
        guidance: float = 0.0,
    ) -> NDArray[Any]:
        """Keep the known pixels of images and draw the others, in raster order.

        A drawn pixel depends on all pixels above it and to its left, known or drawn; known pixels
        below it have no say.

        Parameters
        ----------
        X : array of images
            What stands at unknown pixels must be a level, and does not count.
        mask : bool array of shape (H, W), (n, H, W) or that of X
            True where a pixel is known.
        n_samples : int, default=1
            Completions of each image.
        random_state : int, RandomState or None, default=None
        y : array-like, optional
            The condition of each image; needed with ``conditional=True``.
        temperature, guidance : float, default=1.0 and 0.0
            As in `sample`.

        Returns
        -------
        ndarray
            Shaped as X; with ``n_samples > 1``, ``(n_samples, *X.shape)``.

        Raises
        ------
        ShapeError
            A ValueError: the mask fits no image.
        ValueError, ContextError
            As in `sample`.
        """
        rows = self._rows(X)
        source = f"{type(self).__name__}.complete"
        self._check_draws(source, temperature, guidance)
        check_scalar(n_samples, "n_samples", (int, np.integer), min_val=1)
        is_known = torch.from_numpy(self._form_.known(mask, len(rows), source=source))
        context = self._encode(y, len(rows)) if self.conditional else None
        generator = seeds.make_generator(random_state, self._device)
        core = self._core

        def draw(x: Tensor, c: Tensor | None) -> Tensor:
            known, levels = x.chunk(2, 1)
            return core.complete(
                levels.to(core.anchor.dtype),
                known > 0,
                c,
                generator=generator,
                temperature=temperature,
                guidance=guidance,
            )

        both = torch.cat([is_known.to(rows), rows], 1)
        found = [self._restore(self._evaluate(draw, both, context)) for _ in range(n_samples)]
        return found[0] if n_samples == 1 else np.stack(found)

    def log_prob_terms(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """The log-mass of each pixel given the pixels before it, in nats.

        Parameters
        ----------
        X : array of images
        y : array-like, optional
            The condition of each image; needed with ``conditional=True``.

        Returns
        -------
        ndarray of shape (n_samples, H, W), float64
            Channels are added up. The sum over an image is its score.
        """
        rows = self._rows(X)
        context = self._encode(y, len(rows)) if self.conditional else None
        terms = self._evaluate(self.density_.log_prob_terms, rows, context)
        return terms.view(len(rows), *self.density_.event_shape).sum(1).numpy()

    def _check_draws(self, source: str, temperature: float, guidance: float) -> None:
        """Refuse what `PixelCNN.complete` would, and say so to who called the estimator."""
        check_is_fitted(self)
        check_not_negative(source, temperature=temperature, guidance=guidance)
        if guidance and not self._has_classes():
            raise ContextError(
                f"{source} got guidance={guidance!r}, expected 0 where there are no classes to "
                "tell apart; fit with conditional=True and labels as y."
            )

    @property
    def _core(self) -> PixelCNN:
        return cast("PixelCNN", self.density_.model)

    def _build_model(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        n_levels = self._form_.n_levels
        model = PixelCNN(
            event_shape,
            likelihood=self._build_likelihood(n_levels),
            n_levels=n_levels,
            n_layers=self._size("n_layers"),
            n_channels=self._size("n_channels"),
            kernel_size=self._size("kernel_size"),
            dilation=self._size("dilation"),
            context_shape=context_shape,
        )
        return self._in_precision(model)

    def _without_effect(self) -> dict[str, str]:
        found = super()._without_effect()
        if self._kind_of_likelihood() != "logistic_mixture":
            found["n_components"] = f"with likelihood={self._kind_of_likelihood()!r}"
        return found

    def _trainer(self, noise: float) -> Trainer:
        trainer = super()._trainer(noise)
        strength = self._contrast()
        if strength:
            trainer.late_objective = partial(Contrast, strength)
        return trainer

    def _contrast(self) -> float:
        has_classes = self._has_classes()
        if isinstance(self.contrast, str):
            is_worth_it = has_classes and self.n_samples_fit_ >= MANY_ROWS
            return CONTRAST_OF_MANY if is_worth_it else 0.0
        if self.contrast and not has_classes:
            raise ParameterError(
                f"{type(self).__name__} got contrast={self.contrast!r}, expected 0 or 'auto' where "
                "there are no classes to tell apart; fit with conditional=True and several labels "
                "as y."
            )
        return self.contrast

    def _has_classes(self) -> bool:
        has_labels = isinstance(getattr(self, "_context_", None), Labels)
        return has_labels and len(self.classes_) > 1

    def _sizes(self) -> dict[str, Any]:
        return super()._sizes() | _PRESETS[self.preset]

    def _kind_of_likelihood(self) -> str:
        if self.likelihood != "auto":
            return self.likelihood
        n_levels = self._form_.n_levels
        is_few = n_levels <= MAX_CATEGORIES
        return "bernoulli" if n_levels == 2 else "categorical" if is_few else "logistic_mixture"

    def _build_likelihood(self, n_levels: int) -> Discrete:
        kind = self._kind_of_likelihood()
        if kind == "bernoulli":
            if n_levels != 2:
                raise ParameterError(
                    f"{type(self).__name__} got likelihood='bernoulli' for images of {n_levels} "
                    "levels, expected 2; choose another likelihood."
                )
            return Bernoulli()
        if kind == "categorical":
            return Categorical(n_levels)
        return LogisticMixture(n_levels, self.n_components)

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        def case(likelihood: str, n_levels: int, **options: Any) -> EstimatorCase:
            return EstimatorCase(
                f"PixelCNNEstimator({likelihood})",
                lambda: cls(
                    likelihood=likelihood,
                    image_shape=(1, 3),
                    n_layers=2,
                    n_channels=8,
                    max_epochs=20,
                    **options,
                ),
                levels=tuple(range(n_levels)),
            )

        return [
            case("bernoulli", 2),
            case("categorical", 4),
            case("logistic_mixture", 4, n_components=3),
        ]
