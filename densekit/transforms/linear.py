"""The invertible linear map of Glow: of the columns of a table, or of the channels of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densekit import _kernels as kernels
from densekit.cases import TransformCase
from densekit.transforms.base import Transform


class Linear(Transform):
    """z = P L (U + diag(s)) x with a fixed permutation P (Kingma 2018, eq. 10).

    On images (channels, height, width) it is a 1x1 convolution: the same map of the channels at
    every pixel. L is unit lower triangular and U strictly upper triangular, both learned, so the
    log-determinant is the sum of ``log |s|``. The map starts as a random permutation.
    """

    index_buffers = ("permutation", "inverse_permutation")
    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__(event_shape)
        n_features = self.event_shape[0]
        self._n_positions = math.prod(self.event_shape[1:])
        n_below = n_features * (n_features - 1) // 2
        self.lower = nn.Parameter(torch.zeros(n_below))
        self.upper = nn.Parameter(torch.zeros(n_below))
        self.log_scale = nn.Parameter(torch.zeros(n_features))
        index = torch.randperm(n_features)
        self.register_buffer("permutation", index)
        self.register_buffer("inverse_permutation", torch.argsort(index))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        # Features first, as other layers leave them.
        columns = lower @ (upper @ x.transpose(0, 1).flatten(1).contiguous())
        return self._rows(columns[self.permutation], len(x)), self._log_det(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        columns = z.transpose(0, 1).flatten(1)[self.inverse_permutation]
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(upper, columns, upper=True)
        return self._rows(columns, len(z)), -self._log_det(len(z))

    def _rows(self, columns: Tensor, n_rows: int) -> Tensor:
        return columns.view(-1, n_rows, *self.event_shape[1:]).transpose(0, 1)

    def _log_det(self, n_rows: int) -> Tensor:
        return (self._n_positions * self.log_scale.sum()).expand(n_rows)

    def compiled_steps(
        self, workspace: kernels.Workspace, *, learns: bool
    ) -> list[kernels.CompiledStep]:
        parameters = self.lower, self.upper, self.log_scale
        if learns and not kernels.is_learned(*parameters):
            return super().compiled_steps(workspace, learns=learns)
        return [kernels.LinearStep(*parameters, self.permutation, learns=learns)]

    def _factors(self) -> tuple[Tensor, Tensor]:
        n_features = self.log_scale.numel()
        row, column = torch.tril_indices(
            n_features, n_features, offset=-1, device=self.log_scale.device
        )
        lower = torch.eye(n_features, dtype=self.lower.dtype, device=self.lower.device)
        lower = lower.index_put((row, column), self.lower)
        upper = torch.diag(self.log_scale.exp()).index_put((column, row), self.upper)
        return lower, upper

    @classmethod
    def example_cases(cls) -> list[TransformCase]:
        return [
            TransformCase("Linear", lambda: cls((3,))),
            TransformCase("Linear(image)", lambda: cls((3, 2, 2))),
        ]
