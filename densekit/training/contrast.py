"""Classes told apart while a density of each is learned."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from densekit.data.rows import Rows, concatenated
from densekit.densities.base import Density
from densekit.errors import ContextError

# How likely a row's wrong class must be; rows below are spared two passes with gradients.
LEAST_DOUBT = 0.02
# Images are told apart where they stand and up to this share of their sides away: a class does not
# depend on the place, and training images are told apart long before new ones are.
MOVED_SHARE = 1 / 14


def with_contrast(
    density: Density, batch: Rows, strength: float, generator: torch.Generator
) -> tuple[Rows, float]:
    """A batch whose weighted log-likelihood has the gradient of an objective that tells classes
    apart as well, and the nats by which its mean is above that of the batch as it came.

    The objective is ``log p(x | y) + strength * log p(y | x')`` (multi-conditional learning,
    McCallum 2006) with all K classes as likely. Here ``x'`` is the image moved by a few pixels at
    random, and one other class y', drawn evenly for each row, stands for all K - 1:
    ``log p(y | x')`` becomes ``-log(1 + (K - 1) p(x' | y') / p(x' | y))``. Its gradient is that of
    ``doubt * (log p(x' | y) - log p(x' | y'))``, where the doubt is the probability that is left to
    y'. So images in doubt come twice more: under y, and under y' with a negative weight.

    Parameters
    ----------
    density : Density
        Conditioned on classes.
    batch : Rows
        Images (n, channels, height, width), whose context is one-hot.
    strength : float
    generator : torch.Generator
    """
    classes = batch.context
    if classes is None:
        raise ContextError("contrast: expected a batch with one-hot classes as context, got none")
    n_rows, n_classes = classes.shape
    other = _other_classes(classes, generator)
    x = _moved(batch.x, generator)
    with torch.no_grad():
        lead = density.log_prob(x, classes) - density.log_prob(x, other)
    doubt = torch.sigmoid(math.log(n_classes - 1) - lead)
    is_in_doubt = doubt > LEAST_DOUBT
    pull = (strength * doubt * batch.weight)[is_in_doubt]
    pulled = replace(batch, x=x).take(is_in_doubt)
    pushed = replace(pulled, weight=-pull, context=other[is_in_doubt])
    wide = concatenated([batch, replace(pulled, weight=pull), pushed])
    # The mean over more rows is to be the sum over these by their number.
    wide.weight *= len(wide) / n_rows
    return wide, float((pull * lead[is_in_doubt]).sum()) / n_rows


def _moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images moved by whole pixels, each another way, their edges drawn out."""
    device = generator.device
    rows = torch.arange(len(x), device=x.device)[:, None, None]
    places = []
    for n_pixels in x.shape[2:]:
        most = int(n_pixels * MOVED_SHARE)
        by = torch.randint(-most, most + 1, (len(x), 1), generator=generator, device=device)
        place = torch.arange(n_pixels, device=x.device) + by.to(x.device)
        places.append(place.clamp(0, n_pixels - 1))
    return x.movedim(1, 3)[rows, places[0][:, :, None], places[1][:, None, :]].movedim(3, 1)


def _other_classes(context: Tensor, generator: torch.Generator) -> Tensor:
    """One-hot codes of a class that is not the row's own, each other one as likely."""
    n_rows, n_classes = context.shape
    steps = torch.randint(1, n_classes, (n_rows,), generator=generator, device=generator.device).to(
        context.device
    )
    other = (context.argmax(1) + steps) % n_classes
    return torch.nn.functional.one_hot(other, n_classes).to(context)
