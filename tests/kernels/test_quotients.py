"""Functions that the kernels write out, against those of NumPy."""

import numpy as np
import pytest

from msg.kernels import choice

quotients = choice.compiled("quotients")
if quotients is None:
    pytest.skip("no compiled kernels", allow_module_level=True)
numba = pytest.importorskip("numba")

NEAR = np.logspace(-300, -1, 1000)
WIDE = np.concatenate([NEAR, np.linspace(0.1, 30, 1001)])


def kernel(name):
    """A function that is a part of kernels, in a kernel of its own."""
    function = getattr(quotients, name)
    return numba.njit(lambda x: function(x))


def each(name, x):
    function = kernel(name)
    return np.array([function(number) for number in x])


def test_the_exponential_less_one():
    x = np.concatenate([-WIDE, [0.0], WIDE, np.linspace(-600, 600, 1201)])
    np.testing.assert_allclose(each("expm1", x), np.expm1(x), rtol=1e-15)


def test_the_logarithm_of_one_and_more():
    x = np.concatenate([WIDE, np.logspace(1, 300, 1001)])
    np.testing.assert_allclose(each("log1p", x), np.log1p(x), rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "plain", "far"),
    [
        ("tanhc", np.tanh, 40.0),
        ("arsinhc", np.arcsinh, 1e8),
        ("artanhc", np.arctanh, 0.9),
        ("tanc", np.tan, 1.5),
        ("arctanc", np.arctan, 1e6),
        ("coshc", np.sinh, 40.0),
        ("cosc", np.sin, 6.0),
    ],
)
def test_quotients_and_their_derivatives(name, plain, far):
    r = np.concatenate([np.linspace(far / 500, far, 500), np.logspace(-5, np.log10(far / 500), 200)])
    function = kernel(name)
    *rest, values, slopes = np.array([function(u) for u in r * r]).T
    np.testing.assert_allclose(values, plain(r) / r, rtol=1e-14)
    if rest:
        np.testing.assert_allclose(rest[0], {"coshc": np.cosh, "cosc": np.cos}[name](r), rtol=1e-14, atol=1e-15)
    # derivatives by differences that lose half of the digits
    u, step = r * r, 1e-4 * r * r
    ends = [np.array([function(v)[-2] for v in moved]) for moved in (u - step, u + step)]
    differences = (ends[1] - ends[0]) / (2 * step)
    good = u > 1e-2
    np.testing.assert_allclose(slopes[good], differences[good], rtol=2e-4, atol=1e-9)
    # near zero both ways meet
    below, above = (function(number)[-1] for number in (0.999e-3, 1.001e-3))
    assert abs(below - above) < 1e-5


def test_nothing_is_lost_where_there_is_no_number():
    for name in ("tanhc", "coshc", "arsinhc", "artanhc"):
        function = kernel(name)
        assert np.isnan(function(np.nan)[0])
        assert function(0.0)[-2] == 1.0
