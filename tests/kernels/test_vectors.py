"""Functions of vectors against NumPy's, in more digits."""

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from msg.kernels.vectors import LANES, exponential, load, store

pytestmark = pytest.mark.usefixtures("compiled")


@numba.njit
def exponentials(x, out):
    for k in range(0, x.size, LANES):
        store(exponential(load(x, k)), out, k)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 87), (np.float64, 708)])
def test_exponential(dtype, bound):
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-b, b, 100 * LANES) for b in (1e-6, 1, bound)]).astype(dtype)
    out = np.empty_like(x)
    exponentials(x, out)
    want = np.exp(x.astype(np.float64))  # of float64 itself to a digit, of float32 exactly
    assert np.max(np.abs(out - want) / want) < 2 * np.finfo(dtype).eps
    edges = np.zeros(LANES, dtype)
    edges[:5] = np.nan, -np.inf, np.inf, -bound, bound
    exponentials(edges, out)
    assert np.isnan(out[0])
    np.testing.assert_allclose(out[1:6], np.exp(dtype([-bound, bound, -bound, bound, 0])), rtol=1e-5)
