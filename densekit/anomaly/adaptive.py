"""A density of images that learns from nothing but the image at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from densekit.images.schema import Images

Array = NDArray[np.float64]

N_SCALES = 8
LEAST_SCALE = 0.04  # of a level, where a prediction is all but sure
SHARE = 0.02  # of an expert's weight that all share anew after each number
EDGES = (0.0, 1 / 16, 1 / 4)  # of the levels; between them lie kinds of neighbourhoods
CHUNK = 500  # images at a time


@dataclass(frozen=True)
class AdaptiveImageDensity:
    """Log-mass of images by experts who predict each number from its neighbours above and left.

    What a universal code tells, in nats: how complex an image is to whoever has never seen another
    (Serrà 2020, eq. 3, where a compressor's length stands in its place). An expert is a discretised
    logistic around a prediction of Weinberger 2000 (LOCO-I) or Wu 1997 (CALIC), of a width of its
    own; one more says that all levels are alike. They start as equals and weigh what they have
    earned so far in the image, in neighbourhoods as rough as this one (Herbster 1998, fixed share).

    Attributes
    ----------
    shape : (height, width, channels)
    n_levels : int
    """

    shape: tuple[int, int, int]
    n_levels: int

    @classmethod
    def of(cls, X: Any, estimator: Any) -> AdaptiveImageDensity:
        """One of images such as these; an estimator of images may say their shape and levels."""
        shape = getattr(estimator, "image_shape", None)
        n_levels = getattr(estimator, "n_levels", "auto")
        images = Images.of(X, shape, n_levels, source="AnomalyDetector")
        return cls(images.shape, images.n_levels)

    def score_samples(self, X: Any) -> Array:
        """Log-mass of images (n, H, W), (n, H, W, C) or flat; (n,) in nats."""
        terms = self.log_prob_terms(X)
        return terms.reshape(len(terms), -1).sum(1)

    def log_prob_terms(self, X: Any) -> Array:
        """Log-mass of each pixel given those before it, (n, H, W) in nats."""
        images = np.asarray(X, dtype=np.float64).reshape(-1, *self.shape)
        parts = [self._terms(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
        return np.concatenate([np.empty((0, *self.shape[:2])), *parts])

    def _terms(self, images: Array) -> Array:
        n_images, height, width, n_channels = images.shape
        scales = np.geomspace(LEAST_SCALE, max(0.5, self.n_levels / 4), N_SCALES)
        terms = np.zeros((n_images, height, width))
        every = np.arange(n_images)
        weights: list[Array] = []  # of each channel's experts
        for row, column, channel in np.ndindex(height, width, n_channels):
            x = images[:, row, column, channel]
            guesses, roughness = _neighbours(images, row, column, channel)
            mass = self._masses(x, guesses, scales)
            n_experts = mass.shape[1]
            if (row, column) == (0, 0):
                weights.append(np.full((n_images, len(EDGES) + 1, n_experts), 1 / n_experts))
            place = every, np.searchsorted(EDGES, roughness / self.n_levels)
            earned = weights[channel][place] * mass
            found = earned.sum(1)
            terms[:, row, column] += np.log(found)
            kept = (1 - SHARE) * earned / found[:, None]
            weights[channel][place] = kept + SHARE / n_experts
        return terms

    def _masses(self, x: Array, guesses: Array, scales: Array) -> Array:
        """Mass of each image's number by each expert, (n, experts)."""
        gap = (x[:, None] - guesses)[:, :, None]
        is_last, is_first = (x >= self.n_levels - 1), (x <= 0)
        above = np.where(is_last[:, None, None], 1.0, expit((gap + 0.5) / scales))
        below = np.where(is_first[:, None, None], 0.0, expit((gap - 0.5) / scales))
        alike = np.full((len(x), 1), 1 / self.n_levels)
        return np.concatenate([(above - below).reshape(len(x), -1), alike], axis=1)


def _neighbours(images: Array, row: int, column: int, channel: int) -> tuple[Array, Array]:
    """Predictions of a number by its neighbours, (n, predictions), and how rough these are, (n,).

    From the second channel on there are as many again, moved by what the channel before turned out
    to be beside its own prediction.
    """
    left, up, up_left, up_right = _around(images[..., channel], row, column)
    median = _median(left, up, up_left)
    slope = (left + up) / 2 + (up_right - up_left) / 4
    guesses = [left, up, median, (left + up) / 2, slope]
    if channel:
        before = images[..., channel - 1]
        moved = before[:, row, column] - _median(*_around(before, row, column)[:3])
        guesses += [guess + moved for guess in guesses]
    gaps = [abs(left - up_left), abs(up - up_left), abs(up - up_right)]
    return np.stack(guesses, 1), np.max(gaps, axis=0)


def _around(plane: Array, row: int, column: int) -> tuple[Array, Array, Array, Array]:
    """Left, up, up left and up right; at the border the nearest known, for the first number 0."""
    nothing = np.zeros(len(plane))
    if row == 0:
        left = plane[:, 0, column - 1] if column else nothing
        return left, left, left, left
    up = plane[:, row - 1, column]
    left = plane[:, row, column - 1] if column else up
    up_left = plane[:, row - 1, column - 1] if column else up
    up_right = plane[:, row - 1, column + 1] if column + 1 < plane.shape[2] else up
    return left, up, up_left, up_right


def _median(left: Array, up: Array, up_left: Array) -> Array:
    """The middle one of left, up and the plane through all three."""
    least, most = np.minimum(left, up), np.maximum(left, up)
    return np.clip(left + up - up_left, least, most)
