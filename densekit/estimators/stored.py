"""How a fitted density is written down, and built again without data."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch

from densekit.densities.base import Density
from densekit.estimators.parameters import check_parameters
from densekit.estimators.preprocessing import assemble, take_apart
from densekit.persistence import Savable
from densekit.transforms import Chain


class StoredDensity(Savable):
    """Gives `densekit.persistence` the outline of `density_`, and a density for an outline."""

    density_: Any
    _not_built_with: ClassVar[frozenset[str]]
    """Parameters of which the density's size does not depend: they may be any number."""
    _before: ClassVar[dict[str, Any]] = {}
    """What parameters that came later amounted to before, for files that do not hold them."""

    @abstractmethod
    def _make_core(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Density:
        """Build the untrained density of preprocessed rows."""

    def _sizes(self) -> dict[str, Any]:
        """What "auto" means for this fit, for each parameter of the model's size that knows it."""
        return {}

    def _size(self, name: str) -> Any:
        """A parameter of the model's size, resolved where it is "auto"."""
        value = getattr(self, name)
        return self._sizes()[name] if isinstance(value, str) else value

    def _outline_density(self) -> dict[str, Any]:
        """What `_rebuild_density` needs, of JSON's types but for the steps of preprocessing."""
        preprocessing, core = take_apart(self.density_)
        context = getattr(self, "_context_", None)
        return {
            "event_shape": list(self.density_.event_shape),
            "context_shape": None if context is None else list(context.shape),
            "preprocessing": preprocessing.steps,
            "dtype": str(core.anchor.dtype).removeprefix("torch."),
        }

    def _rebuild_density(self, outline: dict[str, Any], device: torch.device) -> Density:
        """Build the density of an outline, whose weights are still to be filled in."""
        check_parameters(self)
        shape = outline["event_shape"]
        core = self._make_core(shape, outline["context_shape"], device, outline["dtype"])
        preprocessing = Chain(outline["preprocessing"], event_shape=shape).double().to(device)
        return assemble(preprocessing, core)
