"""What the steps refuse, each with the mend named, and what they make of extremes."""

import math
import re
import threading

import geoopt
import pytest
import torch

from msg.energy import geometry
from msg.manifolds import (
    bound_length,
    checks,
    distance,
    exp0,
    log0,
    move,
    origin,
    parse_signature,
    resolve,
    squared_distance,
    transport0,
)
from msg.nn import MSG


def _wide(value):
    return torch.tensor(value, dtype=torch.float64)


# --------------------------------------------------------------------------------- types


@pytest.mark.parametrize("integer", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_integers_are_refused(space, integer):
    manifold, dim = space
    z, v = origin(manifold, 2, dim), torch.ones(2, dim)
    calls = [
        lambda: origin(manifold, 2, dim, integer),
        lambda: exp0(manifold, v.to(integer)),
        lambda: log0(manifold, z.to(integer)),
        lambda: move(manifold, z, v.to(integer)),
        lambda: move(manifold, z.to(integer), v),
        lambda: transport0(manifold, z, v.to(integer)),
        lambda: distance(manifold, z.to(integer), z),
        lambda: squared_distance(manifold, z, z.to(integer)),
        lambda: bound_length(v.to(integer)),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=rf"{integer}: use \.float\(\)"), checks(False):
            call()


# --------------------------------------------------------------------------------- infinite, huge, NaN


@pytest.mark.parametrize("bad", [math.inf, -math.inf, 1e200])
def test_infinite_vectors_are_refused(space, bad):
    manifold, dim = space
    v = torch.zeros(3, dim, dtype=torch.float64)
    v[1, -1] = bad
    z = origin(manifold, 3, dim)
    for call in (exp0, lambda m, v: move(m, z, v), lambda m, v: transport0(m, z, v)):
        with pytest.raises(FloatingPointError, match=re.escape(f"size {abs(bad):g}: bound it (bound_length)")):
            call(manifold, v)


def test_infinite_points_are_refused(space):
    manifold, dim = space
    z = origin(manifold, 3, dim).clone()
    z[2, 0] = math.inf
    for call in (log0, lambda m, z: move(m, z, torch.zeros(3, dim)), lambda m, z: distance(m, z, z)):
        with pytest.raises(FloatingPointError, match="a point has a coordinate of size inf"):
            call(manifold, z)


def test_nan_stays_where_it_is(space):
    manifold, dim = space
    v = 0.3 * torch.randn(3, dim, dtype=torch.float64)
    z = exp0(manifold, v)
    bad = v.clone()
    bad[1, 0] = math.nan
    for call in (exp0, lambda m, v: move(m, z, v)):
        result, clean = call(manifold, bad), call(manifold, v)
        assert bool(result[1].isnan().any())
        torch.testing.assert_close(result[::2], clean[::2])


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_bound_length_of_vectors_whose_square_overflows(bound):
    direction = torch.nn.functional.normalize(torch.randn(4, 5, dtype=torch.float64))
    lengths = torch.tensor([1e160, 1e200, 1e300, 0.1], dtype=torch.float64)
    v = (direction * lengths[:, None]).requires_grad_()
    bounded = bound_length(v, bound)
    torch.testing.assert_close(bounded[:3], bound * direction[:3], rtol=1e-14, atol=0)
    torch.testing.assert_close(bounded[3], bound_length(v[3], bound))
    (slope,) = torch.autograd.grad(bounded.sum(), v)
    assert bool(slope.isfinite().all())
    torch.testing.assert_close(slope[3], torch.autograd.grad(bound_length(v[3], bound).sum(), v)[0][3])


def test_bound_length_of_what_has_no_direction_is_nan():
    v = torch.tensor([[math.inf, 1.0], [3.0, 4.0], [math.nan, 0.0]], dtype=torch.float64)
    bounded = bound_length(v)
    assert bounded.isnan().tolist() == [[True, True], [False, False], [True, True]]
    torch.testing.assert_close(bounded[1], bound_length(v[1]))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_bound_length_refuses_an_impossible_bound(bad):
    with pytest.raises(ValueError, match="max_length must be positive"):
        bound_length(torch.ones(2, 2), bad)
    assert torch.equal(bound_length(torch.ones(2, 2), math.inf), torch.ones(2, 2, dtype=torch.float64))


# --------------------------------------------------------------------------------- points off the manifold


@pytest.mark.parametrize("signature", ["H3", "S3", "P3", "H2xS2", "E1xP2"])
def test_points_off_the_manifold_are_refused(signature):
    manifold, dim = parse_signature(signature)
    good = exp0(manifold, 0.5 * torch.randn(4, dim, dtype=torch.float64))
    bad = good.clone()
    bad[2] = bad[2] * 1.1 + 1.0
    for call in (
        lambda z: log0(manifold, z),
        lambda z: move(manifold, z, torch.zeros(dim)),
        lambda z: transport0(manifold, z, torch.zeros(dim)),
        lambda z: distance(manifold, good, z),
        lambda z: squared_distance(manifold, z, good),
    ):
        call(good)
        with pytest.raises(ValueError, match=r"row 2.*off the manifold.*give points of this manifold"):
            call(bad)
        with checks(False):
            call(bad)


@pytest.mark.parametrize("signature", ["E4", "H4", "S4", "P4", "U4", "L4", "H4xU4"])
def test_a_model_without_numbers_is_given_some_later(signature):
    with torch.device("meta"):
        later = MSG(3, 2, signature)
    model = MSG(3, 2, signature)
    later.load_state_dict(model.state_dict(), assign=True)
    x, edges = torch.rand(5, 3), torch.tensor([[0, 1, 2], [1, 2, 0]])
    assert torch.equal(later.eval()(x, edges), model.eval()(x, edges))


def test_points_of_another_manifold_are_refused():
    hyperboloid, sphere, ball = (parse_signature(s)[0] for s in ("H2", "S2", "P3"))
    v = torch.randn(4, 2).sign()
    for stranger, host in (
        (exp0(hyperboloid, v), sphere),
        (exp0(sphere, v), hyperboloid),
        (exp0(hyperboloid, v), ball),
        (exp0(hyperboloid, v), geoopt.Lorentz(k=2.0)),
    ):
        with pytest.raises(ValueError, match="off the manifold"):
            log0(host, stranger)


@pytest.mark.parametrize("narrow", [torch.float32, torch.float16, torch.bfloat16])
def test_rounded_points_are_on_the_manifold(space, narrow):
    manifold, dim = space
    for length in (0.0, 0.3, 2.0):
        v = torch.nn.functional.normalize(torch.randn(32, dim, dtype=torch.float64)) * length
        log0(manifold, exp0(manifold, v).to(narrow))


def test_any_shape_of_points_is_checked():
    manifold, dim = parse_signature("S2")
    z = exp0(manifold, torch.randn(2, 3, dim))
    z[1, 0] *= 2
    with pytest.raises(ValueError, match="row 3"):
        log0(manifold, z)
    with pytest.raises(ValueError, match="row 0"):
        log0(manifold, z[1, 0])
    assert log0(manifold, z[:0]).shape == (0, 3, dim)


# --------------------------------------------------------------------------------- the switch


def test_checks_are_switched_off_and_on():
    manifold, _ = parse_signature("S2")
    bad = torch.full((2, 3), 2.0)

    def refused():
        try:
            log0(manifold, bad)
        except ValueError:
            return True
        return False

    assert refused()
    with checks(False):
        assert not refused()
        with checks(True):
            assert refused()
        assert not refused()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(refused()))
        thread.start()
        thread.join()
        assert seen == [True]  # each thread for itself
    assert refused()
    checks(False)
    assert not refused()
    checks(True)
    assert refused()


