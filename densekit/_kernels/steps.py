"""The fast way through layers: forward, backward with all gradients, and inverse.

Everything has features first in memory, (n_features, batch). What a step gives is written into
memory that is there already where that can be: rows and log-determinants into those that came in,
gradients of weights into theirs. Each step has a plain twin in autograd.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from densekit._kernels.elementwise import MapKernel
from densekit._kernels.library import function
from densekit._kernels.products import Call, call_into
from densekit._kernels.sequential import Network, masked, solve

MAX_BATCH_SIZES = 2  # of which a step keeps memory: that of most, and that of the last


class CompiledStep(ABC):
    """A layer's way through a batch, there and back."""

    @abstractmethod
    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        """Map rows and add to their log-determinants.

        Parameters
        ----------
        rows : Tensor of shape (n_features, batch)
            May be overwritten.
        context : Tensor of shape (batch, ...), optional
            Not every layer takes notice of it.
        log_det : Tensor of shape (batch,)
            Is added to.

        Returns
        -------
        Tensor of shape (n_features, batch)
        """

    @abstractmethod
    def backward(self, grad_rows: Tensor, grad_log_det: Tensor, needs_rows: bool) -> Tensor:
        """Carry a loss's gradients back from what `forward` gave last, to parameters too.

        Parameters
        ----------
        grad_rows : Tensor of shape (n_features, batch)
            May be overwritten.
        grad_log_det : Tensor of shape (batch,)
            The same for all layers.
        needs_rows : bool
            Whether the result is of use.

        Returns
        -------
        Tensor of shape (n_features, batch)
        """

    @abstractmethod
    def inverse(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        """Map rows back, and add the log-determinants of this direction; as `forward`."""


class PlainStep(CompiledStep):
    """The step of a layer that has none of its own, recorded by autograd for this layer alone.

    Parameters
    ----------
    transform : Transform
    """

    def __init__(self, transform: Any):
        self._transform = transform

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return _add(self._transform(rows.T, context), log_det)
        self._x = rows.T.clone().requires_grad_()
        self._results = self._transform(self._x, context)
        z, own = self._results
        log_det += own.detach()
        return z.detach().T.clone(memory_format=torch.contiguous_format)

    def backward(self, grad_rows: Tensor, grad_log_det: Tensor, needs_rows: bool) -> Tensor:
        pairs = zip(self._results, (grad_rows.T, grad_log_det), strict=True)
        recorded = [(result, gradient) for result, gradient in pairs if result.requires_grad]
        torch.autograd.backward([r for r, _ in recorded], [g for _, g in recorded])
        grad_x = self._x.grad
        return torch.zeros_like(grad_rows) if grad_x is None else grad_x.T.contiguous()

    def inverse(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        return _add(self._transform.inverse(rows.T, context), log_det)


def _add(result: tuple[Tensor, Tensor], log_det: Tensor) -> Tensor:
    """Add a layer's log-determinants; give its rows with features first."""
    log_det += result[1]
    return result[0].T.contiguous()


def is_learned(*parameters: Tensor) -> bool:
    """Whether tensors are parameters that a step can write gradients of."""
    return all(isinstance(p, torch.nn.Parameter) and p.requires_grad for p in parameters)


class Workspace:
    """Tensors that steps overwrite in turn, so that they stay in the nearest cache."""

    def __init__(self) -> None:
        self._tensors: dict[Any, Tensor] = {}
        self._n_rows: set[int] = set()

    def tensor(self, like: Tensor, n_features: int, n_rows: int, slot: int | str) -> Tensor:
        """One of shape (n_features, n_rows), of another's dtype; each slot has one of its own."""
        if n_rows not in self._n_rows:
            if len(self._n_rows) >= MAX_BATCH_SIZES:
                self._n_rows.clear()
                self._tensors.clear()
            self._n_rows.add(n_rows)
        key = slot, n_features, n_rows, like.dtype
        if key not in self._tensors:
            self._tensors[key] = like.new_empty(n_features, n_rows)
        return self._tensors[key]


class Layer(NamedTuple):
    """A layer in which a network makes of some features what maps others."""

    kernel: MapKernel
    kept: Tensor
    """Features that the network sees."""
    moved: Tensor
    """Features that are mapped; they may overlap with the others."""
    weights: Sequence[Tensor]
    """Of the network, from its inputs, which are the kept features and the context, to its outputs,
    of which there are n_params times n_moved. A network without inputs is a bias alone."""
    biases: Sequence[Tensor]
    masks: Sequence[Tensor] | None = None
    """Zeros and ones that multiply the weights."""
    network: Callable[[], Network] | None = None
    """Of an autoregressive layer: the network as its sequential inverse wants it."""


class LayerStep(CompiledStep):
    """The step of a coupling or of an autoregressive layer.

    Parameters
    ----------
    layer : Layer
        Where there will be gradients, what masks hide of its weights is set to zero for good, so
        that no pass needs to multiply by masks.
    workspace : Workspace
    learns : bool
        Whether there will be gradients.
    """

    def __init__(self, layer: Layer, workspace: Workspace, *, learns: bool):
        self._layer, self._workspace, self._learns = layer, workspace, learns
        self._masks = None if layer.masks is None else list(layer.masks)
        self._weights = [weight.detach() for weight in layer.weights]
        self._biases = [bias.detach() for bias in layer.biases]
        self._grad_weights = gradients_of(layer.weights) if learns else []
        self._grad_biases = gradients_of(layer.biases) if learns else []
        if self._masks is not None and learns:
            torch._foreach_mul_(self._weights, self._masks)
        elif self._masks is not None and not self._is_masked():
            self._weights = masked(self._weights, self._masks)
        self._memories: dict[int, _Memory] = {}
        self._network: Network | None = None

    def _is_masked(self) -> bool:
        """Whether the weights are zero already where masks are, as after training."""
        pairs = zip(self._weights, self._masks or (), strict=True)
        return not any(bool((weight * (1 - mask)).count_nonzero()) for weight, mask in pairs)

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        memory = self._memory = self._memory_of(rows)
        self._run_network(memory, rows, context)
        before, after = memory.map_features
        memory.run_map(*before, rows.data_ptr(), *after, log_det.data_ptr())
        return rows

    def inverse(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        kernel = self._layer.kernel
        if self._layer.network is not None:
            if self._network is None:
                self._network = self._layer.network()
            given = None if context is None else context.flatten(1).T
            x, log_slopes = solve(rows, given, self._network, kernel)
            log_det += log_slopes.sum(0)
            return x
        memory = self._memory_of(rows)
        self._run_network(memory, rows, context)
        (before, after), run = memory.map_features, kernel.inverse[rows.dtype]
        after = (*after[:3], run, *after[4:])
        memory.run_map(*before, rows.data_ptr(), *after, log_det.data_ptr())
        return rows

    def _run_network(self, memory: _Memory, rows: Tensor, context: Tensor | None) -> None:
        inputs, kept = memory.inputs, self._layer.kept
        torch.index_select(rows, 0, kept, out=inputs[: len(kept)])
        if context is not None and len(inputs) > len(kept):
            inputs[len(kept) :] = context.flatten(1).T
        if not self._weights:
            memory.raw.zero_()
        for product, bound in zip(memory.forward, memory.bounds, strict=True):
            run, operands, out = product
            run(*operands, out=out)
            if bound is not None:
                memory.add_and_bound(*bound)

    def backward(self, grad_rows: Tensor, grad_log_det: Tensor, needs_rows: bool) -> Tensor:
        memory = self._memory
        before, after = memory.grad_features
        memory.run_grad(*before, grad_rows.data_ptr(), grad_log_det.data_ptr(), *after)
        for i in reversed(range(len(self._weights))):
            run, operands, out = memory.for_weights[i]
            run(*operands, out=out)
            if i > 0 or needs_rows:
                run, operands, out = memory.backward[i]
                run(*operands, out=out)
            if i > 0:
                memory.grad_bound(*memory.grad_bounds[i - 1])
        if needs_rows and self._weights:
            kept = self._layer.kept
            grad_rows.index_add_(0, kept, memory.grad_inputs[: len(kept)])
        if self._masks is not None:
            torch._foreach_mul_(self._grad_weights, self._masks)
        return grad_rows

    def _memory_of(self, rows: Tensor) -> _Memory:
        """Memory for batches of this size: most are as large as the last, or end an epoch."""
        n_rows = rows.shape[1]
        if n_rows not in self._memories:
            if len(self._memories) >= MAX_BATCH_SIZES:
                self._memories.clear()
            self._memories[n_rows] = self._plan(rows)
        return self._memories[n_rows]

    @torch.inference_mode(False)  # or memory that is made inside could not be written to outside
    def _plan(self, rows: Tensor) -> _Memory:
        """Say all calls of a batch of this size, between tensors that stay where they are."""
        for index in (self._layer.kept, self._layer.moved):
            if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(rows):
                raise IndexError(f"a layer of {len(rows)} features has the indices {index}")
        layer, n_rows, dtype = self._layer, rows.shape[1], rows.dtype
        kernel, n_moved = layer.kernel, len(layer.moved)
        n_inputs = self._weights[0].shape[1] if self._weights else 0
        outputs = [len(bias) for bias in self._biases]
        sizes = (n_inputs, *outputs)
        room = partial(self._workspace.tensor, rows, n_rows=n_rows)
        if self._learns:  # what a layer held is needed on the way back
            values = [rows.new_empty(size, n_rows) for size in sizes]
            x = rows.new_empty(n_moved, n_rows)
        else:
            values = [room(size, slot=f"value {i}") for i, size in enumerate(sizes)]
            x = room(n_moved, slot="x")
        gradients = values
        if self._learns:
            gradients = [room(size, slot=f"gradient {i}") for i, size in enumerate(sizes)]
        beside = [room(n_moved, slot=k) for k in range(3)]
        options = kernel.numbers(dtype).data_ptr()
        counts = n_moved, kernel.n_params, n_rows
        moved, raw, bias = (t.data_ptr() for t in (layer.moved, values[-1], self._biases[-1]))
        hidden = range(len(self._weights) - 1)
        return _Memory(
            inputs=values[0],
            grad_inputs=gradients[0],
            raw=values[-1],
            forward=[
                call_into(w, values[i], values[i + 1], learns=self._learns)
                for i, w in enumerate(self._weights)
            ],
            backward=[
                call_into(w.T, gradients[i + 1], gradients[i], learns=True)
                for i, w in enumerate(self._weights)
                if self._learns
            ],
            for_weights=[
                call_into(gradients[i + 1], values[i].T, gradient, learns=True)
                for i, gradient in enumerate(self._grad_weights)
            ],
            bounds=[
                (outputs[i], n_rows, values[i + 1].data_ptr(), self._biases[i].data_ptr())
                if i in hidden
                else None
                for i in range(len(self._weights))
            ],
            grad_bounds=[
                (
                    *(outputs[i], n_rows, values[i + 1].data_ptr()),
                    *(gradients[i + 1].data_ptr(), self._grad_biases[i].data_ptr()),
                )
                for i in hidden
                if self._learns
            ],
            map_features=(
                counts,
                (
                    *(moved, raw, bias, kernel.forward[dtype], options, x.data_ptr()),
                    *(beside[0].data_ptr(), beside[1].data_ptr()),
                ),
            ),
            grad_features=(
                counts,
                (
                    *(moved, raw, kernel.gradient[dtype], options, x.data_ptr()),
                    *(t.data_ptr() for t in beside),
                    *(gradients[-1].data_ptr(), *(g.data_ptr() for g in self._grad_biases[-1:])),
                ),
            ),
            add_and_bound=function("add_and_bound", dtype),
            grad_bound=function("grad_bound", dtype),
            run_map=function("map_features", dtype),
            run_grad=function("grad_features", dtype),
            held=[*values, *gradients, x, *beside],
        )


class _Memory(NamedTuple):
    """All calls of a layer's step for batches of one size, and the tensors that they go between."""

    inputs: Tensor
    grad_inputs: Tensor
    raw: Tensor
    """What the network gives: the map's parameters."""
    forward: list[Call]
    backward: list[Call]
    for_weights: list[Call]
    bounds: list[tuple[int, ...] | None]
    grad_bounds: list[tuple[int, ...]]
    map_features: tuple[tuple[int, ...], tuple[int, ...]]
    """Arguments before and after those of each batch."""
    grad_features: tuple[tuple[int, ...], tuple[int, ...]]
    add_and_bound: Any
    grad_bound: Any
    run_map: Any
    run_grad: Any
    held: list[Tensor]
    """What pointers lead to."""


class ColumnStep(CompiledStep):
    """The step of (x + shift) * exp(log_scale), with parameters of shape (n_features,)."""

    def __init__(self, shift: Tensor, log_scale: Tensor, *, learns: bool):
        self._values = [shift.detach(), log_scale.detach()]
        self._gradients = gradients_of([shift, log_scale]) if learns else []
        self._learns = learns

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        self._z = torch.empty_like(rows) if self._learns else None
        function("map_columns", rows.dtype)(
            *(*rows.shape, rows.data_ptr(), *(t.data_ptr() for t in self._values)),
            *(0 if self._z is None else self._z.data_ptr(), log_det.data_ptr()),
        )
        return rows

    def inverse(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        shift, log_scale = self._values
        log_det -= log_scale.sum()
        return rows.mul_(torch.exp(-log_scale)[:, None]).sub_(shift[:, None])

    def backward(self, grad_rows: Tensor, grad_log_det: Tensor, needs_rows: bool) -> Tensor:
        function("grad_columns", grad_rows.dtype)(
            *(*grad_rows.shape, grad_rows.data_ptr(), grad_log_det.data_ptr()),
            *(self._values[1].data_ptr(), 0 if self._z is None else self._z.data_ptr()),
            *(t.data_ptr() for t in self._gradients),
        )
        return grad_rows


class LinearStep(CompiledStep):
    """The step of z = P L (U + diag(exp(log_scale))) x.

    Parameters
    ----------
    lower, upper, log_scale : Parameter
        What is below and above the diagonals, row by row of the lower one, and the diagonal.
    permutation : Tensor of int
    """

    def __init__(
        self,
        lower: Tensor,
        upper: Tensor,
        log_scale: Tensor,
        permutation: Tensor,
        *,
        learns: bool,
    ):
        parameters = [lower, upper, log_scale]
        self._values = [parameter.detach() for parameter in parameters]
        self._gradients = gradients_of(parameters) if learns else []
        n_features = len(log_scale)
        self._below = tuple(torch.tril_indices(n_features, n_features, offset=-1))
        self._permutation, self._inverse = permutation, torch.argsort(permutation)
        self._lower = torch.eye(n_features, dtype=lower.dtype)
        self._upper = torch.zeros_like(self._lower)

    def forward(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        self._fill_factors()
        self._x, self._h = rows, self._upper @ rows
        log_det += self._values[2].sum()
        return (self._lower @ self._h)[self._permutation]

    def backward(self, grad_rows: Tensor, grad_log_det: Tensor, needs_rows: bool) -> Tensor:
        grad_below, grad_above, grad_log_scale = self._gradients
        row, column = self._below
        grad_columns = grad_rows[self._inverse]
        grad_below.copy_((grad_columns @ self._h.T)[row, column])
        grad_h = self._lower.T @ grad_columns
        grad_upper = grad_h @ self._x.T
        grad_above.copy_(grad_upper[column, row])
        torch.mul(grad_upper.diagonal(), self._upper.diagonal(), out=grad_log_scale)
        grad_log_scale += grad_log_det.sum()
        return self._upper.T @ grad_h if needs_rows else grad_rows

    def inverse(self, rows: Tensor, context: Tensor | None, log_det: Tensor) -> Tensor:
        self._fill_factors()
        log_det -= self._values[2].sum()
        columns = rows[self._inverse]
        columns = torch.linalg.solve_triangular(
            self._lower, columns, upper=False, unitriangular=True
        )
        return torch.linalg.solve_triangular(self._upper, columns, upper=True).contiguous()

    def _fill_factors(self) -> None:
        below, above, log_scale = self._values
        row, column = self._below
        self._lower[row, column] = below
        self._upper[column, row] = above
        self._upper.diagonal().copy_(log_scale.exp())


def gradients_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The memory of parameters' gradients, which start at zero."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [p.grad for p in parameters if p.grad is not None]
