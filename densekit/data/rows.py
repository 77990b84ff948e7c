"""Rows on their way to training: as tensors, repeated by their weights, split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densekit.data.forks import prepare_for_forks
from densekit.data.frames import first_wrong_cell, shown_cell
from densekit.data.threads import n_threads
from densekit.exceptions import WeightError, shorten

MAX_ROWS_TO_SORT = 100_000
MAX_ROWS_TO_REPEAT = 100_000  # or twice as many as there are
MAX_DENOMINATOR = 64  # of ratios of weights that are taken for whole numbers
SHARE_OF_REPEATED_VALUE, TIMES_REPEATED = 0.02, 20
MAX_ROWS_TO_COUNT = 50_000  # of which values that repeat are told
MAX_VALUES_TO_COUNT = 2**20  # at a time
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
    is_constant : Tensor of shape (n_features,) or None
        Columns that hold one value in the data: in `x` they are standard normal numbers, which
        training draws anew in each step.
    least_noise : Tensor of shape (n,) or None
        Standard deviation of the noise that a row keeps throughout training; None means no noise.
    """

    x: Tensor
    weight: Tensor
    context: Tensor | None
    log_det: Tensor
    is_constant: Tensor | None = None
    least_noise: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def offset(self) -> float:
        """Weighted mean of `log_det`, in nats."""
        return float((self.weight * self.log_det).sum() / self.weight.sum())

    @property
    def is_even(self) -> bool:
        """Whether all rows have the same weight."""
        return bool((self.weight == self.weight[0]).all())

    def take(self, index: Tensor) -> Rows:
        """The rows of an index."""
        context = None if self.context is None else self.context[index]
        return replace(
            self,
            x=self.x[index],
            weight=self.weight[index],
            context=context,
            log_det=self.log_det[index],
            least_noise=None if self.least_noise is None else self.least_noise[index],
        )

    def split(self, fraction: float, generator: torch.Generator) -> tuple[Rows, Rows | None]:
        """Draw training and validation rows, each with weights whose mean is one.

        A row that outweighs ``1 / fraction`` mean rows is on both sides, with its weight shared
        out: on one side alone it would be missing from the other. Fewer than ten rows are not
        split: all train, and there is no validation.
        """
        if len(self) < MIN_ROWS_TO_SPLIT or round(fraction * len(self)) == 0:
            return self._normalized(), None
        is_shared = self.weight * fraction >= self.weight.mean()
        shared, alone = is_shared.nonzero()[:, 0], (~is_shared).nonzero()[:, 0]
        order = torch.randperm(len(alone), generator=generator, device=generator.device)
        n_validation = round(fraction * len(alone))
        train = self.take(torch.cat([alone[order[n_validation:]], shared]))
        validation = self.take(torch.cat([alone[order[:n_validation]], shared]))
        if len(shared):
            train.weight[-len(shared) :] *= 1 - fraction
            validation.weight[-len(shared) :] *= fraction
        return train._normalized(), validation._normalized()

    def _normalized(self) -> Rows:
        return replace(self, weight=self.weight / self.weight.mean())


