"""The products of a linear layer in training, which skip a quarter that masks hide."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from densekit.kernels.products import Call, call_into

MIN_SIDE = 64  # of a weight, from which skipping pays for the calls that it takes


class Products(NamedTuple):
    """The products of a linear layer between tensors that stay where they are."""

    forward: list[Call]
    """From the inputs to the outputs."""
    backward: list[Call]
    """From the gradient of the outputs to that of the inputs."""
    of_weight: list[Call]
    """To the gradient of the weight; what masks hide is left to others."""


def run(calls: list[Call]) -> None:
    """Take products one after the other."""
    for function, inputs, out in calls:
        function(*inputs, out=out)


def find_half(mask: Tensor | None) -> tuple[int, int]:
    """Give half the number of a weight's rows, and how many columns those see, if few; else zeros.

    Units sorted by degree make a masked weight nearly triangular: the upper half of its rows sees
    few of the columns. The two halves are then multiplied one after the other.
    """
    if mask is None or min(mask.shape) < MIN_SIDE:
        return 0, 0
    half = len(mask) // 2
    columns = mask[:half].any(0).nonzero()
    seen = int(columns.max()) + 1 if len(columns) else 0
    return (half, seen) if 0 < seen <= 3 * mask.shape[1] // 4 else (0, 0)


def plan(
    weight: Tensor,
    of_weight: Tensor,
    part: tuple[int, int],
    ends: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
) -> Products:
    """Say the products of a layer.

    Parameters
    ----------
    weight, of_weight : Tensors of shape (n_outputs, n_inputs)
        The weight, masked, and the memory of its gradient, zero where masks hide.
    part : tuple of int
        What `find_half` says of the mask.
    ends : tuple of Tensor
        Inputs (n_inputs, batch) and outputs (n_outputs, batch).
    gradients : tuple of Tensor
        Those of the inputs and of the outputs.
    """
    (x, y), (of_x, of_y), (half, seen) = ends, gradients, part
    if not half:
        return Products(
            [call_into(weight, x, y)],
            [call_into(weight.T, of_y, of_x)],
            [call_into(of_y, x.T, of_weight)],
        )
    upper, lower = weight[:half, :seen], weight[half:]
    return Products(
        [call_into(upper, x[:seen], y[:half]), call_into(lower, x, y[half:])],
        [
            call_into(lower.T, of_y[half:], of_x),
            call_into(upper.T, of_y[:half], of_x[:seen], is_added=True),
        ],
        [
            call_into(of_y[:half], x[:seen].T, of_weight[:half, :seen]),
            call_into(of_y[half:], x.T, of_weight[half:]),
        ],
    )
