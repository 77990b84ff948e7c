"""Glow: couplings between learned linear maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.image_flow import ImageFlowEstimator
from densekit.estimators.parameters import either, integer, one_of, parameter
from densekit.transforms import ActNorm, ConvCoupling, Coupling, Linear, Squeeze, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class GlowEstimator(ImageFlowEstimator):
    """Glow (Kingma 2018): steps of ActNorm, invertible linear map and affine coupling.

    The linear map is LU-parameterised and mixes all columns before each coupling. Scoring and
    sampling cost one network pass each. On images, arrays (n, H, W) or (n, H, W, C) of integers,
    the linear maps are 1x1 convolutions, the conditioners are convolutional, and after each scale
    half of the channels leave; scores are then lower bounds of log-masses, by dequantisation.

    Parameters
    ----------
    n_layers : int or "auto", default="auto"
        Steps, of each scale on images; "auto" is 8, or the preset's on images.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "affine", or "spline" for a single column.
    {image_flow_parameters}
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import GlowEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> GlowEstimator(max_epochs=5, random_state=0).fit(X).transform(X).shape
    (200, 2)

    On images:

    >>> from sklearn.datasets import load_digits
    >>> images = load_digits().images[:100].astype(int)
    >>> glow = GlowEstimator(n_layers=2, n_channels=8, max_epochs=1, random_state=0).fit(images)
    >>> glow.sample(3, temperature=0.7).shape
    (3, 8, 8)
    """

    n_layers: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    _presets = {
        "fast": {"n_layers": 8, "n_channels": 64, "n_blocks": 1},
        "paper": {"n_layers": 32, "n_channels": 512, "n_blocks": 1},
    }

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        return [ActNorm(event_shape), Linear(event_shape), Coupling(event_shape, **options)]

    def _build_scale(
        self, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        squeeze = Squeeze(event_shape)
        layers: list[Transform] = [squeeze]
        shape = squeeze.output_shape
        for _ in range(self._size("n_layers")):
            layers += [ActNorm(shape), Linear(shape), ConvCoupling(shape, **options)]
        return layers
