import math

import geoopt
import pytest
import torch
from scipy.optimize import minimize
from torch.autograd import gradcheck
from torch.utils.checkpoint import checkpoint

from msg.manifolds import (
    centroid,
    distance,
    exp0,
    family,
    frechet_mean,
    log0,
    max_radius,
    parse_signature,
    register_family,
    squared_distance,
)
from msg.manifolds.switch import unbounded
from msg.names import MANIFOLDS


def cloud(signature, count=12, spread=0.6, dtype=torch.float64):
    manifold, dim = parse_signature(signature)
    return manifold, exp0(manifold, spread * torch.randn(count, dim, dtype=dtype))


@pytest.mark.parametrize("signature", ["E2", "H2", "S2", "P2", "L2", "H1xS1"])
def test_it_is_the_minimum_that_a_general_optimiser_finds(signature):
    manifold, points = cloud(signature)
    weights = torch.rand(len(points), dtype=torch.float64)

    def energy(v):
        with torch.no_grad():
            mean = exp0(manifold, torch.tensor(v)[None])
            return float((weights * squared_distance(manifold, mean, points)).sum())

    found = log0(manifold, frechet_mean(manifold, points, weights)).detach().numpy()
    best = minimize(energy, found + 0.1, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-13})
    assert found == pytest.approx(best.x, abs=1e-6)


@pytest.mark.parametrize("signature", ["E3", "H3", "S3", "P3", "U3", "H2xS2"])
def test_the_mean_of_two_points_is_half_way_in_every_form(signature, dtype):
    manifold, points = cloud(signature, 2, dtype=dtype)
    half = distance(manifold, points[:1], points[1:]) / 2
    tolerance = 1e-6 if dtype == torch.float64 else 1e-3
    exact = frechet_mean(manifold, points)
    closed = centroid(manifold, points, torch.ones(1, 2, dtype=torch.float64))[0]
    assert exact.dtype == dtype
    for mean in (exact, closed.to(dtype)):
        torch.testing.assert_close(distance(manifold, points, mean), half.expand(2), rtol=tolerance, atol=tolerance)


def test_groups_are_means_of_their_own():
    manifold, points = cloud("H2")
    index = torch.arange(12) % 3
    found = frechet_mean(manifold, points, index=index)
    for group in range(3):
        torch.testing.assert_close(found[group], frechet_mean(manifold, points[index == group]))
    scaled = frechet_mean(geoopt.Scaled(manifold, 3.0), points, index=index)
    torch.testing.assert_close(scaled, found)


def test_far_points_of_a_hyperbolic_space_do_not_make_it_jump():
    manifold = parse_signature("H2")[0]
    angles = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
    points = exp0(manifold, 9 * torch.stack([angles.cos(), angles.sin()], -1))
    torch.testing.assert_close(log0(manifold, frechet_mean(manifold, points)), torch.zeros(2, dtype=torch.float64))