def concatenated(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, which have contexts all or none; noise that rows keep is left out."""
    contexts = [part.context for part in parts if part.context is not None]
    return replace(
        parts[0],
        x=torch.cat([part.x for part in parts]),
        weight=torch.cat([part.weight for part in parts]),
        context=torch.cat(contexts) if contexts else None,
        log_det=torch.cat([part.log_det for part in parts]),
        least_noise=None,
    )


def to_tensor(x: NDArray[Any]) -> Tensor:
    """The array as a tensor; a read-only one, such as a memory map, is copied."""
    return torch.from_numpy(x if x.flags.writeable else x.copy())


def check_weight(weight: Any, n_rows: int, *, least: int, source: str) -> NDArray[np.float64]:
    """Weights as an array (n,); None and a number stand for equal ones.

    Raises
    ------
    WeightError
        They are no finite numbers of zero or more, one a row, or less than `least` are above zero.
    """
    if weight is None or isinstance(weight, int | float | np.number):
        weight = np.full(n_rows, 1.0 if weight is None else weight)
    elif isinstance(weight, Tensor):
        weight = weight.detach().cpu()
    try:
        cells = np.asarray(weight)
        if cells.dtype.kind not in "biufO":
            raise TypeError(f"values of type {cells.dtype}")
        row = first_wrong_cell(cells) if cells.dtype.kind == "O" and cells.ndim == 1 else None
        if row is not None:
            raise TypeError(f"{shown_cell(cells[row])} in row {row}")
        values = cells.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightError(
            f"{source} got a sample_weight that is no array of numbers ({shorten(error)}); give "
            "one number a row."
        ) from None
    if values.shape != (n_rows,):
        raise WeightError(
            f"{source} got sample_weight of shape {values.shape}, expected ({n_rows},): one number "
            "for each row of X."
        )
    is_wrong = ~((values >= 0) & (values < np.inf))
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise WeightError(
            f"{source} got a sample_weight of {values[row]} in row {row} (the first is 0), "
            "expected finite numbers, none of them negative; a row of weight zero does not count."
        )
    n_kept = int((values > 0).sum())
    if n_kept < least:
        raise WeightError(
            f"{source} got n_samples={n_kept} with a sample_weight above zero, expected at least "
            f"{least}; give more rows a weight."
        )
    return values


def repeat_by_weight(
    x: NDArray[Any], weight: NDArray[np.float64], context: NDArray[np.float64] | None
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64] | None]:
    """Lay rows out as often as they weigh, in an order of their own.

    A row of weight two then is two equal rows, bit for bit, in the validation split, in batches
    and in statistics of the columns. Only ratios of weights count. Where they are no small whole
    numbers, or the rows would become too many, weights stay, relative to the greatest. Tables of
    up to 100,000 rows are sorted.

    Parameters
    ----------
    x : ndarray of shape (n, ...)
    weight : ndarray of shape (n,)
        Above zero.
    context : ndarray of shape (n, ...) or None
    """
    weight = relative_weights(weight)
    if _are_few_counts(weight):
        index = np.repeat(np.arange(len(x)), weight.astype(np.intp))
        weight = np.ones(len(index))
    else:
        index = np.arange(len(x))
    if x.ndim == 2 and len(index) <= MAX_ROWS_TO_SORT:
        parts = [x] if context is None else [x, context.reshape(len(x), -1)]
        keys = [column for part in parts for column in part[index].T]
        index_of_sorted = np.lexsort([weight, *keys[::-1]])
        index, weight = index[index_of_sorted], weight[index_of_sorted]
    if len(index) == len(x) and bool((index == np.arange(len(x))).all()):
        return x, weight, context
    return x[index], weight, None if context is None else context[index]


def find_repeated_values(x: NDArray[Any]) -> dict[int, tuple[float, float]]:
    """Columns in which values repeat: their commonest value, and its share of the rows.

    They are those with one value in more than 2 % of the rows, and in three or more, and those
    whose values come 20 times on average. Constant columns are left out.
    """
    found = {}
    rows = x[:: max(1, len(x) // MAX_ROWS_TO_COUNT)]
    n_rows, n_columns = rows.shape
    step = max(1, MAX_VALUES_TO_COUNT // n_rows)  # columns at a time
    for start in range(0, n_columns, step):
        values = np.sort(np.ascontiguousarray(rows[:, start : start + step].T), axis=1)
        is_new = np.ones(values.shape, dtype=bool)
        is_new[:, 1:] = values[:, 1:] != values[:, :-1]
        places = np.flatnonzero(is_new)  # where runs of equal values start
        counts = np.diff(places, append=values.size)
        n_values = is_new.sum(1)
        first = np.cumsum(n_values) - n_values
        most = np.maximum.reduceat(counts, first)
        is_repeated = most > max(2, SHARE_OF_REPEATED_VALUE * n_rows)
        is_repeated |= n_rows >= TIMES_REPEATED * n_values
        for i in np.flatnonzero(is_repeated & (n_values > 1)).tolist():
            run = first[i] + counts[first[i] : first[i] + n_values[i]].argmax()
            found[start + i] = float(values.flat[places[run]]), int(most[i]) / n_rows
    return found


def index_of_weights(weight: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows as often as they weigh: repeated by whole numbers, else drawn systematically."""
    weight = relative_weights(weight)
    if _are_few_counts(weight):
        return np.repeat(np.arange(len(weight)), weight.astype(np.intp))
    return index_by_weight(torch.from_numpy(weight), 0.5).numpy()


def _are_few_counts(weight: NDArray[np.float64]) -> bool:
    """Whether relative weights are whole numbers of not too many rows."""
    is_whole = bool((weight == np.rint(weight)).all())
    return is_whole and weight.sum() <= max(MAX_ROWS_TO_REPEAT, 2 * len(weight))


def relative_weights(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights above zero as what they are to each other, so that a common factor is of no effect.

    Whole numbers without a common divisor where the ratios allow it; otherwise shares of the
    greatest, to 20 binary digits, which rounding errors of a factor do not reach.
    """
    share = weight / weight.max()
    least = share.min()
    if least * MAX_ROWS_TO_REPEAT >= 1:
        for denominator in range(1, MAX_DENOMINATOR + 1):
            counts = denominator * (share / least)
            whole = np.rint(counts)
            if bool((np.abs(counts - whole) <= 1e-9 * counts).all()):
                return whole
    mantissa, exponent = np.frexp(share)
    return np.ldexp(np.rint(mantissa * 2**20), exponent - 20)


def by_weight(rows: Tensor, weight: Tensor) -> Tensor:
    """As many rows as there are, each as often as it weighs, to take statistics of."""
    if bool((weight == weight[0]).all()):
        return rows
    return rows[index_by_weight(weight, 0.5)]


def index_by_weight(weight: Tensor, start: float) -> Tensor:
    """As many rows as there are, each as often as its weight says, by systematic sampling.

    Parameters
    ----------
    weight : Tensor of shape (n,)
    start : float
        Between 0 and 1: a random one draws, and a fixed one is repeatable.
    """
    edges = weight.double().cumsum(0)
    steps = torch.arange(len(weight), dtype=torch.float64, device=weight.device) + start
    places = torch.searchsorted(edges, steps * (edges[-1] / len(weight)), right=True)
    return places.clamp_max(len(weight) - 1)


def in_chunks(
    function: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    context: Tensor | None = None,
    *,
    is_parallel: bool = False,
) -> Tensor:
    """Apply a function of rows without gradients, so many rows at a time that memory is bounded.

    A last chunk that is short is padded with copies of a row, so that every row's result is the
    same, bit for bit, whichever rows stand beside it. With `is_parallel` there are chunks enough
    for all threads; not so where random numbers are drawn, in an order that is to stay.
    """
    prepare_for_forks()
    size = _chunk_rows(x) * (4 * n_threads() if is_parallel and n_threads() > 1 else 1)
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
