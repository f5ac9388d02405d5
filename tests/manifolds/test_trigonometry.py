"""Every function against mpmath at 40 digits, value and derivative, on both sides of every switch-over."""

import mpmath as mp
import pytest
import torch

from msg.manifolds import trigonometry as trig

mp.mp.dps = 40


def _even(positive, negative, at_zero=1):
    """Continue a function of sqrt(u) to negative u."""

    def function(u):
        u = mp.mpf(u)
        if u == 0:
            return mp.mpf(at_zero)
        return positive(mp.sqrt(u)) if u > 0 else negative(mp.sqrt(-u))

    return function


SWITCH = 1e-3
NEAR = [0.0, 1e-300, 1e-12, 1e-5, SWITCH * (1 - 1e-9), SWITCH, SWITCH * (1 + 1e-9), 0.01, 0.3]
BOTH = [*NEAR, *[-u for u in NEAR[1:]]]

# function, oracle, arguments; adding a function is one entry
CASES = {
    "cosine": (trig.cosine, _even(mp.cos, mp.cosh), [*BOTH, 2.0, 50.0, -50.0, -400.0]),
    "sinc": (trig.sinc, _even(lambda r: mp.sin(r) / r, lambda r: mp.sinh(r) / r), [*BOTH, 2.0, 50.0, -50.0, -400.0]),
    "tanc": (trig.tanc, _even(lambda r: mp.tan(r) / r, lambda r: mp.tanh(r) / r), [*BOTH, 2.0, 1.9, 3.0, -50.0, -4e4]),
    "arctanc": (
        trig.arctanc,
        _even(lambda r: mp.atan(r) / r, lambda r: mp.atanh(r) / r),
        [*BOTH, 2.0, 50.0, 1e8, -0.9, -0.999],
    ),
    "arcsinhc": (trig.arcsinhc, _even(lambda r: mp.asinh(r) / r, None), [*NEAR, 2.0, 50.0, 1e8]),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivative(name):
    function, oracle, arguments = CASES[name]
    u = torch.tensor(arguments, dtype=torch.float64, requires_grad=True)
    value = function(u)
    (slope,) = torch.autograd.grad(value.sum(), u)
    expected = torch.tensor([float(oracle(a)) for a in arguments], dtype=torch.float64)
    torch.testing.assert_close(value.detach(), expected, rtol=2e-14, atol=0)
    for a, got in zip(arguments, slope.tolist()):
        # at zero mpmath differentiates numerically as everywhere else: the functions are analytic there
        step = mp.mpf(10) ** -12 * max(1, abs(a))
        sides = (0, 1) if name == "arcsinhc" and a < 2e-12 else (-1, 1)
        points = [mp.mpf(a) + s * step for s in sides]
        want = float((oracle(points[1]) - oracle(points[0])) / (points[1] - points[0]))
        assert got == pytest.approx(want, rel=1e-10), (name, a)


@pytest.mark.parametrize("name", ["cosine", "sinc", "tanc", "arctanc"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_known_sign_changes_nothing(name, sign):
    function, _, arguments = CASES[name]
    at = [a for a in arguments if a * sign >= 0]
    u, v = (torch.tensor(at, dtype=torch.float64, requires_grad=True) for _ in range(2))
    one, two = function(u, sign=sign), function(v)
    assert torch.equal(one, two)
    assert torch.equal(torch.autograd.grad(one.sum(), u)[0], torch.autograd.grad(two.sum(), v)[0])


@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name):
    function, _, arguments = CASES[name]
    moderate = [a for a in arguments if 1e-4 < abs(a) < 3]
    u = torch.tensor(moderate, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, u, atol=1e-7, check_forward_ad=True)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 0.01, 0.031, 0.032, 1.0, 1.57, 1.58, 2.5, 0.9 * 3.14159265, 3.1, 3.1415])
