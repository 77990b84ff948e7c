"""Matrix products: by whichever library, they are the same."""

import subprocess
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densekit._kernels import products

SIDES = st.sampled_from([1, 2, 3, 17, 64, 130, 300])


FAMILIES = [0, 25, 26]  # of AMD's: another's processor, Zen 3 or 4, Zen 5


def on(family):
    """Choose libraries as on another processor."""
    return mock.patch.object(products, "_amd_family", return_value=family)


@pytest.mark.parametrize("family", FAMILIES)
@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_products_are_those_of_matrices(family, n, m, k, turn_a, turn_b, dtype):
    dtype = getattr(torch, dtype)
    a, b = torch.randn(n, k, dtype=dtype), torch.randn(k, m, dtype=dtype)
    a, b = a.T.contiguous().T if turn_a else a, b.T.contiguous().T if turn_b else b
    expected = a.double() @ b.double()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    # Rounding goes by the terms of a sum, which may cancel.
    scale = a.double().abs() @ b.double().abs()
    with on(family):
        results = [products.product(a, b)]
        for learns in (True, False):
            results.append(torch.empty(n, m, dtype=dtype))
            run, operands, out = products.call_into(a, b, results[-1], learns=learns)
            run(*operands, out=out)
    for result in results:
        assert ((result - expected).abs() <= tolerance * scale).all()


has_libraries = pytest.mark.skipif(
    not torch.backends.mkl.is_available() or products._onednn_linear() is None,
    reason="about torch with MKL and oneDNN",
)


@has_libraries
@pytest.mark.parametrize(
    ("family", "n_summed", "by_onednn"),
    [(0, 128, False), (0, 130, True), (25, 128, True), (26, 128, True), (26, 130, True)],
)
def test_the_library_goes_by_the_processor_and_by_the_length_of_the_sum(
    family, n_summed, by_onednn
):
    a, b = torch.randn(128, n_summed), torch.randn(n_summed, 512)
    with on(family), mock.patch.object(products, "_by_onednn", wraps=products._by_onednn) as spy:
        products.product(a, b)
        assert spy.called == by_onednn
        spy.reset_mock()
        products.product(a[:3], b)  # a thin result
        assert not spy.called


PROBE = """
import torch
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
from densekit._kernels import products
with_defaults = products._onednn_linear()
products._onednn_linear.cache_clear()
torch.set_default_dtype(torch.float32)
torch.set_default_device("cpu")
assert (with_defaults is None) == (products._onednn_linear() is None)
"""


@pytest.mark.slow
def test_a_default_dtype_or_device_does_not_choose_the_library():
    subprocess.run([sys.executable, "-c", PROBE], check=True)
