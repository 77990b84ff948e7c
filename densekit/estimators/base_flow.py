"""What flow estimators share beyond other density estimators."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from densekit import registry
from densekit.densities.base import Density
from densekit.densities.flow import Flow
from densekit.errors import ShapeError
from densekit.estimators.base import DensityEstimator
from densekit.estimators.parameters import either, integer, one_of, parameter, sizes
from densekit.estimators.trained import MANY_ROWS
from densekit.transforms import Bounded, Chain, Inverse, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class BaseFlowEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityEstimator):
    """Base of the flows: a subclass says its layers, and rows can be mapped to latents and back.

    Parameters
    ----------
    {flow_parameters}
    {shared_parameters}
    """

    base: Any = parameter("normal")
    hidden_sizes: tuple[int, ...] | str = parameter("auto", either(one_of("auto"), sizes))

    @abstractmethod
    def _build_layers(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> list[Transform]:
        """Build the layers, from data to latents."""

    def _build_density(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        layers = self._build_layers(event_shape, context_shape)
        output_shape = layers[-1].output_shape if layers else event_shape
        base = registry.build("bases", own_copy(self.base), output_shape)
        if base.on_unit_interval:
            layers.append(Inverse(Bounded.logit(output_shape)))
        return Flow(Chain(layers, event_shape=event_shape), base)

    def transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Map rows to latents, which are distributed as the base if the fit is good.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        y : array-like, optional
            The condition of each row; needed with ``conditional=True``.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
        """
        rows = self._rows(X)
        context = self._encode(y, len(rows)) if self.conditional else None
        return self._evaluate(self._to_latents, rows, context).numpy()

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> NDArray[np.float64]:
        """Fit to X, and map its rows to latents."""
        return self.fit(X, y, **fit_params).transform(X, y)

    def inverse_transform(self, Z: Any, y: Any = None) -> NDArray[np.float64]:
        """Map latents of shape (n_samples, n_features) back to rows in the units of X."""
        check_is_fitted(self)
        latents = check_array(Z, dtype=np.float64, order="C", input_name="Z", estimator=self)
        if latents.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"{type(self).__name__}.inverse_transform got Z with {latents.shape[1]} columns, "
                f"expected {self.n_features_in_}."
            )
        context = self._encode(y, len(latents)) if self.conditional else None
        rows = torch.from_numpy(latents if latents.flags.writeable else latents.copy())
        return self._evaluate(self._from_latents, rows, context).numpy()

    def _sizes(self) -> dict[str, Any]:
        """More rows bear wider layers."""
        width = 128 if self._has_many_rows() else 64
        return super()._sizes() | {"hidden_sizes": (width, width)}

    def _has_many_rows(self) -> bool:
        return bool(self.n_samples_fit_ >= MANY_ROWS)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)

    def _to_latents(self, x: Tensor, context: Tensor | None) -> Tensor:
        z: Tensor = self.density_.transform(x, context)[0]
        return z

    def _from_latents(self, z: Tensor, context: Tensor | None) -> Tensor:
        x: Tensor = self.density_.transform.inverse(z.to(self.density_.anchor.dtype), context)[0]
        return x


@dataclass(kw_only=True, eq=False, repr=False)
class StackedFlowEstimator(BaseFlowEstimator):
    """Base of the flows that repeat one step: a subclass says what the step is made of.

    Parameters
    ----------
    n_layers : int, default=8
        Steps.
    elementwise : str, Elementwise or class, optional
        The map inside the layers; None is the model's own, or a spline for a single column.
    {flow_parameters}
    {shared_parameters}
    """

    n_layers: int | str = parameter(8, integer(1))
    elementwise: Any = parameter(None)

    @abstractmethod
    def _build_step(
        self, index: int, event_shape: tuple[int, ...], options: dict[str, Any]
    ) -> list[Transform]:
        """Build one step; `options` are those of couplings and autoregressive layers alike."""

    def _build_layers(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> list[Transform]:
        options = {
            "elementwise": self.elementwise,
            "hidden_sizes": self._size("hidden_sizes"),
            "context_shape": context_shape,
        }
        steps = [self._build_step(i, event_shape, options) for i in range(self._size("n_layers"))]
        return [layer for step in steps for layer in step]


def own_copy(spec: Any) -> Any:
    """Copy an instance that is a parameter, so that training leaves the user's own alone."""
    return copy.deepcopy(spec) if isinstance(spec, torch.nn.Module) else spec