def test_angle_over_sine_knows_the_hemisphere(angle):
    sine, cosine = mp.sin(mp.mpf(angle)), mp.cos(mp.mpf(angle))
    at = torch.tensor([float(sine), float(cosine)], dtype=torch.float64)
    got = trig.angle_over_sine(at[0], at[1])
    want = 1.0 if angle == 0 else float(mp.mpf(angle) / sine)
    # towards the antipode 1 + cos loses the digits that the cosine itself does not hold
    assert got.item() == pytest.approx(want, rel=1e-15 / (1 + float(cosine)) + 1e-14)


@pytest.mark.parametrize("away", [1e-30, 1e-12, 1e-8, 1e-3, 0.2, 0.2464, 0.2466, 0.3, 2.0])
def test_towards_the_half_turn_the_sine_holds_the_digits(away):
    sine, cosine = float(mp.sin(mp.mpf(away))), -float(mp.cos(mp.mpf(away)))
    at = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (sine, cosine)]
    # as a function of sine and cosine on the circle, where alone it has a meaning
    got = trig.one_plus_cosine(at[0] ** 2, at[1])
    assert got.item() == pytest.approx(float(1 - mp.cos(mp.mpf(away))), rel=1e-14)
    along = [-cosine, sine]  # derivative of the two by ``away``
    (d_sine, d_cosine) = torch.autograd.grad(got, at, allow_unused=True, materialize_grads=True)
    assert float(d_sine * along[0] + d_cosine * along[1]) == pytest.approx(sine, rel=1e-13)
    over = trig.angle_over_sine(at[0], at[1])
    assert over.item() == pytest.approx(float((mp.pi - mp.mpf(away)) / mp.sin(mp.mpf(away))), rel=1e-14)
    assert all(bool(g.isfinite()) for g in torch.autograd.grad(over, at))


def test_angle_over_sine_gradcheck():
    angle = torch.tensor([0.0, 1e-3, 1.0, 2.0, 2.8], dtype=torch.float64)
    at = (angle.sin().requires_grad_(), angle.cos().requires_grad_())
    assert torch.autograd.gradcheck(trig.angle_over_sine, at, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_second_derivative(name):
    function, _, arguments = CASES[name]
    moderate = [a for a in arguments if 1e-4 < abs(a) < 3 and abs(abs(a) - SWITCH) > 1e-5]
    u = torch.tensor(moderate, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(function, u, atol=1e-6)


def test_large_arguments_do_not_poison_the_gradient():
    u = torch.tensor([1e300, -1e300, 0.0], dtype=torch.float64, requires_grad=True)
    for function in (trig.tanc, trig.arctanc):
        (slope,) = torch.autograd.grad(function(u).sum(), u)
        assert slope.isfinite().all()
    # cosh(sqrt(1e300)) is rightly infinite, its neighbours in the batch are not
    v = torch.tensor([-1e300, -1.0, 0.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(trig.cosine(v)[1:].sum(), v)
    assert slope[1:].isfinite().all()


def test_norm_and_root_have_zero_gradient_at_zero(dtype):
    v = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    length = trig.norm(v)
    assert length.tolist() == [[0.0], [5.0]]
    (slope,) = torch.autograd.grad(length.sum(), v)
    torch.testing.assert_close(slope, torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=dtype))
    u = torch.tensor([0.0, 4.0, -1.0], dtype=dtype, requires_grad=True)
    assert trig.root(u).tolist() == [0.0, 2.0, 0.0]
    assert torch.autograd.grad(trig.root(u).sum(), u)[0].tolist() == [0.0, 0.25, 0.0]
    assert trig.root(torch.tensor([torch.nan, 1.0], dtype=dtype)).isnan().tolist() == [True, False]


def test_dot_and_squared_norm_keep_the_dimension():
    a, b = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    torch.testing.assert_close(trig.dot(a, b), (a * b).sum(-1, keepdim=True))
    torch.testing.assert_close(trig.squared_norm(a), (a * a).sum(-1, keepdim=True))
