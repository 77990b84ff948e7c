"""Transforms one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from densekit._kernels import CompiledStep, Workspace, is_usable, steps_of
from densekit.cases import TransformCase
from densekit.exceptions import ShapeError
from densekit.transforms.base import Transform, compiled_steps_of


class Chain(Transform):
    """Composition of transforms, read from left to right in the direction of data to latents.

    Parameters
    ----------
    transforms : iterable of Transform
    event_shape : sequence of int, optional
        Needed for an empty chain only, which is the identity.

    Raises
    ------
    ShapeError
        A transform does not take the shape that the one before it gives.
    """

    def __init__(
        self, transforms: Iterable[Transform], *, event_shape: Sequence[int] | None = None
    ):
        steps = list(transforms)
        if not steps and event_shape is None:
            raise ShapeError("Chain got no transforms and no event_shape; give one of the two.")
        for before, after in itertools.pairwise(steps):
            if before.output_shape != after.event_shape:
                raise ShapeError(
                    f"Chain got {type(after).__name__} for rows of shape {after.event_shape} after "
                    f"{type(before).__name__}, which gives rows of shape {before.output_shape}."
                )
        contexts = [step.context_shape for step in steps if step.context_shape is not None]
        super().__init__(
            steps[0].event_shape if steps else tuple(event_shape or ()),
            context_shape=contexts[0] if contexts else None,
        )
        self.transforms = nn.ModuleList(steps)
        shapes = [self.event_shape, *(step.output_shape for step in steps)]
        self._maps_vectors = all(len(shape) == 1 for shape in shapes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.steps[-1].output_shape if self.steps else self.event_shape

    @property
    def steps(self) -> list[Transform]:
        """The transforms, from data to latents."""
        return cast("list[Transform]", list(self.transforms))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        fast = self._run_steps(x, context, is_inverse=False)
        if fast is not None:
            return fast
        total = x.new_zeros(x.shape[0])
        for step in self.steps:
            x, log_det = step(x, context)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        fast = self._run_steps(z, context, is_inverse=True)
        if fast is not None:
            return fast
        total = z.new_zeros(z.shape[0])
        for step in reversed(self.steps):
            z, log_det = step.inverse(z, context)
            total = total + log_det
        return z, total

    def compiled_steps(self, workspace: Workspace, *, learns: bool) -> list[CompiledStep]:
        return [
            part
            for step in self.steps
            for part in compiled_steps_of(step, workspace, learns=learns)
        ]

    def _run_steps(
        self, x: Tensor, context: Tensor | None, *, is_inverse: bool
    ) -> tuple[Tensor, Tensor] | None:
        """Go through by compiled steps; None where the plain way is to be taken."""
        if not self._may_be_fast(x):
            return None
        with steps_of(self, self._steps_without_gradients) as steps:
            if steps is None:
                return None
            rows = x.T.clone(memory_format=torch.contiguous_format)
            log_det = x.new_zeros(len(x))
            given = None if context is None else context.to(x.dtype)
            for step in reversed(steps) if is_inverse else steps:
                run = step.inverse if is_inverse else step.forward
                rows = run(rows, given, log_det)
            return rows.T, log_det

    def _may_be_fast(self, x: Tensor) -> bool:
        if torch.is_grad_enabled() or not self._maps_vectors:
            return False
        first = next(self.parameters(), None)
        return first is not None and not first.is_inference() and is_usable(x, first)

    def _steps_without_gradients(self) -> list[CompiledStep]:
        return self.compiled_steps(Workspace(), learns=False)

    @torch.no_grad()
    def fit_statistics(self, x: Tensor) -> None:
        """Let each transform see what the ones before it make of x.

        Conditioners start at zero and so ignore their context, for which zeros stand here.
        """
        context = None
        if self.context_shape is not None:
            context = x.new_zeros(x.shape[0], *self.context_shape)
        for i, step in enumerate(self.steps):
            if i > 0:
                x, _ = self.steps[i - 1](x, context)
            step.fit_statistics(x)

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        from densekit.transforms.coupling import Coupling
        from densekit.transforms.permutation import Permutation
        from densekit.transforms.scaling import ActNorm

        return [
            TransformCase(
                "Chain(actnorm, reverse, coupling)",
                lambda: cls([ActNorm((3,)), Permutation.reverse((3,)), Coupling((3,))]),
            ),
            TransformCase("Chain()", lambda: cls([], event_shape=(2,))),
        ]
