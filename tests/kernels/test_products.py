"""Matrix products: by whichever library, they are the same."""

import contextlib
import subprocess
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densekit import kernels
from densekit.kernels import products, triangle

SIDES = st.sampled_from([1, 2, 3, 17, 64, 130, 300])


PROCESSORS = ["emeraldrapids", "znver3", "znver5"]  # as LLVM calls them


@contextlib.contextmanager
def on(processor):
    """Choose libraries as on another processor, where torch has MKL."""
    with (
        mock.patch.object(products.binding, "get_host_cpu_name", return_value=processor),
        mock.patch.object(products, "_has_own_blas", products._has_own_blas.__wrapped__),
        mock.patch.object(products, "_has_wide_vectors", products._has_wide_vectors.__wrapped__),
    ):
        yield


@pytest.mark.parametrize("processor", PROCESSORS)
@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_products_are_those_of_matrices(processor, n, m, k, turn_a, turn_b, dtype):
    dtype = getattr(torch, dtype)
    a, b = torch.randn(n, k, dtype=dtype), torch.randn(k, m, dtype=dtype)
    a, b = a.T.contiguous().T if turn_a else a, b.T.contiguous().T if turn_b else b
    expected = a.double() @ b.double()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    # Rounding goes by the terms of a sum, which may cancel.
    scale = a.double().abs() @ b.double().abs()
    into, onto = torch.empty(n, m, dtype=dtype), torch.ones(n, m, dtype=dtype)
    with on(processor):
        triangle.run(
            [products.call_into(a, b, into), products.call_into(a, b, onto, is_added=True)]
        )
        alone = kernels.product(a, b)
    for result in (alone, into):
        assert ((result - expected).abs() <= tolerance * scale).all()
    assert ((onto - 1 - expected).abs() <= tolerance * (1 + scale)).all()


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("n_rows", [7, 512])
def test_skipping_what_masks_hide_changes_no_product(processor, n_rows):
    mask = torch.arange(130)[:, None] >= torch.arange(128)
    weight, of_weight = torch.randn(130, 128) * mask, torch.zeros(130, 128)
    (x, of_x), (y, of_y) = (torch.randn(2, side, n_rows) for side in (128, 130))
    part = triangle.find_half(mask)
    assert part[0] > 0
    with on(processor):
        plan = triangle.plan(weight, of_weight, part, (x, y), (of_x, of_y))
        triangle.run([*plan.forward, *plan.backward, *plan.of_weight])
    close = {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(y, weight @ x, **close)
    torch.testing.assert_close(of_x, weight.T @ of_y, **close)
    torch.testing.assert_close(of_weight * mask, (of_y @ x.T) * mask, **close)


has_libraries = pytest.mark.skipif(
    not torch.backends.mkl.is_available() or products._onednn_linear() is None,
    reason="about torch with MKL and oneDNN",
)


@has_libraries
@pytest.mark.parametrize(
    ("processor", "n_summed", "by_onednn"),
    [
        ("emeraldrapids", 128, False),
        ("emeraldrapids", 130, True),
        ("znver3", 128, True),
        ("znver5", 128, True),
        ("znver5", 130, True),
    ],
)
def test_the_library_goes_by_the_processor_and_by_the_length_of_the_sum(
    processor, n_summed, by_onednn
):
    a, b = torch.randn(128, n_summed), torch.randn(n_summed, 512)
    with on(processor), mock.patch.object(products, "_by_onednn", wraps=products._by_onednn) as spy:
        products.product(a, b)
        assert spy.called == by_onednn
        spy.reset_mock()
        products.product(a[:3], b)  # a thin result
        assert not spy.called


PROBE = """
import torch
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
from densekit.kernels import products
with_defaults = products._onednn_linear()
products._onednn_linear.cache_clear()
torch.set_default_dtype(torch.float32)
torch.set_default_device("cpu")
assert (with_defaults is None) == (products._onednn_linear() is None)
"""


@pytest.mark.slow
def test_a_default_dtype_or_device_does_not_choose_the_library():
    subprocess.run([sys.executable, "-c", PROBE], check=True)