# --------------------------------------------------------------------------------- impossible manifolds


@pytest.mark.parametrize("k", [0.0, -1e-3, math.nan, math.inf])
def test_a_hyperboloid_needs_a_positive_radius(k):
    for learnable in (False, True):
        manifold = geoopt.Lorentz(k=_wide(k), learnable=learnable)
        for call in (
            lambda m: resolve(m, 3),
            lambda m: exp0(m, torch.zeros(2, 3)),
            lambda m: geometry.move(m, 3),
            lambda m: resolve(geoopt.ProductManifold((m, 4), (geoopt.Sphere(), 3))),
        ):
            with pytest.raises(ValueError, match=rf"must be positive, not {k:g}: keep a learned one so"):
                call(manifold)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", [geoopt.Stereographic, geoopt.PoincareBall])
def test_a_curvature_must_be_a_number(kind, bad):
    manifold = kind(_wide(0.5), learnable=True)
    with torch.no_grad():
        next(manifold.parameters()).fill_(bad)
    with pytest.raises(ValueError, match=f"curvature of {kind.__name__} must be finite"):
        resolve(manifold, 3)


def _train(manifold, steps=200):
    """Ask for a radius of curvature as small as can be had."""
    optimizer = torch.optim.SGD(manifold.parameters(), lr=0.5)
    v = torch.nn.functional.normalize(torch.randn(8, 3, dtype=torch.float64))
    for _ in range(steps):
        optimizer.zero_grad()
        (-distance(manifold, exp0(manifold, v), exp0(manifold, -v.roll(1, 0)))).sum().backward()
        optimizer.step()


def test_a_learned_radius_that_crosses_zero_is_told_and_the_mend_mends():
    with pytest.raises(ValueError, match=r"keep a learned one so \('L' does\)"):
        _train(geoopt.Lorentz(k=_wide(1.0), learnable=True))
    manifold, _ = resolve("L3")
    before = float(manifold.k.detach())
    _train(manifold)
    assert 0 < float(manifold.k.detach()) < before


@pytest.mark.parametrize("kind", [geoopt.Sphere, geoopt.SphereExact])
@pytest.mark.parametrize("part", ["intersection", "complement"])
def test_a_part_of_a_sphere_is_refused(kind, part):
    manifold = kind(**{part: torch.randn(4, 2)})
    for call in (
        lambda m: resolve(m, 3),
        lambda m: log0(m, torch.eye(4)),
        lambda m: geometry.move(m, 3),
        lambda m: resolve(geoopt.ProductManifold((m, 4), (geoopt.Sphere(), 3))),
    ):
        with pytest.raises(ValueError, match=f"{kind.__name__} of a subspace .* use a Sphere without it"):
            call(manifold)
