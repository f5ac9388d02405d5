import math

import geoopt
import pytest
import torch

from msg.manifolds import (
    curvature,
    distance,
    exp0,
    log0,
    max_radius,
    move,
    parse_signature,
    resolve,
    squared_distance,
    transport0,
)
from msg.manifolds.lookup import family
from msg.nn import MSG
from msg.testing import assert_isometric, assert_on_manifold


def test_a_sphere_of_radius_two():
    space = geoopt.Scaled(geoopt.Sphere(), 2.0)
    v = torch.tensor([[math.pi, 0.0], [0.0, 0.5]], dtype=torch.float64)
    z = exp0(space, v)
    expected = torch.tensor([[0.0, 1, 0], [math.cos(0.25), 0, math.sin(0.25)]], dtype=torch.float64)
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(log0(space, z), v)
    assert curvature(space) == 0.25
    assert max_radius(space) == pytest.approx(1.8 * math.pi)


@pytest.mark.parametrize("base", ["E3", "H3", "S3", "P3", "H2xS1"])
def test_steps_are_geoopts(base, dtype):
    manifold, dim = parse_signature(base)
    space = geoopt.Scaled(manifold, 1.5)
    z = exp0(space, torch.randn(6, dim, dtype=dtype))
    v = torch.randn(6, dim, dtype=dtype)
    moved = move(space, z, v)
    assert moved.dtype == dtype
    assert_on_manifold(space, moved)
    assert_isometric(space, z, v)
    torch.testing.assert_close(distance(space, z, moved), 1.5 * distance(manifold, z, moved))
    if dtype == torch.float64 and base != "H2xS1":  # geoopt scales no product
        own = space.dist(z, moved) if base != "E3" else 1.5 * (z - moved).norm(dim=-1)
        torch.testing.assert_close(distance(space, z, moved), own, rtol=1e-5, atol=1e-5)
    if dtype == torch.float64 and base not in ("E3", "H2xS1"):  # of which geoopt scales no map
        torch.testing.assert_close(moved, space.expmap(z, transport0(space, z, v)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("base", ["H3", "S3", "P3"])
def test_gradients_by_finite_differences(base):
    space = geoopt.Scaled(parse_signature(base)[0], 1.5, learnable=True)
    v, w = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda v, w: log0(space, move(space, exp0(space, v), w)), (v, w))
    assert torch.autograd.gradcheck(lambda v, w: squared_distance(space, exp0(space, v), exp0(space, w)), (v, w))
    zero = torch.zeros(3, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(lambda v: log0(space, exp0(space, v)), zero)
    torch.testing.assert_close(slope, torch.eye(3, dtype=torch.float64))


def test_a_scale_is_learned_in_a_model_and_scales_may_be_stacked():
    space = geoopt.Scaled(geoopt.Scaled(geoopt.Lorentz(), 2.0), 1.5, learnable=True)
    assert curvature(space) == pytest.approx(-1 / 9)
    model = MSG(4, 2, manifold=space, hidden_channels=3)
    model(torch.rand(5, 4), torch.tensor([[0, 1, 2], [1, 2, 0]])).sum().backward()
    assert model.path.manifold._log_scale.grad.abs() > 0
    product = geoopt.ProductManifold((geoopt.Scaled(geoopt.Sphere(), 3.0), 3), (geoopt.Euclidean(1), 2))
    assert resolve(product) == (product, 4)


def test_impossible_scales_are_refused():
    with pytest.raises(ValueError, match="must be a positive number, not -1"):
        exp0(geoopt.Scaled(geoopt.Sphere(), -1.0), torch.zeros(1, 2))
    with pytest.raises(TypeError, match="no steps are known for EuclideanStiefel"):
        exp0(geoopt.Scaled(geoopt.EuclideanStiefel(), 2.0), torch.zeros(1, 2))


@pytest.mark.parametrize("base", [geoopt.Lorentz(), geoopt.Euclidean(ndim=1), geoopt.Sphere()])
def test_operations_are_those_of_the_base(base):
    scaled = geoopt.Scaled(base, 2.0)
    for name in ("exp0_operations", "move_operations", "log0_operations"):
        assert getattr(family(scaled), name)(scaled, 8) == getattr(family(base), name)(base, 8)


@pytest.mark.parametrize("base", ["E3", "H3", "S3", "P3"])
def test_gradient_in_the_scale(base):
    space = geoopt.Scaled(parse_signature(base)[0], 1.5, learnable=True).double()
    v, w, z = (0.5 * torch.randn(4, 3, dtype=torch.float64) for _ in range(3))
    (learned,) = (p for p in space.parameters() if p.requires_grad)
    here, there = (exp0(parse_signature(base)[0], point) for point in (v, z))  # which stay where they are

    def parts():
        steps = move(space, here, w), exp0(space, v), log0(space, here)
        return torch.stack(
            [part.sum() for part in (*steps, *(d(space, here, there) for d in (distance, squared_distance)))]
        )

    found = torch.stack([torch.autograd.grad(part, learned, retain_graph=True)[0] for part in parts()])
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            learned += step
            ends.append(parts())
    torch.testing.assert_close(found, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)
