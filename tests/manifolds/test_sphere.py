"""The antipode of the origin, where every direction is right and one is given."""

import math

import mpmath as mp
import pytest
import torch

from msg.manifolds import distance, exp0, log0, move, origin, parse_signature, transport0
from msg.testing import assert_isometric

mp.mp.dps = 50


@pytest.mark.parametrize("signature", ["S1", "S3"])
def test_log0_at_the_antipode_points_along_the_first_axis(signature, dtype):
    manifold, dim = parse_signature(signature)
    antipode = (-origin(manifold, 2, dim, dtype)).requires_grad_()
    v = log0(manifold, antipode)
    expected = torch.zeros(2, dim, dtype=dtype)
    expected[:, 0] = math.pi
    torch.testing.assert_close(v, expected, rtol=1e-15 if dtype == torch.float64 else 1e-6, atol=0)
    (slope,) = torch.autograd.grad(v.sum(), antipode)
    assert bool(slope.isfinite().all())
    assert bool((slope[:, 1:] == 0).all())


@pytest.mark.parametrize("away", [0.2, 1e-3, 1e-8, 1e-12, 1e-20, 2e-30])
def test_log0_near_the_antipode(away, dtype):
    """Against mpmath, from the spatial part: 1 + cos holds no digits of an angle this close to pi."""
    manifold, dim = parse_signature("S3")
    direction = torch.nn.functional.normalize(torch.randn(4, dim, dtype=torch.float64))
    time = torch.full((4, 1), -math.cos(away), dtype=torch.float64)
    z = torch.cat([time, math.sin(away) * direction], dim=-1).to(dtype).requires_grad_()
    v = log0(manifold, z)
    (slope,) = torch.autograd.grad(v.sum(), z)
    assert bool(slope.isfinite().all())
    for row, point in zip(v.detach().double(), z.detach().double()):
        rest = [mp.mpf(x) for x in point[1:].tolist()]
        sine = mp.sqrt(mp.fsum(x * x for x in rest))
        angle = mp.pi - mp.atan2(sine, -mp.mpf(float(point[0])))
        want = torch.tensor([float(angle * x / sine) for x in rest], dtype=torch.float64)
        torch.testing.assert_close(row, want, rtol=1e-12 if dtype == torch.float64 else 1e-6, atol=0)


@pytest.mark.parametrize("nearer", [1e-31, 1e-100, 1e-200, 5e-324])
def test_what_is_nearer_to_the_antipode_than_can_be_told_is_there(nearer):
    manifold, dim = parse_signature("S3")
    z = -origin(manifold, 1, dim).clone()
    z[0, 2] = nearer
    z.requires_grad_()
    v = log0(manifold, z)
    torch.testing.assert_close(v, torch.tensor([[math.pi, 0.0, 0.0]], dtype=torch.float64), rtol=1e-15, atol=0)
    assert bool(torch.autograd.grad(v.norm(), z)[0].isfinite().all())


@pytest.mark.parametrize("away", [0.0, 1e-9, 1e-3, 0.2])
def test_steps_from_the_antipode_are_isometric_and_along_the_same_geodesic(away):
    manifold, dim = parse_signature("S3")
    z = torch.zeros(4, dim + 1, dtype=torch.float64)
    z[:, 0], z[:, 1] = -math.cos(away), math.sin(away)
    z.requires_grad_()
    v = torch.nn.functional.normalize(torch.randn(4, dim, dtype=torch.float64))
    assert_isometric(manifold, z, v)
    # the rotation by pi - away in the plane of the origin and the first axis
    angle = math.pi - away
    want = torch.cat([-math.sin(angle) * v[:, :1], math.cos(angle) * v[:, :1], v[:, 1:]], dim=-1)
    torch.testing.assert_close(transport0(manifold, z, v), want, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(move(manifold, z, v), math.cos(1) * z + math.sin(1) * want, rtol=1e-7, atol=1e-7)
    for function in (transport0, move):
        assert bool(torch.autograd.grad(function(manifold, z, v).sum(), z)[0].isfinite().all())


def test_factors_of_a_product_have_antipodes():
    manifold, dim = parse_signature("H2xS2")
    z = origin(manifold, 1, dim).clone()
    z[0, 3] = -1.0
    v = log0(manifold, z)
    torch.testing.assert_close(v, torch.tensor([[0.0, 0.0, math.pi, 0.0]], dtype=torch.float64))
    assert float(distance(manifold, z, origin(manifold, 1, dim))) == pytest.approx(math.pi, rel=1e-15)


def test_other_rows_are_not_touched():
    manifold, dim = parse_signature("S3")
    v = torch.randn(4, dim, dtype=torch.float64)
    z = exp0(manifold, v)
    both = torch.cat([z, -origin(manifold, 1, dim)]).requires_grad_()
    alone = z.clone().requires_grad_()
    torch.testing.assert_close(log0(manifold, both)[:4], log0(manifold, alone))
    slopes = [torch.autograd.grad(log0(manifold, p)[:4].sum(), p)[0][:4] for p in (both, alone)]
    torch.testing.assert_close(*slopes)
