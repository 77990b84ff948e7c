"""The monotone rational-quadratic spline (Durkan 2019, eqs. 4 to 8), forward and backward.

Elements lie side by side and parameters one after another: ``raw`` is (3 K - 1, n), x is (n,).
All is computed in the unit box, and only for the bin that an element falls into.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from densekit.kernels.layout import flipped, unflipped


class SplineShape(NamedTuple):
    """What all elements share."""

    n_bins: int
    bound: float
    min_bin: float
    min_slope: float
    unit_slope: float  # softplus(unit_slope) + min_slope = 1


class _Bins(NamedTuple):
    """The bin of each element; pairs (2, n) are of x and z, or of its left and right edge."""

    exp: Tensor  # (2, K, n): exponentials of the raw widths and heights
    total: Tensor  # (2, n): their sums
    number: Tensor  # (n,): which bin, from 0
    start: Tensor  # (2, n): lower left corner
    size: Tensor  # (2, n)
    raw_slopes: Tensor  # (2, n)
    slopes: Tensor  # (2, n)


class _Place(NamedTuple):
    """Where an element stands in its bin; every tensor is (n,)."""

    position: Tensor  # share of the width
    share: Tensor  # share of the height
    denominator: Tensor
    numerator: Tensor


class _BinGradients(NamedTuple):
    """Gradients of what `_Bins` holds under the same names, each (2, n)."""

    start: Tensor
    size: Tensor
    slopes: Tensor


def spline(x: Tensor, params: Tensor, shape: SplineShape) -> tuple[Tensor, Tensor]:
    """Give z and the log-slope at x, with gradients where autograd asks for them."""
    if torch.is_grad_enabled():
        result: tuple[Tensor, Tensor] = _Spline.apply(x, params, shape)
        return result
    z, log_slope, _ = _run(x, params, shape)
    return z, log_slope


def _run(
    x: Tensor, params: Tensor, shape: SplineShape
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """z and log-slope, the identity outside the box, and what the backward pass needs."""
    flat, raw = flipped(x).view(-1), flipped(params).flatten(1)
    unit = _to_unit(flat, shape)
    bins = _find_bins(unit, raw, shape, axis=0)
    position = unit.sub_(bins.start[0]).div_(bins.size[0]).clamp_(0.0, 1.0)
    share, denominator, numerator = _rational_quadratic(position, bins)
    z = torch.addcmul(bins.start[1], bins.size[1], share)
    z.mul_(2 * shape.bound).sub_(shape.bound)
    is_outside = flat.abs() >= shape.bound
    log_slope = _log_slope(bins, denominator, numerator).masked_fill_(is_outside, 0.0)
    z = torch.where(is_outside, flat, z)
    saved = (*bins, position, share, denominator, numerator, is_outside)
    return unflipped(z, x.shape), unflipped(log_slope, x.shape), saved


class _Spline(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, params: Tensor, shape: SplineShape) -> tuple[Tensor, Tensor]:
        z, log_slope, saved = _run(x, params, shape)
        ctx.shape, ctx.shapes = shape, (x.shape, params.shape)
        ctx.save_for_backward(*saved)
        return z, log_slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_slope: Tensor) -> tuple[Any, ...]:
        shape = ctx.shape
        bins = _Bins(*ctx.saved_tensors[:7])
        *place, is_outside = ctx.saved_tensors[7:]
        of_z = flipped(of_z).view(-1)
        of_log_slope = flipped(of_log_slope).view(-1).masked_fill(is_outside, 0.0)
        of_top = of_z.masked_fill(is_outside, 0.0).mul_(2 * shape.bound)  # of z in the unit box
        of_bins = _gradient_of_bins(bins, _Place(*place), of_top, of_log_slope)
        of_x = torch.where(is_outside, of_z, of_bins.start[0] * (-1 / (2 * shape.bound)))
        of_raw = _gradient_of_raw(bins, of_bins, shape)
        x_shape, params_shape = ctx.shapes
        return unflipped(of_x, x_shape), unflipped(of_raw, params_shape), None


def invert_spline(z: Tensor, params: Tensor, shape: SplineShape) -> tuple[Tensor, Tensor]:
    """Give x and the log-slope of the inverse map, without gradients."""
    flat, raw = flipped(z).view(-1), flipped(params).flatten(1)
    unit = _to_unit(flat, shape)
    bins = _find_bins(unit, raw, shape, axis=1)
    share = unit.sub_(bins.start[1]).div_(bins.size[1]).clamp_(0.0, 1.0)
    position = _solve(share, bins)
    _, denominator, numerator = _rational_quadratic(position, bins)
    x = torch.addcmul(bins.start[0], bins.size[0], position)
    x.mul_(2 * shape.bound).sub_(shape.bound)
    is_outside = flat.abs() >= shape.bound
    log_slope = _log_slope(bins, denominator, numerator).neg_().masked_fill_(is_outside, 0.0)
    x = torch.where(is_outside, flat, x)
    return unflipped(x, z.shape), unflipped(log_slope, z.shape)


def _to_unit(x: Tensor, shape: SplineShape) -> Tensor:
    return x.clamp(-shape.bound, shape.bound).add_(shape.bound).div_(2 * shape.bound)


def _find_bins(value: Tensor, raw: Tensor, shape: SplineShape, axis: int) -> _Bins:
    """Bins by a place in the unit interval of x (axis 0) or of z (axis 1)."""
    n_bins, n = shape.n_bins, raw.shape[1]
    boxes = raw[: 2 * n_bins].view(2, n_bins, n)
    exp = (boxes - boxes.amax(1, keepdim=True)).exp_()
    knots = torch.matmul(_accumulator(shape, raw.dtype, raw.device), exp)  # (2, K + 1, n), unscaled
    scale = knots[:, n_bins]
    total = scale / (1 + n_bins * _excess(shape))
    is_right = value * scale[axis] >= knots[axis, 1:n_bins]
    index = is_right.view(torch.int8).sum(0, dtype=torch.int16).long()  # bins may be up to 999
    # One linear index into the rows of a table is several times faster than a gather.
    linear = index * n + torch.arange(n, device=raw.device)
    start = knots.view(2, -1).index_select(1, linear).div_(scale)
    # Not as a difference of knots, which would lose digits of narrow bins.
    size = exp.view(2, -1).index_select(1, linear).add_(total, alpha=_excess(shape)).div_(scale)
    raw_slopes = _raw_slopes(raw, index, linear, shape)
    slopes = F.softplus(raw_slopes + shape.unit_slope).add_(shape.min_slope)
    return _Bins(exp, total, index, start, size, raw_slopes, slopes)


def _excess(shape: SplineShape) -> float:
    """The share of the total that, added to each exponential, keeps bins above `min_bin`."""
    return shape.min_bin / (1 - shape.n_bins * shape.min_bin)


@functools.lru_cache(maxsize=16)
def _accumulator(shape: SplineShape, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix (K + 1, K) that sums exponentials up to each knot, with the least width of bins."""
    ones = torch.ones(shape.n_bins + 1, shape.n_bins, dtype=dtype, device=device)
    knot = torch.arange(shape.n_bins + 1, dtype=dtype, device=device)[:, None]
    return ones.tril(-1) + _excess(shape) * knot


