"""Images beside themselves turned: whether an image stands as training images do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from densekit.exceptions import ShapeError

Array = NDArray[np.float64]
Score = Callable[[NDArray[Any]], Array]


def check_images(X: Any, source: str) -> None:
    """Refuse what cannot be turned.

    Raises
    ------
    ShapeError
        A ValueError: X is not (n, H, W) or (n, H, W, C).
    """
    if np.ndim(X) not in (3, 4):
        raise ShapeError(
            f"{source} got score='orientation' and X of shape {np.shape(X)}, expected images "
            "(n, H, W) or (n, H, W, C); bring flat images to that shape, and choose another score "
            "for rows that are no images."
        )


def log_ratio(log_density: Score, images: NDArray[Any]) -> Array:
    """Log-density of images as they stand, less that of images turned; (n,) in nats.

    Turning an image moves its numbers and nothing else, so the mean density over the turns is a
    density as well: one that knows the strokes and textures of the training images, and has them
    on their side. It is the background of a likelihood ratio (as in Ren 2019, eq. 2) that no second
    model has to learn. That turned images are what a model should tell apart is Golan and
    El-Yaniv's idea (2018).

    Parameters
    ----------
    log_density : callable
        Of images, (n,).
    images : array (n, H, W) or (n, H, W, C)
    """
    nats = _by_turn(log_density, images)
    ratio: Array = nats[0] - logsumexp(nats[1:], axis=0) + np.log(len(nats) - 1)
    return ratio


def terms(pixel_terms: Score, images: NDArray[Any]) -> Array:
    """What each pixel adds to `log_ratio`; (n, H * W).

    Each turn's terms are turned back, and count by the turn's share of the mean density. What then
    misses `log_ratio` belongs to no pixel: it is the entropy of the shares below its greatest.
    """
    n_images, height, width = images.shape[:3]
    found = []
    for k in _turns(images):
        turned = _turned(images, k)
        maps = pixel_terms(turned).reshape(n_images, *turned.shape[1:3])
        found.append(_turned(maps, -k).reshape(n_images, height * width))
    every = np.stack(found)
    share = softmax(every[1:].sum(2), axis=0)
    own: Array = every[0] - (share[:, :, None] * every[1:]).sum(0)
    return own


def _by_turn(log_density: Score, images: NDArray[Any]) -> Array:
    return np.stack([log_density(_turned(images, k)) for k in _turns(images)])


def _turns(images: NDArray[Any]) -> tuple[int, ...]:
    """In quarters of a circle, none first; an oblong image can be turned upside down only."""
    return (0, 1, 2, 3) if images.shape[1] == images.shape[2] else (0, 2)


def _turned(images: NDArray[Any], k: int) -> NDArray[Any]:
    return np.ascontiguousarray(np.rot90(images, k, axes=(1, 2)))
