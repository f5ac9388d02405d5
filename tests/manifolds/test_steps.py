"""The contract of every manifold: one entry in ``MANIFOLDS`` (tests/conftest.py) runs all of it."""

import math

import geoopt
import mpmath as mp
import pytest
import torch

from msg.manifolds import (
    ambient_dim,
    bound_length,
    distance,
    exp0,
    family,
    log0,
    max_radius,
    move,
    origin,
    parse_signature,
    squared_distance,
    transport0,
)
from msg.manifolds.lookup import PRODUCT
from msg.testing import assert_isometric, assert_on_manifold

pytestmark = pytest.mark.covering

mp.mp.dps = 50


def _vectors(rows: int, dim: int, dtype=torch.float64, length: float | None = None) -> torch.Tensor:
    v = torch.randn(rows, dim, dtype=torch.float64)
    if length is not None:
        v = v / v.norm(dim=-1, keepdim=True) * length
    return v.to(dtype)


def _factors(manifold, dim):
    """Factors of any manifold with the slices of points and vectors."""
    if isinstance(manifold, geoopt.ProductManifold):
        return [(factor, points, vectors) for factor, _, points, vectors in PRODUCT.factors(manifold)]
    return [(manifold, slice(None), slice(None))]


def _inside(manifold, z, slack):
    """Every factor of every point keeps its own bound."""
    for factor, part, _ in _factors(manifold, None):
        radius = log0(factor, z[..., part].detach().double()).norm(dim=-1)
        assert bool((radius <= max_radius(factor) * (1 + slack)).all()), (factor, radius.max())


# -------------------------------------------------------------------------------- shapes and definitions


def test_origin(space, dtype):
    manifold, dim = space
    z = origin(manifold, 4, dim, dtype)
    assert z.shape == (4, ambient_dim(manifold, dim))
    assert z.dtype == dtype
    assert_on_manifold(manifold, z)
    zero = torch.zeros(4, dim, dtype=dtype)
    torch.testing.assert_close(exp0(manifold, zero), z, rtol=0, atol=0)
    torch.testing.assert_close(log0(manifold, z), zero, rtol=0, atol=0)
    torch.testing.assert_close(move(manifold, z, zero), z, rtol=0, atol=0)
    assert distance(manifold, z, z).tolist() == [0.0] * 4


def test_log0_undoes_exp0(space, dtype):
    manifold, dim = space
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for length in (1e-12, 1e-6, 0.01, 1.0, 2.5):
        v = _vectors(8, dim, dtype, length)
        z = exp0(manifold, v)
        assert z.dtype == dtype
        back = log0(manifold, z)
        assert back.dtype == dtype
        torch.testing.assert_close(back, v, rtol=tolerance, atol=tolerance * length)
        expected = v.norm(dim=-1)
        torch.testing.assert_close(
            distance(manifold, origin(manifold, 8, dim, dtype), z), expected, rtol=tolerance, atol=tolerance * length
        )


