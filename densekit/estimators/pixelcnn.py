"""PixelCNN: images, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, check_scalar
from torch import Tensor

from densekit.data import seeds
from densekit.data.context import Labels
from densekit.densities.base import Density, check_not_negative
from densekit.densities.likelihoods import Bernoulli, Categorical, Discrete, LogisticMixture
from densekit.densities.pixelcnn import PixelCNN
from densekit.errors import ContextError, ParameterError
from densekit.estimators.base_image import ImageEstimator
from densekit.estimators.parameters import either, integer, number, odd, one_of, parameter
from densekit.estimators.preprocessing import take_apart
from densekit.estimators.trained import MANY_ROWS
from densekit.training import Trainer
from densekit.training.progress import progress_bar

if TYPE_CHECKING:
    from densekit.testing.cases import EstimatorCase

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
    {image_parameters}
    {shared_parameters}

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
        n_samples, random_state, y, return_y
            As in `DensityEstimator.sample`.
        temperature : float, default=1.0
            Each number is drawn with masses to the power ``1 / temperature``; at 0 the likeliest
            level is taken. Strokes end sooner below one, which does not always look better.
        guidance : float, default=0.0
            With labels as `y`, how much more than in the training data samples are to look like
            their own class and no other: each level's mass is multiplied by ``p(y | pixels so
            far)`` to this power, with all classes as likely. Samples are then less diverse, and
            drawing takes as many times as long as there are classes, and more.

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
        who = f"{type(self).__name__}.sample"
        self._check_draws(who, temperature, guidance)

        def draw(n: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
            n_rows = n * self.density_.event_shape[1]
            with progress_bar(is_shown=self.verbose > 0, total=n_rows, desc=who) as bar:
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
        who = f"{type(self).__name__}.complete"
        self._check_draws(who, temperature, guidance)
        check_scalar(n_samples, "n_samples", (int, np.integer), min_val=1)
        is_known = torch.from_numpy(self._images.known(mask, len(rows), who=who))
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

    def _check_draws(self, who: str, temperature: float, guidance: float) -> None:
        """Refuse what `PixelCNN.complete` would, and say so to who called the estimator."""
        check_is_fitted(self)
        check_not_negative(who, temperature=temperature, guidance=guidance)
        if guidance and not self._has_classes():
            raise ContextError(
                f"{who} got guidance={guidance!r}, expected 0 where there are no classes to tell "
                "apart; fit with conditional=True and labels as y."
            )

    @property
    def _core(self) -> PixelCNN:
        return cast("PixelCNN", take_apart(self.density_)[1])

    def _build_density(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        n_levels = self._images.n_levels
        return PixelCNN(
            event_shape,
            likelihood=self._build_likelihood(n_levels),
            n_levels=n_levels,
            n_layers=self._size("n_layers"),
            n_channels=self._size("n_channels"),
            kernel_size=self._size("kernel_size"),
            dilation=self._size("dilation"),
            context_shape=context_shape,
        )

    def _trainer(self, noise: float) -> Trainer:
        trainer = super()._trainer(noise)
        trainer.contrast = self._contrast()
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

    def _build_likelihood(self, n_levels: int) -> Discrete:
        kind = self.likelihood
        if kind == "auto":
            is_few = n_levels <= MAX_CATEGORIES
            kind = "bernoulli" if n_levels == 2 else "categorical" if is_few else "logistic_mixture"
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
        from densekit.testing.cases import EstimatorCase

        def case(likelihood: str, n_levels: int) -> EstimatorCase:
            return EstimatorCase(
                f"PixelCNNEstimator({likelihood})",
                lambda: cls(
                    likelihood=likelihood,
                    image_shape=(1, 3),
                    n_layers=2,
                    n_channels=8,
                    n_components=3,
                    max_epochs=20,
                ),
                levels=tuple(range(n_levels)),
            )

        return [case("bernoulli", 2), case("categorical", 4), case("logistic_mixture", 4)]
