"""Cases: how to build one object, and where it is valid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REAL_LINE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Case:
    """How to build one object for the checks.

    Parameters
    ----------
    name : str
        Shown as the test's id.
    build : callable without arguments
        Builds a new object at each call.
    """

    name: str
    build: Callable[[], Any]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class ElementwiseCase(Case):
    """How to build an elementwise map.

    Parameters
    ----------
    edges : tuple of float
        Where the map's formula changes; it must be continuous there.
    """

    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class TransformCase(Case):
    """How to build a transform.

    Parameters
    ----------
    domain : (float, float)
        Interval that every number of x must lie in.
    """

    domain: tuple[float, float] = REAL_LINE


@dataclass(frozen=True)
class DensityCase(Case):
    """How to build a density.

    Parameters
    ----------
    domain : (float, float)
        Interval outside which the density is zero.
    levels : tuple of float, optional
        For a discrete density the values that a number can take.
    tolerance : float
        How far the total probability may be from one where `log_prob` is an estimate or a bound;
        zero for an exact density, whose total is held to rounding errors.
    """

    domain: tuple[float, float] = REAL_LINE
    levels: tuple[float, ...] | None = None
    tolerance: float = 0.0


@dataclass(frozen=True)
class EstimatorCase(Case):
    """How to build an estimator.

    Parameters
    ----------
    levels : tuple of int, optional
        For an estimator of discrete data the values that a number can take.
    beats_gaussian : bool
        Whether the model is meant to do better than one Gaussian on two moons.
    makes_room : bool
        Whether the model can hold a large share of all rows in a narrow place: not so where it
        keeps volumes, as NICE does.
    """

    levels: tuple[int, ...] | None = None
    beats_gaussian: bool = True
    makes_room: bool = True


@dataclass(frozen=True)
class DetectorCase(Case):
    """How to build an anomaly detector."""
