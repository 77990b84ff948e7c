"""The spline beyond what the contract kit says of every map."""

import pytest
import torch

from densekit.elementwise import Spline


@pytest.mark.parametrize("n_bins", [2, 8, 40, 300])
def test_the_spline_starts_as_the_identity_and_is_smooth_at_its_edges(n_bins):
    spline = Spline(n_bins=n_bins)
    x = torch.linspace(-7, 7, 101, dtype=torch.float64)
    z, log_slope = spline.forward(x, torch.zeros(101, spline.n_params, dtype=torch.float64))
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), atol=1e-12, rtol=0)
    params = torch.randn(1, spline.n_params, dtype=torch.float64).expand(2, -1)
    edge = torch.tensor([-spline.bound, spline.bound], dtype=torch.float64)
    _, inside = spline.forward(edge * (1 - 1e-9), params)
    torch.testing.assert_close(inside, torch.zeros(2, dtype=torch.float64), atol=1e-5, rtol=0)
