"""A manifold known by geoopt's interface alone, against the same space with its own formulas."""

import geoopt
import pytest
import torch

from msg.energy import count
from msg.manifolds import (
    GeooptFamily,
    distance,
    exp0,
    frechet_mean,
    log0,
    move,
    register_family,
    squared_distance,
    transport0,
)
from msg.names import MANIFOLDS
from msg.nn import MSG, ManifoldPooling
from msg.testing import assert_isometric


class Ball(geoopt.Manifold):
    """The Poincaré ball, as somebody would write it without subclassing geoopt's."""

    name, ndim, reversible = "Ball", 1, False

    def __init__(self):
        super().__init__()
        self.ball = geoopt.PoincareBall(c=torch.tensor(1.0, dtype=torch.float64))

    def _check_point_on_manifold(self, x, *, atol=1e-5, rtol=1e-5):
        return self.ball._check_point_on_manifold(x, atol=atol, rtol=rtol)

    def _check_vector_on_tangent(self, x, u, *, atol=1e-5, rtol=1e-5):
        return True, None

    def projx(self, x):
        return self.ball.projx(x)

    def proju(self, x, u):
        return u

    def egrad2rgrad(self, x, u):
        return self.ball.egrad2rgrad(x, u)

    def inner(self, x, u, v=None, *, keepdim=False):
        return self.ball.inner(x, u, v, keepdim=keepdim)

    def retr(self, x, u):
        return self.ball.retr(x, u)

    def expmap(self, x, u):
        return self.ball.expmap(x, u)

    def logmap(self, x, y):
        return self.ball.logmap(x, y)

    def transp(self, x, y, v):
        return self.ball.transp(x, y, v)

    def dist(self, x, y, *, keepdim=False):
        return self.ball.dist(x, y, keepdim=keepdim)

    def origin(self, *size, dtype=None, device=None, seed=42):
        return self.ball.origin(*size, dtype=dtype, device=device)


class Projecting(Ball):
    """Its transport is none."""

    def transp(self, x, y, v):
        return v


class Sheet(geoopt.Sphere):
    """A subclass, so that a family of its own goes before the sphere's."""


@pytest.fixture
def ball():
    register_family("K", GeooptFamily("slow ball", Ball, Ball, kappa=-1.0, bound=3.0))
    yield Ball()
    MANIFOLDS.remove("K")


def test_the_slow_path_is_the_ball(ball):
    known = ball.ball
    v, w = 0.5 * torch.randn(2, 7, 3, dtype=torch.float64)
    z = exp0(ball, v)
    torch.testing.assert_close(z, exp0(known, v))
    torch.testing.assert_close(log0(ball, z), v)
    torch.testing.assert_close(transport0(ball, z, w), transport0(known, z, w))
    torch.testing.assert_close(move(ball, z, w), move(known, z, w))
    torch.testing.assert_close(distance(ball, z, z.roll(1, 0)), distance(known, z, z.roll(1, 0)))
    assert_isometric(ball, z, w)
    # beyond the bound points are pulled back
    far = exp0(ball, 9 * torch.nn.functional.normalize(v))
    torch.testing.assert_close(distance(known, far, torch.zeros_like(far)), 3 * torch.ones(7, dtype=torch.float64))
    back = distance(known, move(ball, far, 5 * w), torch.zeros_like(far))
    assert back.max() < 3 + 1e-6


def test_gradients_are_numbers_where_nodes_are_silent_and_points_coincide(ball):
    z = exp0(ball, torch.randn(4, 2, dtype=torch.float64)).requires_grad_()
    for function in (distance, squared_distance):
        assert torch.autograd.grad(function(ball, z, z).sum(), z)[0].tolist() == [[0, 0]] * 4
    model = MSG(5, 3, manifold="K4")
    edges = torch.tensor([[0, 1], [1, 0]])
    model(torch.zeros(2, 5), edges).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    with count(model) as ops:
        model(torch.rand(2, 5), edges)
    assert ops.total()["geoopt_map"] > 0


def test_pooling_falls_back_on_the_solver(ball):
    z = exp0(ball, 0.4 * torch.randn(5, 2, dtype=torch.float64))
    batch = torch.tensor([1, 0, 1, 1, 0])
    want = ManifoldPooling(geoopt.PoincareBall(), "frechet")(z, batch)
    torch.testing.assert_close(ManifoldPooling(ball)(z, batch), want, rtol=0, atol=1e-5)  # as far as it is solved


def test_an_embedded_manifold_has_a_frame_with_fewer_vectors_than_coordinates():
    class Isometric(Sheet):
        def transp(self, x, y, v):
            # along the geodesic, where geoopt's sphere projects
            return v - (y * v).sum(-1, keepdim=True) / (1 + (x * y).sum(-1, keepdim=True)) * (x + y)

        def origin(self, *size, dtype=None, device=None, seed=42):
            return torch.nn.functional.one_hot(torch.tensor(0), size[-1]).to(dtype)

    register_family("Q", GeooptFamily("slow sphere", Isometric, Isometric, extra=1, kappa=1.0, bound=2.8))
    try:
        v, w = 0.4 * torch.randn(2, 6, 3, dtype=torch.float64)
        own, known = Isometric(), geoopt.Sphere()
        z = exp0(known, v)
        torch.testing.assert_close(exp0(own, v), z)
        torch.testing.assert_close(log0(own, z), v)
        torch.testing.assert_close(move(own, z, w), move(known, z, w))
    finally:
        MANIFOLDS.remove("Q")


def test_what_does_not_fit_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"Projecting.*transp changes lengths"):
        GeooptFamily("x", Projecting, Projecting)
    with pytest.raises(ValueError, match=r"Sheet.*transp changes lengths"):
        GeooptFamily("x", Sheet, Sheet, extra=1)
    spd = geoopt.SymmetricPositiveDefinite
    with pytest.raises(TypeError, match=r"a point of SymmetricPositiveDefinite is a matrix.*differentiable at the"):
        GeooptFamily("x", spd, spd)
    with pytest.raises(ValueError, match="no 2 dimensions in 1 coordinates"):
        GeooptFamily("x", Ball, Ball, extra=-1)


def test_geoopts_logarithm_of_matrices_has_no_gradient_at_the_identity():
    """Why matrices are refused: a network begins there."""
    identity = torch.eye(2, dtype=torch.float64, requires_grad=True)
    geoopt.SymmetricPositiveDefinite().logmap(torch.eye(2, dtype=torch.float64), identity).sum().backward()
    assert identity.grad.isnan().any()


def test_means_settle_as_on_the_ball(ball):
    """What the slow path tells apart is coarser than rounding."""
    known = ball.ball
    points = exp0(known, 0.3 * torch.randn(20, 3, dtype=torch.float64))
    torch.testing.assert_close(frechet_mean(ball, points), frechet_mean(known, points), rtol=0, atol=1e-5)
    product = geoopt.ProductManifold((ball, 3), (known, 3))
    both = frechet_mean(product, torch.cat([points, points], dim=-1))
    torch.testing.assert_close(both[:3], both[3:], rtol=0, atol=1e-5)
