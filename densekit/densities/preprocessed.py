"""A density of rows in their own units: fixed preprocessing in front of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from densekit.cases import DensityCase
from densekit.densities.base import Density
from densekit.exceptions import ShapeError
from densekit.transforms import Chain


class PreprocessedDensity(Density):
    """``log p(x) = log p_model(z) + log |det dz/dx|``, z = preprocessing(x).

    Preprocessing runs in float64, because data may sit far from zero; the model may run in float32.
    Rows far beyond any number that its layers can square are brought back to that limit.

    Parameters
    ----------
    preprocessing : Chain
        Fixed steps, which nothing is learned of; an empty chain for rows that are taken as they
        are.
    model : Density
        Of preprocessed rows.
    """

    preprocessing: Chain
    model: Density

    def __init__(self, preprocessing: Chain, model: Density):
        if preprocessing.output_shape != model.event_shape:
            raise ShapeError(
                f"PreprocessedDensity got a model of rows of shape {model.event_shape}, but its "
                f"preprocessing gives rows of shape {preprocessing.output_shape}."
            )
        super().__init__(preprocessing.event_shape, context_shape=model.context_shape)
        self.preprocessing = preprocessing
        self.model = model
        self.support = model.support
        self.anchor = model.anchor.new_empty(0)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._in_parts(self._log_prob, x, context)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        z, log_det = self.preprocess(x)
        return self.model.log_prob(z, context) + log_det

    def log_prob_terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Terms of the model; the log-determinant is shared out evenly among them."""
        z, log_det = self.preprocess(x)
        terms = self.model.log_prob_terms(z, context)
        return terms + (log_det / terms.shape[1])[:, None]

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        z = self.model.sample(n_samples, context, generator=generator)
        return self._in_parts(lambda z, _: self.undo_preprocessing(z), z, None)

    def preprocess(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as the model takes them, and the log-determinant of getting there."""
        z, log_det = self.preprocessing(x)
        dtype = self.model.anchor.dtype
        limit = torch.finfo(dtype).max ** 0.3  # beyond it squares in layers overflow
        return z.to(dtype).clamp(-limit, limit), log_det

    def undo_preprocessing(self, z: Tensor) -> Tensor:
        """Rows of the model in the units of x, in float64."""
        return self.preprocessing.inverse(z.double())[0]

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        from densekit.densities.normal import Normal
        from densekit.transforms import Scale

        return [
            DensityCase(
                "PreprocessedDensity", lambda: cls(Chain([Scale((2,))]).double(), Normal((2,)))
            )
        ]