def test_move_from_the_origin_is_exp0(space, dtype):
    manifold, dim = space
    v = _vectors(8, dim, dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    z = origin(manifold, 8, dim, dtype)
    torch.testing.assert_close(move(manifold, z, v), exp0(manifold, v), rtol=tolerance, atol=tolerance)


def test_steps_are_isometric(space, dtype):
    manifold, dim = space
    z = exp0(manifold, _vectors(64, dim, dtype, 1.5))
    for length in (1e-3, 1.0):
        assert_isometric(manifold, z, _vectors(64, dim, dtype, length))
    assert_isometric(manifold, z, torch.zeros(64, dim, dtype=dtype))


def test_distance_is_a_metric(space):
    manifold, dim = space
    x, y, z = (exp0(manifold, _vectors(32, dim, length=1.2)) for _ in range(3))
    assert bool((distance(manifold, x, x) == 0).all())
    torch.testing.assert_close(distance(manifold, x, y), distance(manifold, y, x), rtol=1e-12, atol=1e-14)
    assert bool((distance(manifold, x, z) <= distance(manifold, x, y) + distance(manifold, y, z) + 1e-12).all())
    assert distance(manifold, x[:, None], y).shape == (32, 32)
    torch.testing.assert_close(distance(manifold, x[:, None], y).diagonal(), distance(manifold, x, y))


def test_leading_dimensions_broadcast(space):
    manifold, dim = space
    v = _vectors(6, dim)
    z = exp0(manifold, _vectors(6, dim))
    folded = move(manifold, z.view(2, 3, -1), v.view(2, 3, -1))
    torch.testing.assert_close(folded.view(6, -1), move(manifold, z, v))
    torch.testing.assert_close(move(manifold, z, v[:1]), move(manifold, z, v[:1].expand_as(v)))
    torch.testing.assert_close(move(manifold, z[:1], v), move(manifold, z[:1].expand_as(z), v))
    torch.testing.assert_close(transport0(manifold, z[:1], v), transport0(manifold, z[:1].expand_as(z), v))


def test_no_points_at_all(space, dtype):
    manifold, dim = space
    v = torch.zeros(0, dim, dtype=dtype)
    z = exp0(manifold, v)
    assert z.shape == (0, ambient_dim(manifold, dim))
    assert move(manifold, z, v).shape == z.shape
    assert log0(manifold, z).shape == v.shape
    assert distance(manifold, z, z).shape == (0,)


def test_move_is_geoopts_expmap_after_transport(space):
    manifold, dim = space
    z = exp0(manifold, _vectors(16, dim, length=0.8))
    v = _vectors(16, dim, length=0.7)
    carried = transport0(manifold, z, v)
    moved = move(manifold, z, v)
    for factor, point, tangent in _factors(manifold, dim):
        expected = factor.expmap(z[:, point], carried[:, point])
        torch.testing.assert_close(moved[:, point], expected, rtol=1e-6, atol=1e-6)
        exact = getattr(factor, "k", torch.zeros((), dtype=torch.float64)).dtype == torch.float64
        if exact:  # geoopt computes with its float32 curvature as it is
            torch.testing.assert_close(moved[:, point], expected, rtol=1e-10, atol=1e-10)
        if isinstance(factor, geoopt.Lorentz):
            padded = torch.nn.functional.pad(v[:, tangent], (1, 0))
            torch.testing.assert_close(carried[:, point], factor.transp0(z[:, point], padded), rtol=1e-6, atol=1e-6)
        if isinstance(factor, geoopt.Stereographic):  # its frame at the origin has length two in the metric
            chart = factor.transp0(z[:, point], v[:, tangent] / 2)
            torch.testing.assert_close(carried[:, point], chart, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(
                exp0(factor, v[:, tangent]), factor.expmap0(v[:, tangent] / 2), rtol=1e-6, atol=1e-6
            )


def test_distance_is_geoopts_where_it_is_right(space):
    manifold, dim = space
    x, y = exp0(manifold, _vectors(16, dim, length=0.8)), exp0(manifold, _vectors(16, dim, length=0.7))
    squares = 0
    for factor, point, _ in _factors(manifold, dim):
        if isinstance(factor, geoopt.Euclidean):
            part = (x[:, point] - y[:, point]).norm(dim=-1)
        else:
            part = factor.dist(x[:, point], y[:, point])
        torch.testing.assert_close(distance(factor, x[:, point], y[:, point]), part.double(), rtol=1e-5, atol=1e-6)
        squares = squares + part.double() ** 2
    torch.testing.assert_close(distance(manifold, x, y), squares.sqrt(), rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------------------- gradients


def _check(function, *inputs):
    inputs = tuple(t.detach().clone().requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("length", [0.0, 0.0316, 1.4])
def test_gradients_equal_finite_differences(space, length):
    manifold, dim = space
    v = _vectors(2, dim, length=length) if length else torch.zeros(2, dim, dtype=torch.float64)
    z = exp0(manifold, _vectors(2, dim, length=0.6))
    o = origin(manifold, 2, dim)
    _check(lambda v: exp0(manifold, v), v)
    _check(lambda z: log0(manifold, z), exp0(manifold, v))
    for at in (z, o):
        _check(lambda z, v: transport0(manifold, z, v), at, v)
        _check(lambda z, v: move(manifold, z, v), at, v)
    if (
        length > 0.01
    ):  # at distance zero the gradient is zero by definition, tested below; near it differences are useless
        _check(lambda x, y: distance(manifold, x, y), z, move(manifold, z, v).detach())


def test_gradient_of_exp0_and_log0_at_zero_is_the_identity(space, dtype):
    manifold, dim = space
    zero = torch.zeros(dim, dtype=dtype)
    jacobian = torch.autograd.functional.jacobian(lambda v: log0(manifold, exp0(manifold, v)), zero)
    torch.testing.assert_close(jacobian, torch.eye(dim, dtype=dtype), rtol=1e-6, atol=1e-12)
    o = origin(manifold, 1, dim, dtype)[0]
    differential = torch.autograd.functional.jacobian(lambda v: exp0(manifold, v), zero)
    # an isometric embedding of R^d: on each factor a multiple of the identity, padded by the axis of the origin
    for factor, point, tangent in _factors(manifold, dim):
        block = differential[point, tangent]
        pulled = torch.stack(
            [
                factor_metric(factor, o[point], block[:, i], block[:, j])
                for i in range(block.size(1))
                for j in range(block.size(1))
            ]
        )
        torch.testing.assert_close(
            pulled.view(block.size(1), -1), torch.eye(block.size(1), dtype=dtype), rtol=1e-6, atol=1e-6
        )


def factor_metric(manifold, z, u, v):
    if isinstance(manifold, geoopt.Euclidean):
        return (u * v).sum()
    return manifold.inner(z, u, v, keepdim=True).to(z.dtype).reshape(())


def test_distance_of_coinciding_points_has_zero_gradient(space, dtype):
    manifold, dim = space
    z = torch.cat([origin(manifold, 1, dim, dtype), exp0(manifold, _vectors(3, dim, dtype))])
    x, y = z.clone().requires_grad_(), z.clone().requires_grad_()
    for grad in torch.autograd.grad(distance(manifold, x, y).sum(), (x, y)):
        assert bool((grad == 0).all())


def _hyperboloid_forms(z, v):
    """Closed forms of methods.md section 1: D_v of exp at the transported vector, and the transport as a matrix."""
    d = v.numel()
    minkowski = torch.eye(d + 1, dtype=torch.float64)
    minkowski[0, 0] = -1
    o = torch.zeros(d + 1, dtype=torch.float64)
    o[0] = 1
    transport = torch.eye(d + 1, dtype=torch.float64) + torch.outer(o + z, minkowski @ z) / (1 + z[0])
    u = transport[:, 1:] @ v
    n, lowered = v.norm(), minkowski @ u
    slope = (n * n.cosh() - n.sinh()) / n**3
    jacobian = slope * torch.outer(u, lowered)
    jacobian += n.sinh() / n * (torch.eye(d + 1, dtype=torch.float64) + torch.outer(z, lowered))
    d_transport = (
        torch.outer(o + z, minkowski[:, 1:] @ v) / (1 + z[0])
        - ((minkowski @ z)[1:] @ v) / (1 + z[0]) ** 2 * torch.outer(o + z, o)
        + ((minkowski @ z)[1:] @ v) / (1 + z[0]) * torch.eye(d + 1, dtype=torch.float64)
    )
    return jacobian, transport[:, 1:], d_transport, n.cosh()


def _sphere_forms(z, v):
    d = v.numel()
    o = torch.zeros(d + 1, dtype=torch.float64)
    o[0] = 1
    identity = torch.eye(d + 1, dtype=torch.float64)
    transport = identity - torch.outer(o + z, z) / (1 + z[0])
    u = transport[:, 1:] @ v
    n = v.norm()
    jacobian = (n * n.cos() - n.sin()) / n**3 * torch.outer(u, u) + n.sin() / n * (identity - torch.outer(z, u))
    flat = torch.cat([torch.zeros(1, dtype=torch.float64), v])
    inner = z @ flat
    d_transport = (
        -torch.outer(o + z, flat) / (1 + z[0])
        + inner / (1 + z[0]) ** 2 * torch.outer(o + z, o)
        - inner / (1 + z[0]) * identity
    )
    return jacobian, transport[:, 1:], d_transport, n.cos()


@pytest.mark.parametrize(("signature", "forms"), [("H4", _hyperboloid_forms), ("S4", _sphere_forms)])
@pytest.mark.parametrize("length", [0.01, 0.5, 1.3])
def test_gradients_equal_the_published_closed_forms(signature, forms, length):
    manifold, dim = parse_signature(signature)
    z, v = exp0(manifold, _vectors(1, dim, length=1.1))[0], _vectors(1, dim, length=length)[0]
    by_exp, by_transport, of_transport, cosine = forms(z, v)
    d_z, d_v = torch.autograd.functional.jacobian(lambda z, v: move(manifold, z, v), (z, v))
    torch.testing.assert_close(d_v, by_exp @ by_transport, rtol=1e-8, atol=1e-8)
    # the differential in z is compared along the manifold, where alone it has a meaning
    basis = torch.stack([transport0(manifold, z, e) for e in torch.eye(dim, dtype=torch.float64)], dim=-1)
    expected = (cosine * torch.eye(dim + 1, dtype=torch.float64) + by_exp @ of_transport) @ basis
    torch.testing.assert_close(d_z @ basis, expected, rtol=1e-8, atol=1e-8)


CURVED = {
    **{f"Stereographic({k})": (geoopt.Stereographic, k) for k in (-0.8, -1e-4, 0.0, 1e-4, 0.8)},
    "Lorentz(2)": (geoopt.Lorentz, 2.0),
    "Lorentz(0.5)": (geoopt.Lorentz, 0.5),
}


@pytest.mark.parametrize("name", CURVED)
def test_gradient_in_the_curvature(name):
    kind, value = CURVED[name]
    dim, steps = 3, [_vectors(4, 3, length=s) for s in (0.5, 0.9, 0.3)]
    weights = torch.randn(5, 4, dtype=torch.float64)

    def losses(k: float):
        manifold = kind(k=torch.tensor(k, dtype=torch.float64), learnable=True)
        z = origin(manifold, 4, dim)
        for v in steps[:2]:
            z = move(manifold, z, v)
        other = exp0(manifold, steps[2])
        parts = [
            distance(manifold, z, other),
            log0(manifold, z).sum(-1),
            transport0(manifold, z, steps[2]).sum(-1),
            other.sum(-1),
            z.sum(-1),
        ]
        return manifold, torch.stack([(part * w).sum() for part, w in zip(parts, weights)])

    manifold, loss = losses(value)
    (parameter,) = manifold.parameters()
    raw = float(parameter.detach())
    exact = [torch.autograd.grad(part, parameter, retain_graph=True)[0].item() for part in loss]
    h = 1e-5
    # PoincareBall and others reparametrise; Lorentz and Stereographic hold k itself
    assert raw == pytest.approx(value, abs=1e-12)
    numeric = (losses(value + h)[1] - losses(value - h)[1]) / (2 * h)
    torch.testing.assert_close(torch.tensor(exact, dtype=torch.float64), numeric.detach(), rtol=1e-6, atol=1e-8)


def test_learnable_curvature_passes_through_zero_smoothly():
    v, values = _vectors(4, 3, length=1.0), []
    for k in (-1e-9, 0.0, 1e-9):
        manifold = geoopt.Stereographic(k=torch.tensor(k, dtype=torch.float64), learnable=True)
        z = move(manifold, exp0(manifold, v), v.flip(0))
        values.append(torch.autograd.grad(z.sum(), manifold.k)[0])
    torch.testing.assert_close(values[0], values[1], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(values[2], values[1], rtol=1e-7, atol=1e-9)
    assert values[1].abs() > 1e-3


# -------------------------------------------------------------------------------- robustness


@pytest.mark.parametrize("length", [0.0, 1e-20, math.pi, 1e4, 1e8])
def test_far_and_zero_tangents(space, dtype, length):
    manifold, dim = space
    v = (_vectors(16, dim, length=length) if length else torch.zeros(16, dim)).to(dtype).requires_grad_()
    start = torch.cat([origin(manifold, 8, dim, dtype), exp0(manifold, _vectors(8, dim, dtype, 3.0))]).requires_grad_()
    for z in (exp0(manifold, v), move(manifold, start, v)):
        assert z.dtype == dtype
        assert_on_manifold(manifold, z)
        _inside(manifold, z, 1e-9 if dtype == torch.float64 else 1e-3)
        total = log0(manifold, z).sum() + distance(manifold, z, start).sum()
        grads = torch.autograd.grad(total, [v, start], allow_unused=True, retain_graph=True)
        assert all(g is None or bool(g.isfinite().all()) for g in grads)


@pytest.mark.parametrize(("straight", "size"), [(True, 1.0), (False, 1.0), (True, 3.0)])
def test_many_steps(space, dtype, straight, size):
    manifold, dim = space
    steps = [_vectors(16, dim, dtype, size) for _ in range(32)]
    if straight:
        steps = [steps[0]] * 32
    steps = [step.clone().requires_grad_() for step in steps]
    z = origin(manifold, 16, dim, dtype)
    for step in steps:
        z = move(manifold, z, step)
        assert_on_manifold(manifold, z)
        _inside(manifold, z, 1e-9 if dtype == torch.float64 else 1e-3)
    for grad in torch.autograd.grad(log0(manifold, z).sum(), steps, allow_unused=True):
        assert grad is None or bool(grad.isfinite().all())


def test_points_at_the_radius_bound(space, dtype):
    manifold, dim = space
    z = exp0(manifold, _vectors(16, dim, dtype, 1e3)).detach().requires_grad_()
    assert_on_manifold(manifold, z)
    v = _vectors(16, dim, dtype, 0.5).requires_grad_()
    moved = move(manifold, z, v)
    assert_on_manifold(manifold, moved)
    total = (
        distance(manifold, z, moved).sum()
        + distance(manifold, z, z.roll(1, 0)).sum()
        + log0(manifold, moved).sum()
        + transport0(manifold, z, v).sum()
    )
    assert total.isfinite()
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(total, [z, v]))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: parse_signature("E3")[0], math.inf),
        (lambda: parse_signature("H3")[0], 10.0),
        (lambda: geoopt.Lorentz(k=4.0), 20.0),
        (lambda: parse_signature("S3")[0], 0.9 * math.pi),
        (lambda: parse_signature("P3")[0], 10.0),
        (lambda: geoopt.PoincareBall(c=0.25), 20.0),
        (lambda: geoopt.Stereographic(k=0.0), math.inf),
        (lambda: geoopt.Stereographic(k=4.0), 0.45 * math.pi),
        (lambda: parse_signature("H2xP3")[0], math.sqrt(200.0)),
        (lambda: parse_signature("H2xS3")[0], math.hypot(10.0, 0.9 * math.pi)),
        (lambda: parse_signature("E1xS3")[0], math.inf),
    ],
)
def test_max_radius(make, expected):
    manifold = make()
    radius = max_radius(manifold)
    assert isinstance(radius, float)
    assert radius == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("make", [lambda: parse_signature("U3")[0], lambda: parse_signature("H2xU3")[0]])
def test_max_radius_of_a_learned_curvature_does_not_warn(make):
    torch.set_warn_always(True)  # torch warns once a process only
    try:
        assert max_radius(make()) == math.inf
    finally:
        torch.set_warn_always(False)


def test_exp0_and_move_stop_at_exactly_max_radius(space):
    manifold, dim = space
    for factor, _, _ in _factors(manifold, dim):
        bound = max_radius(factor)
        size = 3
        if bound > 1e3:  # flat, or so nearly that the test would be about something else
            continue
        spherical = isinstance(factor, geoopt.Sphere) or float(torch.as_tensor(getattr(factor, "k", -1.0)).detach()) > 0
        if isinstance(factor, geoopt.Lorentz):
            spherical = False
        beyond = bound * 1.05 if spherical else bound * 1.5
        v = _vectors(8, size, length=beyond)
        z = exp0(factor, v)
        torch.testing.assert_close(
            log0(factor, z).norm(dim=-1), torch.full((8,), bound, dtype=torch.float64), rtol=1e-7, atol=0
        )
        # pulled back along its own geodesic: the direction stays
        torch.testing.assert_close(log0(factor, z) / bound, v / beyond, rtol=1e-6, atol=1e-7)
        halfway = exp0(factor, v / 2)
        torch.testing.assert_close(move(factor, halfway, v / 2), z, rtol=1e-6, atol=1e-6)
        # below the bound nothing is touched
        within = exp0(factor, v / beyond * bound * (1 - 1e-6))
        torch.testing.assert_close(
            log0(factor, within).norm(dim=-1),
            torch.full((8,), bound * (1 - 1e-6), dtype=torch.float64),
            rtol=1e-8,
            atol=0,
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda: geoopt.PoincareBall(c=torch.tensor(1.0, dtype=torch.float64)),
        lambda: geoopt.Stereographic(k=torch.tensor(-0.3, dtype=torch.float64)),
        lambda: parse_signature("H3")[0],
    ],
)
def test_the_hyperbolic_bound_itself_is_accurate(make):
    manifold = make()
    z = exp0(manifold, _vectors(8, 3, length=1e3))
    torch.testing.assert_close(
        log0(manifold, z).norm(dim=-1), torch.full((8,), max_radius(manifold), dtype=torch.float64), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("scale", [1e-7, 0.3, 1.2])
def test_squared_distance_is_the_square_of_the_distance(space, scale):
    manifold, dim = space
    z = exp0(manifold, 0.5 * torch.randn(16, dim, dtype=torch.float64))
    other = move(manifold, z, scale * torch.randn(16, dim, dtype=torch.float64))
    torch.testing.assert_close(
        squared_distance(manifold, z, other), distance(manifold, z, other) ** 2, rtol=1e-8, atol=1e-20
    )


def test_squared_distance_of_coinciding_points_has_the_hessian_of_flat_space(space):
    manifold, dim = space
    z = exp0(manifold, 0.5 * torch.randn(1, dim, dtype=torch.float64)).detach()

    def half(v):
        return squared_distance(manifold, move(manifold, z, v), z).sum() / 2

    zero = torch.zeros(1, dim, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(half, zero).view(dim, dim)
    torch.testing.assert_close(hessian, torch.eye(dim, dtype=torch.float64), rtol=1e-9, atol=1e-9)


# -------------------------------------------------------------------------------- distances, to the digit


def _exact(manifold, x, y):
    """Distance of the two represented points, read as the nearest points of the manifold, at 50 digits."""
    x, y = [mp.mpf(t) for t in x.double().tolist()], [mp.mpf(t) for t in y.double().tolist()]
    dot = lambda a, b: mp.fsum(s * t for s, t in zip(a, b))  # noqa: E731
    if isinstance(manifold, geoopt.Lorentz):
        k = mp.mpf(float(manifold.k.detach()))
        a, b = x[1:], y[1:]
        product = mp.sqrt(k + dot(a, a)) * mp.sqrt(k + dot(b, b)) - dot(a, b)
        return mp.sqrt(k) * mp.acosh(product / k)
    if isinstance(manifold, geoopt.Sphere):
        nx, ny = mp.sqrt(dot(x, x)), mp.sqrt(dot(y, y))
        return mp.acos(dot(x, y) / nx / ny)
    k = mp.mpf(float(manifold.k.detach()))
    difference = dot([s - t for s, t in zip(x, y)], [s - t for s, t in zip(x, y)])
    moebius = mp.sqrt(difference / (1 + 2 * k * dot(x, y) + k**2 * dot(x, x) * dot(y, y)))
    if k == 0:
        return 2 * moebius
    return 2 * (mp.atan(mp.sqrt(k) * moebius) if k > 0 else mp.atanh(mp.sqrt(-k) * moebius)) / mp.sqrt(abs(k))


CURVED_SPACES = {
    "H3": lambda: parse_signature("H3")[0],
    "S3": lambda: parse_signature("S3")[0],
    "P3": lambda: parse_signature("P3")[0],
    "U3": lambda: parse_signature("U3")[0],
    "U3+": lambda: geoopt.Stereographic(k=0.7),
    "Lorentz(k=2)": lambda: geoopt.Lorentz(k=2.0),
    "PoincareBall(c=0.5)": lambda: geoopt.PoincareBall(c=0.5),
}


@pytest.mark.parametrize("name", CURVED_SPACES)
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_distance_to_four_digits_everywhere(name, fraction, dtype):
    manifold = CURVED_SPACES[name]()
    radius = fraction * min(max_radius(manifold), 20.0)
    direction = _vectors(6, 3, length=1.0)
    z = exp0(manifold, direction * radius).to(dtype)
    separations = [1e-2, 1.0, 5.0] if dtype == torch.float32 else [1e-6, 1e-3, 1.0, 5.0]
    for separation in separations:
        for step in (direction, -direction, _vectors(6, 3, length=1.0)):
            other = move(manifold, z, (separation * step).to(dtype))
            got = distance(manifold, z, other).detach().double()
            for row in range(6):
                want = float(_exact(manifold, z[row], other[row]))
                if want < 1e-9:  # both were pulled back to one and the same point of the bound
                    continue
                assert float(got[row]) == pytest.approx(want, rel=1e-4), (name, radius, separation)
    across = exp0(manifold, -direction * radius).to(dtype)
    if radius:
        for row, got in enumerate(distance(manifold, z, across).detach().tolist()):
            assert got == pytest.approx(float(_exact(manifold, z[row], across[row])), rel=1e-4)


# --------------------------------------------------------------------------------- two models of one space agree

MODELS = {
    "hyperboloid and ball": (lambda: parse_signature("H3")[0], lambda: parse_signature("P3")[0], 1.0),
    "hyperboloid and ball, R^2=2": (
        lambda: geoopt.Lorentz(k=2.0),
        lambda: geoopt.PoincareBall(c=torch.tensor(0.5, dtype=torch.float64)),
        math.sqrt(2.0),
    ),
    "sphere and its projection": (
        lambda: parse_signature("S3")[0],
        lambda: geoopt.Stereographic(k=torch.tensor(1.0, dtype=torch.float64)),
        1.0,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_isometric_models_agree(name):
    make_embedded, make_chart, scale = MODELS[name]
    embedded, chart = make_embedded(), make_chart()

    def project(z):
        return scale * z[:, 1:] / (scale + z[:, :1])

    steps = [_vectors(16, 3, length=s).requires_grad_() for s in (0.6, 0.9, 0.3, 1.0)]
    z, x = origin(embedded, 16, 3), origin(chart, 16, 3)
    for step in steps:
        z, x = move(embedded, z, step), move(chart, x, step)
        torch.testing.assert_close(project(z), x, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(log0(embedded, z), log0(chart, x), rtol=1e-8, atol=1e-9)
    first, second = exp0(embedded, steps[0]), exp0(chart, steps[0])
    torch.testing.assert_close(distance(embedded, z, first), distance(chart, x, second), rtol=1e-8, atol=1e-9)
    weights = torch.randn(16, 3, dtype=torch.float64)
    grads = [
        torch.autograd.grad((log0(m, p) * weights).sum() + distance(m, p, q).sum(), steps)
        for m, p, q in ((embedded, z, first), (chart, x, second))
    ]
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


def test_product_is_its_factors_side_by_side():
    manifold, dim = parse_signature("H2xS3xE1")
    v, w = _vectors(5, dim), _vectors(5, dim)
    z = exp0(manifold, v)
    moved = move(manifold, z, w)
    squares = torch.zeros(5, dtype=torch.float64)
    for factor, _, point, tangent in PRODUCT.factors(manifold):
        own = exp0(factor, v[:, tangent])
        torch.testing.assert_close(z[:, point], own)
        torch.testing.assert_close(moved[:, point], move(factor, own, w[:, tangent]))
        torch.testing.assert_close(log0(manifold, z)[:, tangent], log0(factor, own))
        squares += distance(factor, own, moved[:, point]) ** 2
    torch.testing.assert_close(distance(manifold, z, moved), squares.sqrt())


# -------------------------------------------------------------------------------- errors


def test_sizes_that_do_not_fit_are_refused(space):
    manifold, dim = space
    z, v = origin(manifold, 2, dim), torch.zeros(2, dim, dtype=torch.float64)
    for function in (move, transport0):
        with pytest.raises(ValueError, match="size"):
            function(manifold, z, v[:, :-1] if dim > 1 else torch.zeros(2, 2))
        with pytest.raises(ValueError, match="size"):
            function(manifold, torch.cat([z, z], dim=-1), v)
    for function in (distance, squared_distance):
        with pytest.raises(ValueError, match="size"):
            function(manifold, z, torch.cat([z, z], dim=-1))
    if isinstance(manifold, geoopt.ProductManifold):
        with pytest.raises(ValueError, match="size"):
            exp0(manifold, torch.zeros(2, dim + 1))
        with pytest.raises(ValueError, match="size"):
            log0(manifold, torch.zeros(2, dim))
        with pytest.raises(ValueError, match="size"):
            distance(manifold, z, z[:, :-1])
        with pytest.raises(ValueError, match="size"):
            origin(manifold, 2, dim + 1)


def test_what_is_no_number_is_at_no_distance(space, dtype):
    manifold, dim = space
    x, y = exp0(manifold, 0.5 * torch.randn(3, dim, dtype=dtype)), origin(manifold, 3, dim, dtype)
    x[1] = torch.nan
    for function in (distance, squared_distance):
        assert function(manifold, x, y).isnan().tolist() == [False, True, False]
        assert function(manifold, y, x).isnan().tolist() == [False, True, False]


def test_points_of_one_dimension_are_not_broadcast():
    manifold, _ = parse_signature("H1")
    with pytest.raises(ValueError, match=r"the other point of size 4 does not fit .* needs size 2"):
        distance(manifold, origin(manifold, 5, 1), origin(manifold, 5, 3))
    matrices = geoopt.SymmetricPositiveDefinite()
    with pytest.raises(ValueError, match=r"a point of size 8 does not fit .* needs size 4"):
        log0(matrices, torch.ones(2, 8))


def test_unsupported_manifolds_are_refused():
    for function in (exp0, log0):
        with pytest.raises(TypeError, match="Stiefel"):
            function(geoopt.Stiefel(), torch.zeros(2, 3))
    with pytest.raises(TypeError, match="Stiefel"):
        family(geoopt.Stiefel())


# -------------------------------------------------------------------------------- bound_length


@pytest.mark.parametrize("bound", [0.5, 1.0, 3.0])
def test_bound_length(dtype, bound):
    lengths = torch.tensor([0.0, 1e-6, 1e-2, 0.5, 1.0, 10.0, 1e4, 1e8], dtype=torch.float64)
    v = (_vectors(8, 5, length=1.0) * lengths[:, None]).to(dtype)
    bounded = bound_length(v, bound)
    assert bounded.dtype == torch.float64
    expected = bound * (v.double().norm(dim=-1) / bound).tanh()
    torch.testing.assert_close(bounded.norm(dim=-1), expected, rtol=1e-12, atol=0)
    assert bool((bounded.norm(dim=-1) <= bound * (1 + 1e-15)).all())
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(bounded[1:], v[1:].double()), torch.ones(7, dtype=torch.float64)
    )


def test_bound_length_gradient():
    v = torch.stack([torch.zeros(4, dtype=torch.float64), *_vectors(3, 4), _vectors(1, 4, length=0.03)[0]])
    assert torch.autograd.gradcheck(bound_length, v.requires_grad_(), atol=1e-7)
    far = _vectors(3, 4, length=1e8).requires_grad_()
    assert torch.autograd.grad(bound_length(far).sum(), far)[0].isfinite().all()
