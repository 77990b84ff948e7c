"""Classes told apart while a density of each is learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from densekit.data.rows import Rows
from densekit.densities.base import Density
from densekit.errors import ContextError

# Rows that a step puts to the test, for it costs two passes more; and how likely a row's wrong
# class must be to take part in the gradient.
SHARE_OF_ROWS = 0.5
LEAST_DOUBT = 0.02


def with_contrast(
    density: Density, batch: Rows, strength: float, generator: torch.Generator
) -> tuple[Rows, float]:
    """A batch whose weighted log-likelihood has the gradient of an objective that tells classes
    apart as well, and the mean nats of the batch as it came.

    The objective is ``log p(x | y) + strength * log p(y | x)`` (multi-conditional learning,
    McCallum 2006) with all K classes as likely, in which one other class y', drawn evenly for each
    row, stands for all K - 1: ``log p(y | x)`` becomes
    ``-log(1 + (K - 1) p(x | y') / p(x | y))``. Its gradient is that of
    ``doubt * (log p(x | y) - log p(x | y'))``, where the doubt is the probability that is left to
    y'. So rows come a second time, under y' and with a negative weight, if there is doubt.

    Parameters
    ----------
    density : Density
        Conditioned on classes.
    batch : Rows
        Whose context is one-hot.
    strength : float
    generator : torch.Generator
    """
    classes = batch.context
    if classes is None:
        raise ContextError("contrast: expected a batch with one-hot classes as context, got none")
    n_rows, n_classes = classes.shape
    n_tested = math.ceil(SHARE_OF_ROWS * n_rows)
    tested = batch.take(torch.arange(n_tested, device=batch.x.device))
    other = _other_classes(classes[:n_tested], generator)
    with torch.no_grad():
        own = density.log_prob(batch.x, classes)
        wrong = density.log_prob(tested.x, other)
    doubt = torch.sigmoid(wrong - own[:n_tested] + math.log(n_classes - 1))
    in_doubt = doubt > LEAST_DOUBT
    pull = strength * n_rows / n_tested * doubt * in_doubt * tested.weight
    weight = batch.weight.clone()
    weight[:n_tested] += pull
    # The mean over more rows is to be the sum over these by their number.
    scale = 1 + float(in_doubt.sum()) / n_rows
    wide = Rows(
        torch.cat([batch.x, tested.x[in_doubt]]),
        torch.cat([weight, -pull[in_doubt]]) * scale,
        torch.cat([classes, other[in_doubt]]),
        torch.cat([batch.log_det, tested.log_det[in_doubt]]),
    )
    return wide, float((own * batch.weight).mean())


def _other_classes(context: Tensor, generator: torch.Generator) -> Tensor:
    """One-hot codes of a class that is not the row's own, each other one as likely."""
    n_rows, n_classes = context.shape
    steps = torch.randint(1, n_classes, (n_rows,), generator=generator, device=generator.device).to(
        context.device
    )
    other = (context.argmax(1) + steps) % n_classes
    return torch.nn.functional.one_hot(other, n_classes).to(context)
