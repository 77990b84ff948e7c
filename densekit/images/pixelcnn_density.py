"""PixelCNN: an image's mass as a product over its numbers in raster order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from densekit.cases import DensityCase
from densekit.densities.base import Density, check_not_negative
from densekit.densities.likelihoods import Bernoulli, Categorical, Discrete, LogisticMixture
from densekit.exceptions import ContextError
from densekit.images.gated_conv import GatedConvNet
from densekit.images.level_draws import GuidedDraws, LevelDraws
from densekit.transforms.base import check_context

MAX_GUIDED_ROWS = 512  # images times classes, whose features are in memory together


class PixelCNN(Density):
    """p(x) = prod_t p(x_t | x_1, ..., x_{t-1}) over pixels, and channels within a pixel.

    Gated masked convolutions (van den Oord 2016a, eq. 1; 2016b) give the parameters of all
    numbers in one pass. A sample computes each pixel's features once.

    Parameters
    ----------
    event_shape : (channels, height, width)
    likelihood : Discrete
        Distribution of each number, of levels 0 to ``n_levels - 1``.
    n_levels : int
    n_layers, n_channels : int, default=5 and 32
    context_shape : sequence of int, optional
        Shape of the context, which moves the biases of every layer, at each place otherwise.
    **options
        Of `GatedConvNet`.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        likelihood: Discrete,
        n_levels: int,
        n_layers: int = 5,
        n_channels: int = 32,
        context_shape: Sequence[int] | None = None,
        **options: Any,
    ):
        super().__init__(event_shape, context_shape=context_shape)
        self.likelihood = likelihood
        self.support = likelihood.support
        self.n_levels = n_levels
        self.network = GatedConvNet(
            event_shape,
            likelihood.n_params,
            n_layers=n_layers,
            n_channels=n_channels,
            n_context=0 if self.context_shape is None else math.prod(self.context_shape),
            **options,
        )

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.log_prob_terms(x, context).sum(1)

    def log_prob_terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x_t | x_1, ..., x_{t-1}) of each number, (batch, channels * height * width)."""
        return self._in_parts(self._terms, x, context)

    def _terms(self, x: Tensor, context: Tensor | None) -> Tensor:
        params = self.network(self._scaled(x), self._flat(context, x))
        return self.likelihood.log_prob(x, params).flatten(1)

    def sample(
        self,
        n_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Tensor:
        """Draw images; `options` are those of `complete`, such as ``temperature``."""
        self._check_sample_context(context)
        x = self.anchor.new_zeros(n_samples, *self.event_shape)
        is_known = torch.zeros_like(x, dtype=torch.bool)
        return self.complete(x, is_known, context, generator=generator, **options)

    def complete(
        self,
        x: Tensor,
        is_known: Tensor,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        guidance: float = 0.0,
        on_row: Callable[[int], object] = lambda n_images: None,
    ) -> Tensor:
        """Keep the known numbers and draw the others, each given all numbers before it.

        Parameters
        ----------
        x : Tensor of shape (batch, channels, height, width)
        is_known : bool Tensor of the same shape
        context : Tensor, optional
        generator : torch.Generator, optional
        temperature : float, default=1.0
            Masses of each number's levels are taken to the power ``1 / temperature``; at 0 the
            likeliest level is taken.
        guidance : float, default=0.0
            Power of ``p(y | x_1, ..., x_t)`` by which levels gain mass that tell the class of a
            one-hot context from the others, before the temperature's. Above 0 every class costs as
            much as drawing does.
        on_row : callable, optional
            Called after each row of pixels, with the number of images that got one.

        Raises
        ------
        ValueError
            The temperature or the guidance is no number from 0.
        ContextError
            Also a ValueError: there are no classes to guide to.
        """
        source = type(self).__name__
        check_not_negative(source, temperature=temperature, guidance=guidance)
        if not guidance:
            draws = LevelDraws(self.likelihood, temperature, generator)
            return self._complete(x, is_known, context, draws, on_row)
        classes = self._classes(source, context, len(x)).to(x)
        done = []
        for part in torch.arange(len(x)).split(max(1, MAX_GUIDED_ROWS // classes.shape[1])):
            own = classes[part]
            draws = GuidedDraws(self.likelihood, temperature, generator, guidance, own)
            each = torch.eye(own.shape[1]).to(own).repeat(len(own), 1)
            done.append(self._complete(x[part], is_known[part], each, draws, on_row))
        return torch.cat(done) if done else x.clone()

    def _complete(
        self,
        x: Tensor,
        is_known: Tensor,
        context: Tensor | None,
        draws: LevelDraws,
        on_row: Callable[[int], object],
    ) -> Tensor:
        """Complete images, each of which is there as often as `draws` says."""
        if not len(x):
            return x.clone()
        levels = x.clone()

        def step(channel: int, row: int, column: int, params: Tensor) -> Tensor:
            place = (slice(None), channel, row, column)
            levels[place] = torch.where(is_known[place], x[place], draws.draw(params))
            draws.see(levels[place])
            return self._scaled(levels[place]).repeat_interleave(draws.n_copies, 0)

        seen = torch.zeros_like(x).repeat_interleave(draws.n_copies, 0)
        context = self._flat(context, seen)
        self.network.solve(step, seen, context, on_row=lambda: on_row(len(x)))
        return levels

    def _classes(self, source: str, context: Tensor | None, n_rows: int) -> Tensor:
        """One-hot rows of context, which guidance wants."""
        if self.context_shape is None or context is None or not _is_one_hot(context):
            raise ContextError(
                f"{source} got guidance and no one-hot context, expected that: guidance tells "
                "classes apart."
            )
        check_context(source, context, self.context_shape)
        return context.expand(n_rows, -1)

    def _scaled(self, x: Tensor) -> Tensor:
        """Levels as numbers from -1 to 1."""
        return x * (2 / (self.n_levels - 1)) - 1

    def _flat(self, context: Tensor | None, like: Tensor) -> Tensor | None:
        if self.context_shape is None or context is None:
            return None
        return context.flatten(1).to(like.dtype)

    @classmethod
    def example_cases(cls) -> list[DensityCase]:
        def case(
            name: str,
            shape: tuple[int, int, int],
            likelihood: Discrete,
            n_levels: int,
            **options: Any,
        ) -> DensityCase:
            return DensityCase(
                f"PixelCNN({name})",
                lambda: cls(
                    shape,
                    likelihood=likelihood,
                    n_levels=n_levels,
                    n_layers=3,
                    n_channels=4,
                    **options,
                ),
                levels=tuple(range(n_levels)),
            )

        return [
            case("bernoulli, 2x3", (1, 2, 3), Bernoulli(), 2),
            case("bernoulli, with context", (1, 2, 3), Bernoulli(), 2, context_shape=(2,)),
            case("categorical, 2x2", (1, 2, 2), Categorical(3), 3),
            case("categorical, 3 channels", (3, 2, 2), Categorical(2), 2, context_shape=(2,)),
            case("categorical, with context", (1, 2, 2), Categorical(3), 3, context_shape=(2,)),
            case("logistic mixture, 2x2", (1, 2, 2), LogisticMixture(3, 2), 3),
            case("logistic, with context", (1, 2, 2), LogisticMixture(3, 2), 3, context_shape=(2,)),
            case("logistic mixture, 2 channels", (2, 2, 2), LogisticMixture(2, 3), 2),
        ]


def _is_one_hot(context: Tensor) -> bool:
    is_matrix = context.ndim == 2
    return is_matrix and bool(((context != 0).sum(1) == 1).all() and (context.sum(1) == 1).all())
