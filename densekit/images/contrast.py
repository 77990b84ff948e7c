"""Classes told apart while a density of each is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from densekit.data.rows import Rows, concatenated
from densekit.densities.base import Density
from densekit.exceptions import ContextError

# How likely a row's wrong class must be; rows below are spared two passes with gradients.
LEAST_DOUBT = 0.02
# Images are told apart where they stand and up to this share of their sides away, and leaning up to
# that share of their width, rounded to whole pixels, at their upper and lower edges: a class does
# not depend on the place nor on the slant, and training images are told apart long before new ones.
MOVED_SHARE = 1 / 14
LEANING_SHARE = 1 / 10
EVEN_SHARE = 0.5  # of other classes that are drawn evenly, and not by how likely they seemed
FORGETTING = 0.01  # of how likely a class seemed, whenever it is drawn


class Contrast:
    """Makes batches whose likelihood has the gradient of an objective that tells classes apart.

    The objective is ``log p(x | y) + strength * log p(y | x')`` (multi-conditional learning,
    McCallum 2006) with all K classes as likely. Here ``x'`` is the image moved and slanted by a few
    pixels at random, and one other class y', drawn with probability q, stands for all K - 1:
    ``log p(y | x')`` becomes ``-log(1 + p(x' | y') / (q p(x' | y)))``. Its gradient is that of
    ``doubt * (log p(x' | y) - log p(x' | y'))``, where the doubt is the probability that is left to
    y'. So images in doubt come twice more: under y, and under y' with a negative weight.

    Half of the other classes are drawn evenly, half by how likely they seemed to images of y of
    late: few pairs of classes hold most of the doubt.

    Parameters
    ----------
    strength : float
    context : Tensor of shape (n_rows, n_classes) or None
        One-hot classes of the training rows.
    device : torch.device
        That of the generator of random numbers.

    Attributes
    ----------
    state : Tensor of shape (n_classes, n_classes)
        How likely each other class seemed to images of a class, beside their own class alone.
    """

    def __init__(self, strength: float, context: Tensor | None, device: torch.device):
        if context is None:
            raise ContextError("contrast: expected one-hot classes as context, got none")
        self.strength = strength
        n_classes = context.shape[1]
        self._others = 1 - torch.eye(n_classes, dtype=torch.float64, device=device)
        self.state = self._others.clone()

    def widen(
        self, density: Density, batch: Rows, generator: torch.Generator
    ) -> tuple[Rows, float]:
        """A batch with images in doubt in it, and the nats by which its weighted mean is above that
        of the batch as it came.

        Parameters
        ----------
        density : Density
            Conditioned on classes.
        batch : Rows
            Images (n, channels, height, width), whose context is one-hot.
        generator : torch.Generator
        """
        classes = cast("Tensor", batch.context)
        own = classes.argmax(1).to(generator.device)
        other, log_chance = self._draw_others(own, generator)
        others = F.one_hot(other, classes.shape[1]).to(classes)
        x = _moved(batch.x, generator)
        with torch.no_grad():
            lead = density.log_prob(x, classes) - density.log_prob(x, others)
        self._learn(own, other, torch.sigmoid(-lead).to(own.device))
        doubt = torch.sigmoid(-log_chance.to(lead) - lead)
        is_in_doubt = doubt > LEAST_DOUBT
        pull = (self.strength * doubt * batch.weight)[is_in_doubt]
        pulled = replace(batch, x=x).take(is_in_doubt)
        pushed = replace(pulled, weight=-pull, context=others[is_in_doubt])
        wide = concatenated([batch, replace(pulled, weight=pull), pushed])
        # The mean over more rows is to be the sum over these by their number.
        wide.weight *= len(wide) / len(batch)
        return wide, float((pull * lead[is_in_doubt]).sum()) / len(batch)

    def _draw_others(self, own: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a class that is not the row's own; give it and the logarithm of its probability."""
        # Classes far apart would end in a sum of zero.
        seemed = self.state + self._others * torch.finfo(torch.float64).tiny
        chances = EVEN_SHARE * self._others / (len(self._others) - 1)
        chances += (1 - EVEN_SHARE) * seemed / seemed.sum(1, keepdim=True)
        other = torch.multinomial(chances[own], 1, generator=generator)[:, 0]
        return other, chances[own, other].log()

    def _learn(self, own: Tensor, other: Tensor, likely: Tensor) -> None:
        """Take a moving average of how likely other classes seemed to rows, where that is known."""
        n_classes = len(self.state)
        is_known = ~likely.isnan()
        pair, size = (own * n_classes + other)[is_known], n_classes**2
        counts = pair.bincount(minlength=size)
        means = pair.bincount(likely[is_known].double(), size) / counts.clamp(1)
        kept = (1 - FORGETTING) ** counts.reshape(n_classes, -1)
        self.state = kept * self.state + (1 - kept) * means.reshape(n_classes, -1)


def _moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images moved and slanted by whole pixels, each another way, their edges drawn out."""
    device = generator.device
    height, width = x.shape[2:]
    offsets = []
    for n_pixels in (height, width):
        most = int(n_pixels * MOVED_SHARE)
        offsets.append(
            torch.randint(-most, most + 1, (len(x), 1), generator=generator, device=device)
        )
    lean = 2 * torch.rand(len(x), 1, generator=generator, device=device) - 1
    middle = (height - 1) / 2
    from_middle = (torch.arange(height, device=device) - middle) / max(middle, 0.5)  # -1 to 1
    slant = (lean * from_middle * LEANING_SHARE * width).round()
    row = torch.arange(height, device=device) + offsets[0]
    column = torch.arange(width, device=device) + (offsets[1] + slant.long())[:, :, None]
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    image = torch.arange(len(x), device=device)[:, None, None]
    index = (place.to(x.device) for place in (image, row[:, :, None], column))
    return x.movedim(1, 3)[tuple(index)].movedim(3, 1)