def _raw_slopes(raw: Tensor, index: Tensor, linear: Tensor, shape: SplineShape) -> Tensor:
    """Raw slopes at both knots of the bin; at the edges of the box the one that means one."""
    n_bins, n = shape.n_bins, raw.shape[1]
    slopes = raw[2 * n_bins :].reshape(-1)
    is_first, is_last = index == 0, index == n_bins - 1
    left = slopes.index_select(0, (linear - n).clamp_min_(0)).masked_fill_(is_first, 0.0)
    right = slopes.index_select(0, linear.clamp_max(slopes.numel() - 1)).masked_fill_(is_last, 0.0)
    return torch.stack([left, right])


def _rational_quadratic(position: Tensor, bins: _Bins) -> tuple[Tensor, Tensor, Tensor]:
    """Share of the height that is reached, and denominator and numerator of its slope."""
    slope = bins.size[1] / bins.size[0]
    rest = 1.0 - position
    across = position * rest
    squared = position.square()
    bend = bins.slopes.sum(0).sub_(2.0 * slope)
    denominator = torch.addcmul(slope, bend, across)
    share = torch.addcmul(slope * squared, bins.slopes[0], across).div_(denominator)
    numerator = (2.0 * slope).mul_(across).addcmul_(bins.slopes[1], squared)
    numerator.addcmul_(bins.slopes[0], rest.square_())
    return share, denominator, numerator


def _log_slope(bins: _Bins, denominator: Tensor, numerator: Tensor) -> Tensor:
    ratio = bins.size[1] / bins.size[0] / denominator
    return ratio.square_().mul_(numerator).log_()