def test_curvature_of_any_radius():
    space = geoopt.Lorentz(k=torch.tensor(4.0, dtype=torch.float64))
    points = exp0(space, torch.randn(2, 3, dtype=torch.float64))
    middle = centroid(space, points, torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(distance(space, points[:1], middle), distance(space, points[1:], middle))


def test_bad_arguments():
    manifold, points = cloud("H2", 4)
    with pytest.raises(ValueError, match="must not be negative"):
        frechet_mean(manifold, points, -torch.ones(4))
    with pytest.raises(ValueError, match="group 1 has no weight"):
        frechet_mean(manifold, points, index=torch.tensor([0, 0, 2, 2]))
    with pytest.raises(ValueError, match=r"shape \[4\]"):
        frechet_mean(manifold, points, torch.ones(3))
    with pytest.raises(ValueError, match=r"\[N, ambient_dim\]"):
        frechet_mean(manifold, points[0])
    with pytest.warns(UserWarning, match="not settled after 1 steps"):
        frechet_mean(manifold, points, torch.tensor([1.0, 2, 3, 4]), max_iter=1)


@pytest.mark.parametrize("signature", ["H8", "P8", "L8"])
def test_far_points_settle(signature):
    """Groups of points about 2.8 from the origin, where a step as long as the mean logarithm would overshoot."""
    manifold, _ = parse_signature(signature)
    points = exp0(manifold, torch.randn(200, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():  # a warning would be an error
        means = frechet_mean(manifold, points, index=torch.arange(200) // 10)
        for group in range(3):
            own = points[10 * group : 10 * group + 10]
            v = log0(manifold, means[group : group + 1])
            at = squared_distance(manifold, means[group : group + 1], own).sum()
            for direction in torch.eye(8, dtype=torch.float64):
                for step in (1e-3, -1e-3):
                    assert at < squared_distance(manifold, exp0(manifold, v + step * direction), own).sum()


@pytest.mark.parametrize("signature", ["H4", "S4", "L4", "P4", "H2xS2"])
def test_a_point_is_its_own_mean(signature):
    manifold, points = cloud(signature, 40, spread=1.5)
    with torch.no_grad():
        torch.testing.assert_close(frechet_mean(manifold, points, index=torch.arange(40)), points)
        same = frechet_mean(manifold, points[:1].expand(5, -1))
        torch.testing.assert_close(same, points[0])


@pytest.mark.parametrize("signature", ["S2", "P2", "U2", "H2", "L2"])
def test_a_mean_may_lie_beyond_the_radius_bound(signature):
    """The bound is for what steps of a model reach, and the same value is found whoever asks for a gradient."""
    manifold, _ = parse_signature(signature)
    if signature == "U2":
        manifold = geoopt.Stereographic(k=torch.tensor(0.5, dtype=torch.float64))
    vectors = torch.tensor([[1.0, 0.2], [1.05, 0.21], [1.1, 0.22]], dtype=torch.float64) * max_radius(manifold)
    with unbounded(), torch.no_grad():
        points = exp0(manifold, vectors)
        mean = frechet_mean(manifold, points)
        assert float(log0(manifold, mean).norm()) > max_radius(manifold)
        for one in points:
            torch.testing.assert_close(frechet_mean(manifold, one[None]), one)
    torch.testing.assert_close(frechet_mean(manifold, points.requires_grad_()).detach(), mean)


def test_means_on_a_sphere_commute_with_rotations():
    manifold, points = cloud("S2", spread=0.4)
    for axes in ([-1.0, -1, 1], [-1, 1, -1]):  # about the antipode of the origin
        turn = torch.diag(torch.tensor(axes, dtype=torch.float64))
        torch.testing.assert_close(frechet_mean(manifold, points @ turn), frechet_mean(manifold, points) @ turn)

    def mean(x):
        return frechet_mean(manifold, x / x.norm(dim=-1, keepdim=True))

    assert gradcheck(mean, (points @ turn).requires_grad_(), atol=1e-6)
    antipode = torch.tensor([[-1.0, 0, 0]], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(frechet_mean(manifold, antipode), antipode[0])


@pytest.mark.parametrize("scale", [1e-8, 1e5])
@pytest.mark.parametrize("signature", ["E2", "H2", "S2", "P2", "L2", "H1xS1"])
def test_the_scale_of_weights_does_not_matter(signature, scale):
    manifold, points = cloud(signature, 5)
    weights = torch.rand(2, 5, dtype=torch.float64)
    weights[1, :3] = 0
    torch.testing.assert_close(centroid(manifold, points, scale * weights), centroid(manifold, points, weights))


@pytest.mark.parametrize("signature", ["E2", "H2", "L2", "S2", "P2", "H1xS1"])
def test_it_runs_in_inference_mode(signature):
    manifold, dim = parse_signature(signature)
    vectors, weights, index = torch.randn(6, dim), torch.rand(6), torch.arange(6) % 2
    want = frechet_mean(manifold, exp0(manifold, vectors), weights, index)
    with torch.inference_mode():
        points = exp0(manifold, vectors)
        torch.testing.assert_close(frechet_mean(manifold, points, 1 * weights, 1 * index), want)
        torch.testing.assert_close(frechet_mean(manifold, points), frechet_mean(manifold, points.clone()))


@pytest.mark.parametrize("signature", ["E2", "H2", "S2", "P2"])
def test_activations_are_checkpointed_around_it(signature):
    manifold, dim = parse_signature(signature)
    vectors, calls = torch.randn(6, dim, dtype=torch.float64, requires_grad=True), []

    def mean(v):
        calls.append(1)
        return frechet_mean(manifold, exp0(manifold, v.sin())).square().sum()

    (want,) = torch.autograd.grad(mean(vectors), vectors)
    (found,) = torch.autograd.grad(checkpoint(mean, vectors, use_reentrant=False), vectors)
    torch.testing.assert_close(found, want)
    assert len(calls) == 3  # forward; forward and once again on the way back


class Circles(geoopt.Euclidean):
    """The flat torus: of its class geoopt knows that it is flat, not that angles come round."""

    name = "Circles"


class CirclesFamily(type(family(geoopt.Euclidean(1)))):
    def squared_distance(self, manifold, x, y):
        return (torch.remainder(x - y + math.pi, 2 * math.pi) - math.pi).square().sum(-1, keepdim=True)


@pytest.fixture
def circle():
    register_family("C", CirclesFamily("circles", Circles, lambda: Circles(1)))
    yield Circles(1)
    MANIFOLDS.remove("C")


def test_a_family_of_a_subclass_has_means_of_its_own(circle):
    angles = torch.tensor([[math.pi - 0.1], [0.1 - math.pi], [math.pi - 0.3]], dtype=torch.float64)
    with pytest.raises(TypeError, match="no mean in closed form is known for Circles: use frechet_mean"):
        centroid(circle, angles, torch.ones(1, 3, dtype=torch.float64))
    mean = frechet_mean(circle, angles)
    want = torch.tensor([math.pi - 0.1], dtype=torch.float64)
    torch.testing.assert_close(torch.remainder(mean, 2 * math.pi), want)
