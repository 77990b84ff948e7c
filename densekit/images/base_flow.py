"""What flows on images share: dequantisation, scales, translation."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_scalar
from torch import Tensor

from densekit.cases import EstimatorCase
from densekit.data.context import Labels
from densekit.densities.base import Density, check_not_negative
from densekit.densities.flow import Flow
from densekit.densities.normal import Normal
from densekit.estimators.parameters import either, integer, one_of, parameter
from densekit.exceptions import ContextError, ShapeError
from densekit.images.base import ImageEstimator
from densekit.images.conv_coupling import ConvCoupling
from densekit.images.dequantized import Dequantized
from densekit.images.factor import Factor
from densekit.transforms import Bounded, Chain, Transform

LOGIT_MARGIN = 0.05  # share of the unit interval kept free on both sides (Dinh 2016, section 4.1)
MAX_SCALES = 3
# Levels by which rounding may take a translated pixel beyond the logit's bounds.
GREY_SLACK = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class ImageFlowEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ImageEstimator):
    """Base of the flows of images: a subclass says the layers of a scale.

    Parameters
    ----------
    n_layers : int or "auto", default="auto"
        Layers of each scale; "auto" is the preset's.
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
    """

    n_layers: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    elementwise: Any = parameter(None)
    n_scales: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    n_channels: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    n_blocks: int | str = parameter("auto", either(one_of("auto"), integer(0)))
    preset: str = parameter("fast", one_of("fast", "paper"))
    dequantization: str = parameter("uniform", one_of("uniform", "variational"))
    n_dequantizations: int = parameter(1, integer(1))

    _dropped_parameters: ClassVar = frozenset({"base", "hidden_sizes"})
    _presets: ClassVar[dict[str, dict[str, int]]]
    """Sizes of an image flow by name, "fast" and "paper": n_layers, n_channels, n_blocks."""

    @abstractmethod
    def _build_scale(
        self, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        """Build the layers of one scale of an image flow, a squeeze among them.

        `options` are those of `ConvCoupling`.
        """

    def sample(  # type: ignore[override]  # levels are whole numbers as they are
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        y: Any = None,
        temperature: float = 1.0,
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
            A factor of a flow's latents (Kingma 2018, section 6): below one, images look better
            and are less diverse.
        return_y : bool, default=False
            Whether to return the condition of each image as well.

        Returns
        -------
        array or data frame
            In the container and the units of the X that was fitted.

        Raises
        ------
        ValueError
            The temperature is no finite number from 0.
        """
        check_not_negative(f"{type(self).__name__}.sample", temperature=temperature)

        def draw(n: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
            if temperature == 1.0:
                return self._draw(n, context, generator)
            core = self._flow
            z = core.base.sample(n, context, generator=generator) * temperature
            return self._dequantized.quantize(core.transform.inverse(z, context)[0])

        return self._sample(n_samples, random_state, y, draw, return_y)

    def translate(self, X: Any, source: Any, target: Any) -> NDArray[np.float64]:
        """Turn images of one class into images of another: latents under one label, images under
        the other (Kingma 2018, section 6).

        Parameters
        ----------
        X : array of images
            Levels, or grey levels with fractions, such as this method returns.
        source, target : label
            The class of X, and the class that it is turned into.

        Returns
        -------
        ndarray shaped as X, float64
            Grey levels with fractions, so that the way back leads to X again, except where a pixel
            comes so near the logit's bounds that float64 cannot tell it from them.

        Raises
        ------
        ContextError
            A ValueError: the flow was not fitted with labels as `y`.
        """
        check_is_fitted(self)
        caller = f"{type(self).__name__}.translate"
        labels = getattr(self, "_context_", None)
        if not isinstance(labels, Labels):
            raise ContextError(
                f"{caller} needs labels; fit with conditional=True and class labels as y."
            )
        reach = _margin(self._form_.n_levels) + GREY_SLACK
        low, high = -reach - 0.5, self._form_.n_levels + reach - 0.5
        levels = self._form_.grey(X, low=low, high=high, source=caller)
        codes = [labels.encode(np.array([label]), caller)[0] for label in (source, target)]
        flow = self._exact_flow()

        def turn(x: Tensor, c: Tensor | None) -> Tensor:
            given = [torch.from_numpy(code).expand(len(x), -1) for code in codes]
            z, _ = flow.transform(x + 0.5, given[0])
            turned: Tensor = flow.transform.inverse(z, given[1])[0] - 0.5
            return turned

        found = self._form_.flat(self._evaluate(turn, torch.from_numpy(levels)).numpy())
        return found.reshape(np.shape(X))

    def interpolate(self, X1: Any, X2: Any, n: int = 8, *, y: Any = None) -> NDArray[Any]:
        """Images on the way from one to another, along a straight line of latents.

        Parameters
        ----------
        X1, X2 : arrays of as many images
        n : int, default=8
            Steps, both ends among them.
        y : array-like, optional
            The condition of each pair; needed with ``conditional=True``.

        Returns
        -------
        ndarray of shape (n_pairs, n, ...)
            The first is X1 and the last X2.
        """
        check_scalar(n, "n", (int, np.integer), min_val=2)
        ends = [self._rows(X) for X in (X1, X2)]
        if ends[0].shape != ends[1].shape:
            raise ShapeError(
                f"{type(self).__name__}.interpolate got {len(ends[0])} and {len(ends[1])} images, "
                "expected as many of both."
            )
        context = self._encode(y, len(ends[0])) if self.conditional else None
        first, last = (self._evaluate(self._to_latents, end, context) for end in ends)
        shares = torch.linspace(0, 1, n, dtype=first.dtype)
        steps = [
            self._restore(self._evaluate(self._from_latents, torch.lerp(first, last, s), context))
            for s in shares
        ]
        return np.stack([np.asarray(step) for step in steps], axis=1)

    def transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Map images to latents, which are distributed as the base if the fit is good.

        Parameters
        ----------
        X : array of images
        y : array-like, optional
            The condition of each image; needed with ``conditional=True``.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
        """
        rows = self._rows(X)
        context = self._encode(y, len(rows)) if self.conditional else None
        return self._evaluate(self._to_latents, rows, context).numpy()

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> NDArray[np.float64]:
        """Fit to X, and map its images to latents.

        Parameters
        ----------
        X : array of images
        y : array-like, optional
            The condition of each image, with ``conditional=True``.
        **fit_params
            Handed to `fit`.
        """
        return self.fit(X, y, **fit_params).transform(X, y)

    def inverse_transform(self, Z: Any, y: Any = None) -> NDArray[Any]:
        """Map latents of shape (n_samples, n_features) back to images of levels.

        Parameters
        ----------
        Z : array of shape (n_samples, n_features)
            Latents.
        y : array-like, optional
            The condition of each image; needed with ``conditional=True``.
        """
        check_is_fitted(self)
        latents = check_array(Z, dtype=np.float64, input_name="Z", estimator=self)
        if latents.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"{type(self).__name__}.inverse_transform got Z with {latents.shape[1]} columns, "
                f"expected {self.n_features_in_}."
            )
        context = self._encode(y, len(latents)) if self.conditional else None
        rows = torch.from_numpy(latents.copy())
        return self._restore(self._evaluate(self._from_latents, rows, context))

    def _build_model(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        n_levels = self._form_.n_levels
        margin = _margin(n_levels)
        logit = Bounded(event_shape, low=-margin, high=n_levels + margin)
        options = {
            "elementwise": self.elementwise,
            "n_channels": self._size("n_channels"),
            "n_blocks": self._size("n_blocks"),
            "context_shape": context_shape,
        }
        layers = Chain([logit, self._build_scales(event_shape, self._count_scales(), options)])
        flow = Flow(layers, Normal(layers.output_shape))
        noise = None if self.dequantization == "uniform" else self._build_noise(event_shape)
        model = Dequantized(
            flow,
            n_levels,
            noise=noise,
            n_dequantizations=self.n_dequantizations,
            seed=int(torch.randint(2**31, ())),
        )
        return self._in_precision(model)

    def _build_scales(
        self, event_shape: tuple[int, ...], n_scales: int, options: dict[str, Any]
    ) -> Transform:
        """Layers of a scale; then half of the channels leave, and the others go on to the rest."""
        layers = self._build_scale(event_shape, options)
        shape = layers[-1].output_shape
        if n_scales > 1:
            rest = self._build_scales((shape[0] // 2, *shape[1:]), n_scales - 1, options)
            given = {key: options[key] for key in ("n_channels", "context_shape")}
            layers.append(Factor(shape, rest=rest, **given))
        return Chain(layers)

    def _build_noise(self, event_shape: tuple[int, ...]) -> Flow:
        """The noise of variational dequantisation: couplings that see the image (Ho 2019, 3.1)."""
        options: dict[str, Any] = {
            "n_channels": self._size("n_channels"),
            "context_shape": event_shape,
        }
        masks = ("checkerboard", "inverse_checkerboard")
        couplings = [ConvCoupling(event_shape, mask=mask, **options) for mask in masks]
        logit = Bounded(event_shape, low=0.0, high=1.0)
        return Flow(Chain([logit, *couplings]), Normal(event_shape))

    def _count_scales(self) -> int:
        height, width, _ = self._form_.shape
        n_possible = 0
        while height % 2 == width % 2 == 0 and min(height, width) >= 4:
            height, width, n_possible = height // 2, width // 2, n_possible + 1
        n_scales = min(n_possible, MAX_SCALES) if isinstance(self.n_scales, str) else self.n_scales
        if not 1 <= n_scales <= n_possible:
            height, width, _ = self._form_.shape
            raise ShapeError(
                f"{type(self).__name__} got images of {height}x{width}, whose sides can be halved "
                f"{n_possible} times (to 2 or more), expected at least "
                f"{max(1, n_scales)} times; pad the images with numpy.pad, or ask for fewer "
                "n_scales."
            )
        return n_scales

    def _sizes(self) -> dict[str, Any]:
        return super()._sizes() | self._presets[self.preset] | {"n_scales": self._count_scales()}

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        """None: rows of the contract kit have three numbers, and no sides that can be halved."""
        return []

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)

    @property
    def _dequantized(self) -> Dequantized:
        return cast("Dequantized", self.density_.model)

    @property
    def _flow(self) -> Flow:
        """The flow of continuous grey levels."""
        return cast("Flow", self._dequantized.density)

    def _exact_flow(self) -> Flow:
        """A copy in float64, in which a way there and back ends where it began."""
        return copy.deepcopy(self._flow).double().to(self._device)

    def _to_latents(self, x: Tensor, context: Tensor | None) -> Tensor:
        x = x.to(self._dequantized.anchor.dtype)
        z: Tensor = self._flow.transform(self._dequantized.dequantize(x), context)[0]
        return z.flatten(1)

    def _from_latents(self, z: Tensor, context: Tensor | None) -> Tensor:
        flow = self._flow
        z = z.to(flow.anchor.dtype).unflatten(1, flow.base.event_shape)
        return self._dequantized.quantize(flow.transform.inverse(z, context)[0])


def _margin(n_levels: int) -> float:
    """How far the logit's interval goes beyond the levels, on both sides."""
    return n_levels * LOGIT_MARGIN / (1 - 2 * LOGIT_MARGIN)
