"""Rows on their way to training: tensors, merged, split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densekit.forks import prepare_for_forks

MAX_ROWS_TO_MERGE = 100_000
MIN_ROWS_TO_SPLIT = 10
# Products of thin matrices, and sums over less than four vectors of 16 numbers, round differently:
# batches are filled up to a multiple of this, so that a row's score is its own.
MIN_BATCH = 64
MAX_VALUES_TO_FILL = 256  # larger rows are images, whose pixels fill a batch


@dataclass
class Rows:
    """Training rows as a density sees them.

    Attributes
    ----------
    x : Tensor of shape ``(n, *event_shape)``
    weight : Tensor of shape (n,)
    context : Tensor of shape (n, n_context) or None
    log_det : Tensor of shape (n,)
        Log-determinant of the preprocessing: its mean, added to what is reported, puts nats into
        the units of X.
    """

    x: Tensor
    weight: Tensor
    context: Tensor | None
    log_det: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def offset(self) -> float:
        """Weighted mean of `log_det`, in nats."""
        return float((self.weight * self.log_det).sum() / self.weight.sum())

    def take(self, index: Tensor) -> Rows:
        """The rows of an index."""
        context = None if self.context is None else self.context[index]
        return Rows(self.x[index], self.weight[index], context, self.log_det[index])

    def split(self, fraction: float, generator: torch.Generator) -> tuple[Rows, Rows | None]:
        """Draw training and validation rows, each with weights whose mean is one.

        Fewer than ten rows are not split: all train, and there is no validation.
        """
        n_validation = round(fraction * len(self))
        if len(self) < MIN_ROWS_TO_SPLIT or n_validation == 0:
            return self._normalized(), None
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        train, validation = self.take(order[n_validation:]), self.take(order[:n_validation])
        return train._normalized(), validation._normalized()

    def _normalized(self) -> Rows:
        return replace(self, weight=self.weight / self.weight.mean())


def concatenated(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, which have contexts all or none."""
    contexts = [part.context for part in parts if part.context is not None]
    return Rows(
        torch.cat([part.x for part in parts]),
        torch.cat([part.weight for part in parts]),
        torch.cat(contexts) if contexts else None,
        torch.cat([part.log_det for part in parts]),
    )


def to_tensor(x: NDArray[Any]) -> Tensor:
    """The array as a tensor; a read-only one, such as a memory map, is copied."""
    return torch.from_numpy(x if x.flags.writeable else x.copy())


def merge_duplicates(
    x: NDArray[np.float64], weight: NDArray[np.float64], context: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Sort rows, and merge equal ones into one that has their weight.

    So a row of weight two means the same as two equal rows, and few rows stand on both sides of a
    validation split. Where most rows are ties, as in columns of few distinct numbers, that would
    hide values from training: there the rows are laid out again, each as often as it weighs.
    Tables of more than 100,000 rows are left as they are: sorting would cost.
    """
    if len(x) > MAX_ROWS_TO_MERGE:
        return x, weight, context
    table = x if context is None else np.concatenate([x, context], axis=1)
    order = np.lexsort(table.T[::-1])
    table, weight = table[order], weight[order]
    is_new = np.ones(len(table), dtype=bool)
    is_new[1:] = (table[1:] != table[:-1]).any(axis=1)
    table, weight = table[is_new], np.add.reduceat(weight, np.flatnonzero(is_new))
    n_laid_out = weight.sum()
    is_counted = bool((weight == np.rint(weight)).all())
    if is_counted and 2 * len(table) < n_laid_out <= MAX_ROWS_TO_MERGE:
        table = table.repeat(weight.astype(int), axis=0)
        weight = np.ones(len(table))
    x, rest = table[:, : x.shape[1]], table[:, x.shape[1] :]
    return x, weight, None if context is None else rest


def in_chunks(
    function: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    context: Tensor | None = None,
) -> Tensor:
    """Apply a function of rows without gradients, so many rows at a time that memory is bounded.

    A last chunk that is short is padded with copies of a row, so that every row's result is the
    same, bit for bit, whichever rows stand beside it.
    """
    prepare_for_forks()
    size = _chunk_rows(x)
    multiple = MIN_BATCH if x[:1].numel() <= MAX_VALUES_TO_FILL else 1
    results = []
    with torch.no_grad():
        for start in range(0, max(len(x), 1), size):
            rows = x[start : start + size]
            given = None if context is None else context[start : start + size]
            n_rows = len(rows)
            if n_rows % multiple > 0:
                index = torch.arange(-(-n_rows // multiple) * multiple).clamp_max(n_rows - 1)
                rows, given = rows[index], None if given is None else given[index]
            results.append(function(rows, given)[:n_rows])
    return torch.cat(results)


def _chunk_rows(x: Tensor) -> int:
    """A multiple of MIN_BATCH, up to 4096, of at most a quarter of a million numbers."""
    return max(256, min(4096, 2**18 // max(1, x[:1].numel()) // MIN_BATCH * MIN_BATCH))
