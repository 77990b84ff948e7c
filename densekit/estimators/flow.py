"""A flow of any layers: the home of third-party ones."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from densekit import registry
from densekit.errors import ParameterError
from densekit.estimators.base_flow import BaseFlowEstimator, own_copy
from densekit.estimators.parameters import parameter
from densekit.transforms import Transform

DEFAULT_LAYERS = ("actnorm", "autoregressive", "reverse") * 4


@dataclass(kw_only=True, eq=False, repr=False)
class FlowEstimator(BaseFlowEstimator):
    """Flow whose layers are given as a list, from data to latents.

    Columns are standardised in front of the first layer, unless that layer wants them in their
    own units ("standardize", "logit", or a plugin's that says so).

    Parameters
    ----------
    layers : sequence of str, (str, dict), Transform or class
        Each a name of ``densekit.available("transforms")``, a name with its options, a class or an
        instance (which is copied). A layer's own options go before the estimator's `hidden_sizes`.
        The default is a masked autoregressive flow of four layers.
    {flow_parameters}
    {shared_parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import FlowEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> layers = ["actnorm", ("coupling", {"elementwise": "spline"}), "reverse", "coupling"]
    >>> FlowEstimator(layers=layers, max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    layers: Sequence[Any] = parameter(DEFAULT_LAYERS)

    def _check_layers(self) -> list[tuple[Any, dict[str, Any]]]:
        """Parse the list into targets and options, before any work."""
        if isinstance(self.layers, str) or not isinstance(self.layers, Sequence):
            raise ParameterError(
                f"FlowEstimator got layers={self.layers!r}, expected a list of layers."
            )
        parsed = []
        for layer in self.layers:
            spec, options = layer if isinstance(layer, tuple | list) else (layer, {})
            parsed.append((registry.resolve("transforms", spec), dict(options)))
        return parsed

    def _standardizes(self) -> bool:
        layers = self._check_layers()
        first = layers[0][0] if layers else None
        cls = type(first) if isinstance(first, Transform) else registry.owner(first)
        return not getattr(cls, "in_data_units", False)

    def _build_layers(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> list[Transform]:
        built: list[Transform] = []
        for spec, options in self._check_layers():
            shape = built[-1].output_shape if built else event_shape
            shared = {"context_shape": context_shape, **self._shared_options(spec)}
            built.append(registry.build("transforms", own_copy(spec), shape, **(shared | options)))
        return built

    def _shared_options(self, target: Any) -> dict[str, Any]:
        """Options of the estimator that the layer has as well."""
        if isinstance(target, Transform):
            return {}
        names = inspect.signature(target).parameters
        return {"hidden_sizes": self._size("hidden_sizes")} if "hidden_sizes" in names else {}
