"""The invertible linear map of Glow, for rows that are vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from densekit.transforms.base import RowMap, Transform, check_vector


class Linear(Transform):
    """z = P L (U + diag(s)) x with a fixed permutation P (Kingma 2018, eq. 10).

    L is unit lower triangular and U strictly upper triangular, both learned, so the
    log-determinant is the sum of ``log |s|``. The map starts as a random permutation.
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, event_shape: Sequence[int], *, context_shape: Sequence[int] | None = None):
        super().__init__(event_shape)
        n_features = check_vector("Linear", event_shape)
        n_below = n_features * (n_features - 1) // 2
        self.lower = nn.Parameter(torch.zeros(n_below))
        self.upper = nn.Parameter(torch.zeros(n_below))
        self.log_scale = nn.Parameter(torch.zeros(n_features))
        index = torch.randperm(n_features)
        self.register_buffer("permutation", index)
        self.register_buffer("inverse_permutation", torch.argsort(index))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        rows = lower @ (upper @ x.T.contiguous())  # features first, as other layers leave them
        return rows[self.permutation].T, self.log_scale.sum().expand(x.shape[0])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        columns = z.T[self.inverse_permutation]
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(upper, columns, upper=True)
        return columns.T, -self.log_scale.sum().expand(z.shape[0])

    @torch.no_grad()
    def fold(self) -> RowMap:
        lower, upper = self._factors()
        matrix = (lower @ upper)[self.permutation].T.contiguous().numpy()
        log_det = self.log_scale.sum().numpy()
        return lambda x: (x @ matrix, np.full(len(x), log_det))

    def _factors(self) -> tuple[Tensor, Tensor]:
        n_features = self.log_scale.numel()
        row, column = torch.tril_indices(
            n_features, n_features, offset=-1, device=self.log_scale.device
        )
        lower = torch.eye(n_features, dtype=self.lower.dtype, device=self.lower.device)
        lower = lower.index_put((row, column), self.lower)
        upper = torch.diag(self.log_scale.exp()).index_put((column, row), self.upper)
        return lower, upper
