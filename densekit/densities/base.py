"""The contract of a density."""

from __future__ import annotations

import inspect
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densekit.cases import DensityCase
from densekit.data.threads import map_parts
from densekit.exceptions import PluginTypeError
from densekit.recorded import Recorded, is_defined_with
from densekit.transforms.base import check_context, guard_shapes

# What layers hold of so many rows at once stays in a processor's cache. Layers of images hold
# many channels for each number of an image.
MAX_ROWS_AT_ONCE = 2048
MAX_IMAGE_VALUES_AT_ONCE = 2**14

TrainingStepOfDensity = Callable[[Tensor, Tensor | None, Tensor], float]


class Density(Recorded, nn.Module, ABC):
    """Distribution over rows of shape `event_shape`.

    A base distribution is built as ``Base(event_shape, **options)``. Shapes given to `log_prob`
    are checked here for every subclass.

    Parameters
    ----------
    event_shape : sequence of int
    context_shape : sequence of int, optional
        Shape of one row of context; None means that the density takes no notice of context.
    """

    support: str = "real"
    """"real" (values of `log_prob` are log-densities) or "discrete" (log-masses)."""

    levels: tuple[float, ...] | None = None
    """What a number may be, where `fit` is to refuse all else."""

    on_unit_interval = False
    """Whether rows lie in (0, 1): a flow over this base then ends in a sigmoid."""

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__()
        _check_signature_of_sample(self)
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        # Samples take their dtype and device from here; it is no parameter of the density.
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    anchor: Tensor

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        guard_shapes(
            cls, "log_prob", "event_shape", lambda self, x: x.new_empty(0), _check_log_prob
        )

    @abstractmethod
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density or log-mass of each row, in nats: ``(batch, *event_shape)`` -> (batch,)."""

    @abstractmethod
    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw rows of shape ``(n_samples, *event_shape)``; `context` has one row for each."""

    def fit_statistics(self, x: Tensor) -> None:
        """Set what is computed from data and not learned; called once, before training."""

    def log_prob_terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Terms of shape (batch, n_terms) whose sum is `log_prob`; one term unless overridden."""
        return self.log_prob(x, context)[:, None]

    def training_step(self) -> TrainingStepOfDensity:
        """How training takes a step: a function (x, context, weight) of a batch.

        It gives the mean of `log_prob` times weight, and adds the gradient of its negative to the
        gradients of the parameters, which are to be zero. Parameters and gradients keep their
        memory as long as it is used. Subclasses may know faster ways than this one, by autograd.
        """

        def run(x: Tensor, context: Tensor | None, weight: Tensor) -> float:
            nats = (self.log_prob(x, context) * weight).mean()
            (-nats).backward()
            return nats.item()

        return run

    def backward_log_prob(self, rows: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        """Log-density of rows (n_features, batch), and how a gradient of it is carried back.

        The second result maps a gradient of shape (batch,) to that of the rows, and adds to the
        gradients of the parameters.
        """
        x = rows.T.detach().requires_grad_()
        log_prob = self.log_prob(x, context)

        def carry_back(grad_log_prob: Tensor) -> Tensor:
            if log_prob.requires_grad:
                log_prob.backward(grad_log_prob)
            return torch.zeros_like(rows) if x.grad is None else x.grad.T.contiguous()

        return log_prob.detach(), carry_back

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same as `log_prob`."""
        return self.log_prob(x, context)

    def _in_parts(
        self,
        function: Callable[[Tensor, Tensor | None], Tensor],
        rows: Tensor,
        context: Tensor | None,
    ) -> Tensor:
        """Apply a function part by part, unless autograd is to record all of it."""
        size = MAX_ROWS_AT_ONCE
        if len(self.event_shape) > 1:
            size = max(1, MAX_IMAGE_VALUES_AT_ONCE // max(1, math.prod(self.event_shape)))
        if torch.is_grad_enabled() or len(rows) <= size:
            return function(rows, context)
        parts = [slice(start, start + size) for start in range(0, len(rows), size)]

        def run(part: slice) -> Tensor:
            return function(rows[part], None if context is None else context[part])

        is_vector = len(self.event_shape) == 1  # layers of images have threads of their own
        return torch.cat(map_parts(run, parts) if is_vector else [run(part) for part in parts])

    def _check_sample_context(self, context: Tensor | None) -> None:
        if self.context_shape is not None:
            check_context(f"{type(self).__name__}.sample", context, self.context_shape)

    def _rand(self, n_samples: int, generator: torch.Generator | None) -> Tensor:
        """Uniform numbers strictly between 0 and 1, in the shape of a sample."""
        like = self.anchor
        shape = (n_samples, *self.event_shape)
        u = torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
        return u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)

    def _randn(self, n_samples: int, generator: torch.Generator | None) -> Tensor:
        """Standard normal numbers in the shape of a sample."""
        like = self.anchor
        shape = (n_samples, *self.event_shape)
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        """Say how to build examples for the contract kit: by default in one and two dimensions."""
        return [
            DensityCase(f"{cls.__name__} in 1-D", lambda: cls((1,))),
            DensityCase(f"{cls.__name__} in 2-D", lambda: cls((2,))),
        ]


def training_step_of(density: Density) -> TrainingStepOfDensity:
    """A density's own step, unless a subclass has another `log_prob` than it does."""
    if is_defined_with(density, "training_step", "log_prob"):
        return density.training_step()
    return Density.training_step(density)


def backward_log_prob_of(
    density: Density, rows: Tensor, context: Tensor | None
) -> tuple[Tensor, Any]:
    """What `backward_log_prob` gives, unless a subclass has another `log_prob` than it does."""
    if is_defined_with(density, "backward_log_prob", "log_prob"):
        return density.backward_log_prob(rows, context)
    return Density.backward_log_prob(density, rows, context)


def _check_log_prob(self: Density, found: Any, n_rows: int) -> None:
    """Refuse anything but one number a row."""
    if not isinstance(found, Tensor) or found.shape != (n_rows,):
        raise PluginTypeError(
            f"{type(self).__name__}.log_prob returned {type(found).__name__} of shape "
            f"{tuple(np.shape(found))}, expected one number for each row, of shape ({n_rows},)."
        )


def _check_signature_of_sample(self: Density) -> None:
    """Refuse a density that cannot be asked for samples as others are."""
    try:
        inspect.signature(self.sample).bind(1, None, generator=None)
    except TypeError as error:
        raise PluginTypeError(
            f"{type(self).__name__}.sample cannot be called as sample(n_samples, context, "
            f"generator=...), which a density is: {error}."
        ) from None


def check_not_negative(source: str, **options: float) -> None:
    """Raise a ValueError unless each option is a finite number of 0 or more."""
    for name, value in options.items():
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not (is_number and 0 <= value < math.inf):
            raise ValueError(f"{source} got {name}={value!r}, expected a finite number from 0.")