def _solve(share: Tensor, bins: _Bins) -> Tensor:
    """Position at which the share of the height is reached (eqs. 6 to 8)."""
    slope = bins.size[1] / bins.size[0]
    bend = bins.slopes.sum(0).sub_(2.0 * slope).mul_(share)
    a = bend + slope - bins.slopes[0]
    b = bins.slopes[0] - bend
    c = -slope * share
    # Rounding can push the discriminant below zero at a knot; the true value is not.
    root = torch.addcmul(b.square(), a, c, value=-4.0).clamp_min_(0.0).sqrt_()
    # Of the two forms of the root take the one without cancellation, by the sign of b.
    is_positive = b >= 0
    stable = torch.where(is_positive, -b - root, root - b)
    top = torch.where(is_positive, 2.0 * c, stable)
    bottom = torch.where(is_positive, stable, 2.0 * a)
    return top.div_(bottom.masked_fill_(bottom == 0, 1.0)).clamp_(0.0, 1.0)


def _gradient_of_bins(
    bins: _Bins, place: _Place, of_top: Tensor, of_log_slope: Tensor
) -> _BinGradients:
    """Differentiate z and the log-slope by the bin's corner, its size and the slopes of its knots.

    `of_top` is the gradient of z in the unit box. Each term of eqs. 4 and 5 is differentiated by
    the position in the bin, then by the bin's own slope, then by those of its knots.
    """
    position, share, denominator, numerator = place
    per_width = bins.size[0].reciprocal()
    steep = bins.size[1] * per_width
    rest, squared = 1.0 - position, position.square()
    across = position * rest
    lean, widen = rest - position, 1.0 - 2.0 * across
    bend = bins.slopes.sum(0).sub_(2.0 * steep)
    of_numerator = of_log_slope / numerator
    of_denominator = -2.0 * of_log_slope / denominator
    along = of_top * bins.size[1] / denominator
    turn = torch.lerp(-bins.slopes[0], bins.slopes[1], position).addcmul_(steep, lean)
    of_position = along * steep * numerator / denominator
    of_position.addcmul_(of_numerator, turn, value=2.0).addcmul_(of_denominator, bend * lean)
    of_steep = along * torch.addcmul(squared, share, widen, value=-1.0)
    of_steep.add_(of_log_slope / steep, alpha=2.0).addcmul_(of_denominator, widen)
    of_steep.addcmul_(of_numerator, across, value=2.0)
    along = along * across
    of_both = torch.addcmul(of_denominator * across, along, share, value=-1.0)
    of_left_slope = (of_both + along).addcmul_(of_numerator, rest.square())
    of_right_slope = of_both.addcmul_(of_numerator, squared)
    of_left = -of_position * per_width
    of_width = torch.addcmul(of_left * position, of_steep * steep, per_width, value=-1.0)
    of_height = torch.addcmul(of_top * share, of_steep, per_width)
    return _BinGradients(
        torch.stack([of_left, of_top]),
        torch.stack([of_width, of_height]),
        torch.stack([of_left_slope, of_right_slope]),
    )


def _gradient_of_raw(bins: _Bins, of_bins: _BinGradients, shape: SplineShape) -> Tensor:
    """Carry gradients of the bin back to all raw parameters of its element, of shape (3 K - 1, n).

    A knot is the sum of the softmax shares before it: shares left of the bin move its start, and
    the bin's own moves its size.
    """
    n_bins, n = shape.n_bins, bins.number.numel()
    of_raw = bins.exp.new_empty(3 * n_bins - 1, n)
    weight = (1 - n_bins * shape.min_bin) / bins.total  # of an exponential in its share
    before = (bins.start - shape.min_bin * bins.number.to(bins.start.dtype)) / (
        1 - n_bins * shape.min_bin
    )
    own = (bins.size - shape.min_bin) / (1 - n_bins * shape.min_bin)
    mean = torch.addcmul(of_bins.start * before, of_bins.size, own)
    knot = torch.arange(n_bins, device=bins.number.device)[:, None]
    left = ((of_bins.start - mean) * weight)[:, None]
    boxes = torch.where(knot < bins.number, left, (-mean * weight)[:, None])
    index = bins.number.expand(2, 1, n)
    boxes.scatter_(1, index, ((of_bins.size - mean) * weight)[:, None])
    torch.mul(boxes, bins.exp, out=of_raw[: 2 * n_bins].view(2, n_bins, n))
    of_slopes = of_bins.slopes * torch.sigmoid(bins.raw_slopes + shape.unit_slope)
    slopes = bins.exp.new_zeros(n_bins + 1, n)
    slopes.scatter_(0, torch.stack([bins.number, bins.number + 1]), of_slopes)
    of_raw[2 * n_bins :] = slopes[1:n_bins]
    return of_raw
