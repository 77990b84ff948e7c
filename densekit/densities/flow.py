"""A normalizing flow: a transform and the density of its latents."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit._kernels import CompiledStep, Workspace, is_usable
from densekit.cases import DensityCase
from densekit.densities.base import Density, TrainingStepOfDensity, backward_log_prob_of
from densekit.exceptions import ShapeError
from densekit.transforms.base import Transform, compiled_steps_of

BYTES_OF_A_PAGE = 4096
N_MORE_ROWS = 16  # of float32, a line of the cache


class Flow(Density):
    """``log p(x) = log p_base(z) + log |det dz/dx|``, z = transform(x) (Rezende 2015, eq. 5).

    Parameters
    ----------
    transform : Transform
    base : Density
        Distribution of z.
    """

    transform: Transform
    base: Density

    def __init__(self, transform: Transform, base: Density):
        if transform.output_shape != base.event_shape:
            raise ShapeError(
                f"Flow got a base for rows of shape {base.event_shape}, but its transform gives "
                f"rows of shape {transform.output_shape}."
            )
        context_shape = transform.context_shape or base.context_shape
        super().__init__(transform.event_shape, context_shape=context_shape)
        self.transform = transform
        self.base = base
        self.support = base.support
        self.anchor = base.anchor.new_empty(0)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._in_parts(self._log_prob, x, context)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        z, log_det = self.transform(x, context)
        return self.base.log_prob(z, context) + log_det

    def training_step(self) -> TrainingStepOfDensity:
        shapes = self.event_shape, self.base.event_shape
        if any(len(shape) != 1 for shape in shapes) or not is_usable(*self.parameters()):
            return super().training_step()
        return _FlowStep(compiled_steps_of(self.transform, Workspace(), learns=True), self.base)

    def fit_statistics(self, x: Tensor) -> None:
        self.transform.fit_statistics(x)

    def log_prob_terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Terms of the base; the log-determinant is shared out evenly among them."""
        z, log_det = self.transform(x, context)
        terms = self.base.log_prob_terms(z, context)
        return terms + (log_det / terms.shape[1])[:, None]

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        self._check_sample_context(context)
        z = self.base.sample(n_samples, context, generator=generator)
        return self._in_parts(lambda z, context: self.transform.inverse(z, context)[0], z, context)

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        from densekit.densities.normal import Normal
        from densekit.densities.uniform import Uniform
        from densekit.transforms import Autoregressive, Bounded, Chain, Inverse

        def on_unit_cube() -> Flow:
            layers = [Autoregressive((2,), elementwise="spline"), Inverse(Bounded.logit((2,)))]
            return cls(Chain(layers), Uniform((2,)))

        return [
            DensityCase("Flow(affine)", lambda: cls(Autoregressive((2,)), Normal((2,)))),
            DensityCase("Flow(spline, uniform base)", on_unit_cube),
            DensityCase(
                "Flow with context",
                lambda: cls(Autoregressive((1,), context_shape=(2,)), Normal((1,))),
            ),
        ]


class _FlowStep:
    """A flow's step of training: through all layers, features first, and back.

    Features that lie whole pages apart crowd the same lines of a cache. Batches of such a size,
    multiples of 1024 rows in float32 or 512 in float64, get a few of their rows once more, with a
    weight of zero.
    """

    def __init__(self, steps: list[CompiledStep], base: Density):
        self._steps, self._base = steps, base

    def __call__(self, x: Tensor, context: Tensor | None, weight: Tensor) -> float:
        n_rows = len(x)
        if n_rows and n_rows * x.element_size() % BYTES_OF_A_PAGE == 0:
            x, weight = torch.cat([x, x[:N_MORE_ROWS]]), F.pad(weight, (0, N_MORE_ROWS))
            context = None if context is None else torch.cat([context, context[:N_MORE_ROWS]])
        rows = x.T.clone(memory_format=torch.contiguous_format)
        log_det = rows.new_zeros(len(x))
        for part in self._steps:
            rows = part.forward(rows, context, log_det)
        log_prob, carry_back = backward_log_prob_of(self._base, rows, context)
        grad_log_prob = weight / -n_rows
        grad_rows = carry_back(grad_log_prob)
        for i, part in reversed(list(enumerate(self._steps))):
            grad_rows = part.backward(grad_rows, grad_log_prob, i > 0)
        return -torch.dot(log_prob + log_det, grad_log_prob).item()
