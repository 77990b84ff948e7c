"""The contract of a monotone map of one number."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from densekit._kernels import MapKernel
from densekit.cases import ElementwiseCase
from densekit.recorded import Recorded


class Elementwise(Recorded, ABC):
    """Monotone map of the real line onto itself; its parameters come from outside.

    It holds options only, never tensors. Couplings and autoregressive transforms ask for
    ``n_params`` numbers per element from their network and hand them over unbounded, near zero
    at the start of training: the map bounds them itself and is the identity at zero.
    """

    n_params: int
    """How many parameters an element needs."""

    @property
    def kernel(self) -> MapKernel | None:
        """The compiled twin of the map, where there is one: then layers of it take the fast path.

        A subclass that maps otherwise than its parent says so here, too.
        """
        return None

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map x to z.

        Parameters
        ----------
        x : Tensor of shape (...,)
        params : Tensor of shape (..., n_params)

        Returns
        -------
        z, log_slope : Tensors of shape (...,)
            The image and the log of the map's derivative at x, in nats.
        """

    @abstractmethod
    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map z back to x; `log_slope` is that of the inverse map at z."""

    @classmethod
    def example_cases(cls) -> list[ElementwiseCase]:
        """Say how to build examples for the contract kit; the default is one without options."""
        return [ElementwiseCase(cls.__name__, cls)]
