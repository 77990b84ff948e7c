"""The contract of a bijection that carries its log-determinant."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from densekit import registry
from densekit._kernels import CompiledStep, MapKernel, PlainStep, Workspace
from densekit.cases import TransformCase
from densekit.elementwise import Affine, Elementwise, Spline
from densekit.exceptions import ContextError, PluginTypeError, ShapeError
from densekit.recorded import Recorded, is_defined_with


class Transform(Recorded, nn.Module, ABC):
    """Bijection of x ``(batch, *event_shape)`` onto z ``(batch, *output_shape)``.

    A layer is built as ``Layer(event_shape, *, context_shape=None, **options)``. The shapes of what
    `forward` and `inverse` are given are checked here for every subclass, and batches of no rows
    are answered here, so a layer's own code can trust what it gets.

    Parameters
    ----------
    event_shape : sequence of int
        Shape of one row of x.
    context_shape : sequence of int, optional
        Shape of one row of context; None means that the transform takes no notice of context.

    Raises
    ------
    ShapeError
        A ValueError, when x, z or the context has another shape than the transform was built for.
    """

    in_data_units = False
    """Whether the layer wants columns in the units of X: an estimator then does not standardise."""

    index_buffers: ClassVar[tuple[str, ...]] = ()
    """Buffers that compiled code takes indices from. A model file may hold those of the built layer
    in another order, and no others."""

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        guard_shapes(cls, "forward", "event_shape", _no_latents, _check_pair("forward"))
        guard_shapes(cls, "inverse", "output_shape", _no_rows, _check_pair("inverse"))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one row of z: `event_shape` unless the layer says otherwise."""
        return self.event_shape

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latents.

        Returns
        -------
        z : Tensor of shape ``(batch, *output_shape)``
        log_det : Tensor of shape (batch,)
            ``log |det dz/dx|`` of each row, in nats; minus infinity outside the support.
        """

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data; the log-determinant is that of this direction."""

    def compiled_steps(self, workspace: Workspace, *, learns: bool) -> list[CompiledStep]:
        """The fast way through, step by step, if a subclass knows one; for rows that are vectors.

        Parameters
        ----------
        workspace : Workspace
        learns : bool
            Whether gradients will be asked for. Parameters, and their gradients, keep their memory
            as long as the steps are used.
        """
        return [PlainStep(self)]

    def fit_statistics(self, x: Tensor) -> None:
        """Set what is computed from data and not learned; called once, before training."""

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        """Say how to build examples for the contract kit; the default is one of three features."""
        return [TransformCase(cls.__name__, lambda: cls((3,)))]


def guard_shapes(
    cls: type,
    method: str,
    side: str,
    empty: Callable[[Any, Tensor], Any],
    check_result: Callable[[Any, Any, int], None],
) -> None:
    """Make a method of `cls` check what it is given, and what it returns.

    Parameters
    ----------
    cls : type
    method : str
    side : str
        Name of the attribute that holds the shape of a row.
    empty : callable (self, rows) -> result
        Answers a batch of no rows, which many a network cannot.
    check_result : callable (self, result, n_rows)
        Raises an error where the result is not what the contract says.
    """
    original = cls.__dict__.get(method)
    if original is None or getattr(original, "__isabstractmethod__", False):
        return

    @functools.wraps(original)
    def guarded(self: Any, rows: Tensor, context: Tensor | None = None) -> Any:
        expected = getattr(self, side)
        if rows.shape[1:] != expected or rows.ndim == 0:
            raise ShapeError(
                f"{type(self).__name__}.{method} got a tensor of shape {tuple(rows.shape)}, "
                f"expected (batch, {', '.join(map(str, expected))})."
            )
        if self.context_shape is not None:
            check_context(f"{type(self).__name__}.{method}", context, self.context_shape)
        if not len(rows):
            return empty(self, rows)
        found = original(self, rows, context)
        check_result(self, found, len(rows))
        return found

    setattr(cls, method, guarded)


def _no_latents(self: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(0, *self.output_shape), x.new_empty(0)


def _no_rows(self: Transform, z: Tensor) -> tuple[Tensor, Tensor]:
    return z.new_empty(0, *self.event_shape), z.new_empty(0)


def _check_pair(method: str) -> Callable[[Any, Any, int], None]:
    """Check of rows and log-determinants."""

    def check(self: Transform, found: Any, n_rows: int) -> None:
        is_pair = isinstance(found, tuple) and len(found) == 2
        if is_pair and isinstance(found[1], Tensor) and found[1].shape == (n_rows,):
            return
        what = f"{type(found).__name__}"
        if is_pair:
            what = f"log-determinants of shape {tuple(np.shape(found[1]))}"
        raise PluginTypeError(
            f"{type(self).__name__}.{method} returned {what}, expected rows and one "
            f"log-determinant for each, of shape ({n_rows},): "
            "see the contract of a Transform."
        )

    return check


def check_context(source: str, context: Tensor | None, expected: tuple[int, ...]) -> None:
    """Raise a ContextError unless there is a context of the expected shape."""
    if context is None:
        raise ContextError(
            f"{source} is conditional and got no context; give one row for each row."
        )
    if context.shape[1:] != expected:
        raise ContextError(
            f"{source} got a context of shape {tuple(context.shape)}, "
            f"expected (batch, {', '.join(map(str, expected))})."
        )


def compiled_steps_of(
    transform: Transform, workspace: Workspace, *, learns: bool
) -> list[CompiledStep]:
    """A transform's own steps, unless a subclass maps otherwise than they do."""
    if is_defined_with(transform, "compiled_steps", "forward"):
        return transform.compiled_steps(workspace, learns=learns)
    return [PlainStep(transform)]


def kernel_of(elementwise: Elementwise) -> MapKernel | None:
    """A map's compiled twin, unless a subclass maps otherwise than it does."""
    is_twin = all(is_defined_with(elementwise, "kernel", name) for name in ("forward", "inverse"))
    kernel = elementwise.kernel if is_twin else None
    if kernel is not None and kernel.n_params != elementwise.n_params:
        raise PluginTypeError(
            f"{type(elementwise).__name__} has n_params={elementwise.n_params}, and its kernel is "
            f"for {kernel.n_params}: compile it for as many."
        )
    return kernel


def build_elementwise(spec: Any, event_shape: Sequence[int]) -> Elementwise:
    """Build the map that a layer was given, or the default one.

    A single feature has nothing to be conditioned on, and affine maps of it, however many, make a
    mere Gaussian: a spline is the default there.
    """
    if spec is None:  # a class, because another distribution may claim the name
        spec = Spline if math.prod(event_shape) == 1 else Affine
    built: Elementwise = registry.build("elementwise", spec)
    return built


def check_vector(source: str, event_shape: Sequence[int]) -> int:
    """Return the number of features; raise a ShapeError unless rows are vectors."""
    if len(tuple(event_shape)) != 1:
        raise ShapeError(f"{source} got event_shape={tuple(event_shape)}, expected (n_features,).")
    return int(event_shape[0])
