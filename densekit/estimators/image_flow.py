"""What flows on images share: dequantisation, scales, translation."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, check_scalar
from torch import Tensor

from densekit.data.columns import Columns
from densekit.data.context import Labels
from densekit.data.images import Images
from densekit.densities.base import Density, check_not_negative
from densekit.densities.dequantized import Dequantized
from densekit.densities.flow import Flow
from densekit.densities.normal import Normal
from densekit.errors import ContextError, ShapeError
from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.base_image import ImageEstimator
from densekit.estimators.parameters import either, integer, one_of, parameter
from densekit.estimators.preprocessing import take_apart
from densekit.transforms import Bounded, Chain, ConvCoupling, Factor, Transform

LOGIT_MARGIN = 0.05  # share of the unit interval kept free on both sides (Dinh 2016, section 4.1)
MAX_SCALES = 3
N_LAYERS_OF_TABLES = 8
# Levels by which rounding may take a translated pixel beyond the logit's bounds.
GREY_SLACK = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class ImageFlowEstimator(ImageEstimator, StackedFlowEstimator):
    """Base of the flows that take tables and images: a subclass says the layers of a scale.

    Parameters
    ----------
    {image_flow_parameters}
    {flow_parameters}
    {shared_parameters}
    """

    n_scales: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    n_channels: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    n_blocks: int | str = parameter("auto", either(one_of("auto"), integer(0)))
    preset: str = parameter("fast", one_of("fast", "paper"))
    dequantization: str = parameter("uniform", one_of("uniform", "variational"))
    n_dequantizations: int = parameter(1, integer(1))

    _presets: ClassVar[dict[str, dict[str, int]]]
    """Sizes of an image flow by name, "fast" and "paper": n_layers, n_channels, n_blocks."""

    @abstractmethod
    def _build_scale(
        self, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        """Build the layers of one scale of an image flow, a squeeze among them.

        `options` are those of `ConvCoupling`.
        """

    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        y: Any = None,
        temperature: float = 1.0,
        return_y: bool = False,
        round: bool = False,
    ) -> Any:
        """Draw new images, or new rows.

        Parameters
        ----------
        n_samples, random_state, y, return_y, round
            As in `DensityEstimator.sample`.
        temperature : float, default=1.0
            A factor of a flow's latents (Kingma 2018, section 6): below one, images look better
            and are less diverse.

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
            return self._levels_of(core.transform.inverse(z, context)[0])

        return self._sample(n_samples, random_state, y, draw, return_y, round)

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
            A ValueError: the flow was not fitted on images with labels as `y`.
        """
        check_is_fitted(self)
        who = f"{type(self).__name__}.translate"
        labels = getattr(self, "_context_", None)
        if not (isinstance(labels, Labels) and isinstance(self._form_, Images)):
            raise ContextError(
                f"{who} needs images and labels; fit with conditional=True and class labels as y."
            )
        reach = _margin(self._form_.n_levels) + GREY_SLACK
        low, high = -reach - 0.5, self._form_.n_levels + reach - 0.5
        levels = self._form_.grey(X, low=low, high=high, who=who)
        codes = [labels.encode(np.array([label]), who)[0] for label in (source, target)]
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

    def inverse_transform(self, Z: Any, y: Any = None) -> NDArray[Any]:
        """Map latents of shape (n_samples, n_features) back to rows in the units of X.

        Images come as those that were fitted, of levels.
        """
        rows = super().inverse_transform(Z, y)
        return self._restore(torch.from_numpy(rows)) if self._is_discrete() else rows

    def _describe_table(self, X: Any) -> Columns | Images:
        return Columns.of(X)

    def _build_density(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        if not isinstance(self._form_, Images):
            return super()._build_density(event_shape, context_shape)
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
        return Dequantized(
            flow,
            n_levels,
            noise=noise,
            n_dequantizations=self.n_dequantizations,
            seed=int(torch.randint(2**31, ())),
        )

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
        height, width, _ = self._images.shape
        n_possible = 0
        while height % 2 == width % 2 == 0 and min(height, width) >= 4:
            height, width, n_possible = height // 2, width // 2, n_possible + 1
        n_scales = min(n_possible, MAX_SCALES) if isinstance(self.n_scales, str) else self.n_scales
        if not 1 <= n_scales <= n_possible:
            height, width, _ = self._images.shape
            raise ShapeError(
                f"{type(self).__name__} got images of {height}x{width}, whose sides can be halved "
                f"{n_possible} times (to 2 or more), expected at least "
                f"{max(1, n_scales)} times; pad the images with numpy.pad, or ask for fewer "
                "n_scales."
            )
        return n_scales

    def _sizes(self) -> dict[str, Any]:
        if not isinstance(self._form_, Images):
            return super()._sizes() | {"n_layers": N_LAYERS_OF_TABLES}
        return super()._sizes() | self._presets[self.preset] | {"n_scales": self._count_scales()}

    @property
    def _dequantized(self) -> Dequantized:
        return cast("Dequantized", take_apart(self.density_)[1])

    @property
    def _flow(self) -> Flow:
        """The flow of rows as it was trained, of continuous grey levels for images."""
        if isinstance(self._form_, Images):
            return cast("Flow", self._dequantized.density)
        return cast("Flow", self.density_)

    def _exact_flow(self) -> Flow:
        """A copy in float64, in which a way there and back ends where it began."""
        return copy.deepcopy(self._flow).double().to(self._device)

    def _levels_of(self, x: Tensor) -> Tensor:
        return self._dequantized.quantize(x) if isinstance(self._form_, Images) else x

    def _to_latents(self, x: Tensor, context: Tensor | None) -> Tensor:
        if not isinstance(self._form_, Images):
            return super()._to_latents(x, context)
        x = x.to(self._dequantized.anchor.dtype)
        z: Tensor = self._flow.transform(self._dequantized.dequantize(x), context)[0]
        return z.flatten(1)

    def _from_latents(self, z: Tensor, context: Tensor | None) -> Tensor:
        if not isinstance(self._form_, Images):
            return super()._from_latents(z, context)
        flow = self._flow
        z = z.to(flow.anchor.dtype).unflatten(1, flow.base.event_shape)
        return self._levels_of(flow.transform.inverse(z, context)[0])


def _margin(n_levels: int) -> float:
    """How far the logit's interval goes beyond the levels, on both sides."""
    return n_levels * LOGIT_MARGIN / (1 - 2 * LOGIT_MARGIN)
