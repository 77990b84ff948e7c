"""Neural spline flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.elementwise import Spline
from densekit.estimators.base_flow import StackedFlowEstimator
from densekit.estimators.parameters import (
    boolean,
    either,
    integer,
    number,
    one_of,
    parameter,
)
from densekit.transforms import ActNorm, Autoregressive, Coupling, Linear, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class NSFEstimator(StackedFlowEstimator):
    """Neural spline flow (Durkan 2019): rational-quadratic splines in place of affine maps.

    The most expressive flow here, and a good first choice for tables.

    Parameters
    ----------
    n_layers : int or "auto", default="auto"
        Spline layers; "auto" is 3, and 5 from 10,000 training rows on, which bear them.
    elementwise : str, Elementwise or class, optional
        The map of a column; None is a rational-quadratic spline of `n_bins` in `bound`.
    n_bins : int or "auto", default="auto"
        Bins of each spline; "auto" is 8, and 16 from 10,000 training rows on, which bear them.
    bound : float, default=5.0
        Splines act in [-bound, bound], in units of a column's robust standard deviation; beyond it
        layers are linear.
    autoregressive : bool, default=True
        True is RQ-NSF (AR): scoring costs one network pass, a sample about one pass in arithmetic
        but in many small steps. False is RQ-NSF (C), couplings behind linear maps: one pass each.
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import NSFEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> NSFEstimator(max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    n_layers: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    n_bins: int | str = parameter("auto", either(one_of("auto"), integer(2)))
    bound: float = parameter(5.0, number(0.0))
    autoregressive: bool = parameter(True, boolean)

    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        if options["elementwise"] is None:
            spline = Spline(n_bins=self._size("n_bins"), bound=self.bound)
            options = options | {"elementwise": spline}
        if not self.autoregressive:
            return [ActNorm(event_shape), Linear(event_shape), Coupling(event_shape, **options)]
        order = ("natural", "reversed")[index % 2]
        return [ActNorm(event_shape), Autoregressive(event_shape, order=order, **options)]

    def _sizes(self) -> dict[str, Any]:
        n_layers, n_bins = (5, 16) if self._has_many_rows() else (3, 8)
        return super()._sizes() | {"n_layers": n_layers, "n_bins": n_bins}
