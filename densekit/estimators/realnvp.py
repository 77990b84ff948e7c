"""RealNVP: affine couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.estimators.image_flow import ImageFlowEstimator
from densekit.estimators.parameters import either, integer, one_of, parameter
from densekit.transforms import ActNorm, ConvCoupling, Coupling, Squeeze, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class RealNVPEstimator(ImageFlowEstimator):
    """Real-valued non-volume-preserving flow (Dinh 2016).

    Affine couplings with alternating masks, each behind a normalisation of the columns that does
    not depend on the batch. Scoring and sampling cost one network pass each. On images, arrays
    (n, H, W) or (n, H, W, C) of integers, the masks are checkerboards and then halves of the
    channels, the conditioners are convolutional, and after each scale half of the channels leave;
    scores are then lower bounds of log-masses, by dequantisation.

    Parameters
    ----------
    n_layers : int or "auto", default="auto"
        Couplings, of each scale on images; "auto" is 8, or the preset's on images.
    elementwise : str, Elementwise or class, optional
        The map inside the couplings; None is "affine", or "spline" for a single column.
    {image_flow_parameters}
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import RealNVPEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> RealNVPEstimator(max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    n_layers: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    _presets = {
        "fast": {"n_layers": 8, "n_channels": 64, "n_blocks": 1},
        "paper": {"n_layers": 6, "n_channels": 64, "n_blocks": 8},
    }

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        mask = ("even", "odd")[index % 2]
        return [ActNorm(event_shape), Coupling(event_shape, mask=mask, **options)]

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
