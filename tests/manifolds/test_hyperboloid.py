"""Points rounded to float32, against 50 digits; a curvature that is learned."""

import copy
import math
import pickle

import geoopt
import mpmath as mp
import pytest
import torch

from msg.manifolds import curvature, distance, exp0, log0, move, parse_signature, transport0

mp.mp.dps = 50
EPS = torch.finfo(torch.float32).eps


def _dot(a, b):
    return mp.fsum(x * y for x, y in zip(a, b))


def _exact_move(k, rest, v):
    r"""Spatial part of L_z exp_o(v), for the point whose spatial part is ``rest``."""
    scale = mp.sqrt(k)
    time, length = mp.sqrt(k + _dot(rest, rest)), mp.sqrt(_dot(v, v))
    step = [scale * mp.sinh(length / scale) * x / length for x in v]
    along = (scale * mp.cosh(length / scale) + _dot(rest, step) / (scale + time)) / scale
    return [s + along * x for s, x in zip(step, rest)]


SPACES = {"H3": lambda: parse_signature("H3")[0], "Lorentz(k=2)": lambda: geoopt.Lorentz(k=2.0)}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("radius", [1.0, 4.0, 7.0, 9.0])
@pytest.mark.parametrize("back", [0.0, 0.5, 1.0, 1.5])
def test_a_step_from_a_float32_point_is_good_to_float32(name, radius, back, dtype):
    """Also on the way back through the origin, where the errors of a point's two parts do not cancel by themselves."""
    manifold = SPACES[name]()
    k = float(manifold.k.detach())
    direction, aside = (torch.nn.functional.normalize(torch.randn(8, 3, dtype=torch.float64)) for _ in range(2))
    z = exp0(manifold, radius * direction).to(torch.float32)
    v = (1e-3 * aside - back * radius * direction).to(dtype)
    # the same rounded point, given in float64: the answer in all its digits
    moved = move(manifold, z.to(dtype), v).double()
    want = [
        [float(x) for x in _exact_move(mp.mpf(k), [mp.mpf(x) for x in point], [mp.mpf(x) for x in step])]
        for point, step in zip(z[:, 1:].double().tolist(), v.double().tolist())
    ]
    rest = torch.tensor(want, dtype=torch.float64)
    exact = torch.cat([(k + rest.square().sum(-1, keepdim=True)).sqrt(), rest], dim=-1)
    computed = torch.finfo(torch.float64).eps * math.exp((1 + max(1.0, back)) * radius)
    rounded = torch.finfo(dtype).eps * (1 + rest.norm(dim=-1))
    assert bool((distance(manifold, moved, exact) <= 8 * (computed + rounded)).all())


def test_the_stored_time_coordinate_is_not_believed():
    manifold, dim = parse_signature("H3")
    z = exp0(manifold, 2 * torch.randn(16, dim, dtype=torch.float64))
    v = torch.randn(16, dim, dtype=torch.float64)
    rounded = z.clone()
    rounded[:, 0] *= 1 + 1e-6 * torch.randn(16, dtype=torch.float64)
    for function in (move, transport0):
        torch.testing.assert_close(function(manifold, rounded, v), function(manifold, z, v), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log0(manifold, rounded), log0(manifold, z), rtol=1e-14, atol=0)
    assert bool((distance(manifold, rounded, z) == 0).all())


def test_many_float32_steps_stay_together():
    """A walk kept in float32 between steps ends where the walk in float64 does."""
    manifold, dim = parse_signature("H3")
    direction = torch.nn.functional.normalize(torch.randn(8, dim, dtype=torch.float64))
    narrow, wide = (exp0(manifold, 6.0 * direction).to(t) for t in (torch.float32, torch.float64))
    for _ in range(20):
        v = 0.05 * torch.randn(8, dim, dtype=torch.float64)
        narrow, wide = move(manifold, narrow, v), move(manifold, wide, v)
    assert narrow.dtype == torch.float32
    assert float(distance(manifold, narrow.double(), wide).max()) < 40 * EPS * float(wide[:, 1:].norm(dim=-1).max())


@pytest.mark.parametrize("seed", range(6))
def test_a_learned_curvature_stays_negative(seed):
    # a rate at which geoopt's own k crosses zero in half of all trainings
    torch.manual_seed(seed)
    manifold, dim = parse_signature("L3")
    target = torch.randn(20, dim, dtype=torch.float64)
    optimizer = torch.optim.Adam(manifold.parameters(), lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        points = exp0(manifold, target)
        loss = distance(manifold, points[:10], points[10:]).square().sum() * (-1) ** seed
        loss.backward()
        optimizer.step()
        assert bool(manifold.k > 0)
        assert bool(points.isfinite().all())
    assert curvature(manifold) != -1.0


def test_a_learned_curvature_is_a_parameter_of_its_own():
    manifold, _ = parse_signature("L3")
    assert [name for name, _ in manifold.named_parameters()] == ["log_k"]
    assert curvature(manifold) == -1.0
    twin = copy.deepcopy(manifold)
    twin.load_state_dict(manifold.state_dict())
    assert twin.k.item() == manifold.k.item() == 1.0
    assert pickle.loads(pickle.dumps(manifold)).k.item() == 1.0
