"""Manifold formulas, executed one number at a time by the counting interpreter; the hyperboloid is in whole models."""

import math
from collections import Counter

import geoopt
import pytest
import torch
from counting_machine import Machine

from msg.energy import geometry
from msg.manifolds import log0, move, parse_signature

D = 3


def quotient(a, b):
    return a / b if b else 1.0


def sphere_move(m, z, v):
    z0, *z = z
    n = m.function(math.sqrt, m.dot(v, v))
    cos = m.function(math.cos, n)
    factor = m.function(quotient, m.function(math.sin, n), n)
    inner = -m.mul(factor, m.dot(z, v))
    along = m.add(cos, m.function(quotient, inner, m.add(1.0, z0)))
    moved = [m.mac(m.mul(factor, a), b, along) for a, b in zip(v, z)]
    point = [m.mac(inner, z0, cos), *moved]
    m.more(point[0], math.cos(0.9 * math.pi))
    length = m.function(lambda n: 1 / n, m.function(math.sqrt, m.dot(point, point)))
    return [m.mul(value, length) for value in point]


def sphere_start(m, v):
    n = m.function(math.sqrt, m.dot(v, v))
    cos = m.function(math.cos, n)
    factor = m.function(quotient, m.function(math.sin, n), n)
    point = [cos, *(m.mul(factor, a) for a in v)]
    m.more(point[0], math.cos(0.9 * math.pi))
    length = m.function(lambda n: 1 / n, m.function(math.sqrt, m.dot(point, point)))
    return [m.mul(value, length) for value in point]


def ball_start(m, v):
    n = m.function(math.sqrt, m.mul(m.dot(v, v), 0.25))
    factor = m.mul(m.function(quotient, m.function(math.tanh, n), n), 0.5)
    moved = [m.mul(value, factor) for value in v]
    m.more(m.mul(m.dot(moved, moved), 1.0), math.tanh(5.0) ** 2)
    return moved


def ball_move(m, x, v):
    """On the Poincaré ball, curvature -1."""
    n = m.function(math.sqrt, m.mul(m.dot(v, v), 0.25))
    factor = m.mul(m.function(quotient, m.function(math.tanh, n), n), 0.5)
    y = [m.mul(value, factor) for value in v]
    x2, y2, xy = m.dot(x, x), m.dot(y, y), m.dot(x, y)
    first = m.mac(1.0, 2.0, xy)
    denominator = m.mac(first, m.mul(x2, y2), 1.0)
    m.more(denominator, 1e-30)
    a = m.function(quotient, m.mac(first, 1.0, y2), denominator)
    b = m.function(quotient, m.mac(1.0, -1.0, x2), denominator)
    moved = [m.mac(m.mul(p, a), q, b) for p, q in zip(x, y)]
    m.more(m.mul(m.dot(moved, moved), 1.0), math.tanh(5.0) ** 2)
    return moved


def sphere_log(m, z):
    z0, *z = z
    n = m.function(math.sqrt, m.dot(z, z))
    factor = m.function(quotient, m.function(math.atan2, n, z0), n)
    return [m.mul(value, factor) for value in z]


def ball_log(m, x):
    u = m.mul(m.dot(x, x), 1.0)
    m.more(u, 1.0)
    n = m.function(math.sqrt, u)
    factor = m.mul(m.function(quotient, m.function(math.atanh, n), n), 2.0)
    return [m.mul(value, factor) for value in x]


def flat_move(m, z, v):
    return [m.add(a, b) for a, b in zip(z, v)]


@pytest.mark.parametrize(
    ("signature", "start", "step", "logarithm"),
    [
        ("S3", sphere_start, sphere_move, sphere_log),
        ("P3", ball_start, ball_move, ball_log),
        ("E3", lambda m, v: v, flat_move, lambda m, z: z),
    ],
)
def test_formulas(signature, start, step, logarithm):
    manifold = parse_signature(signature)[0]
    first, second = (0.5 * torch.randn(1, D, dtype=torch.float64) for _ in range(2))
    origin = torch.zeros(1, D + (signature == "S3"), dtype=torch.float64)
    if signature == "S3":
        origin[0, 0] = 1.0
    z = move(manifold, origin, first)
    m = Machine()
    begun = torch.tensor(start(m, first[0].tolist()), dtype=torch.float64)
    assert torch.allclose(begun, z[0], atol=1e-12)
    assert m.counts == geometry.exp0(manifold, D)
    m = Machine()
    moved = step(m, z[0].tolist(), second[0].tolist())
    assert torch.allclose(torch.tensor(moved, dtype=torch.float64), move(manifold, z, second)[0], atol=1e-12)
    assert m.counts == geometry.move(manifold, D)
    m = Machine()
    assert torch.allclose(
        torch.tensor(logarithm(m, z[0].tolist()), dtype=torch.float64), log0(manifold, z)[0], atol=1e-12
    )
    assert m.counts == geometry.log0(manifold, D)


def test_products_are_counted_factor_by_factor():
    manifold = parse_signature("H2xS3")[0]
    hyperbolic, spherical = parse_signature("H2")[0], parse_signature("S3")[0]
    assert geometry.move(manifold, 5) == geometry.move(hyperbolic, 2) + geometry.move(spherical, 3)
    assert geometry.exp0(manifold, 5) == geometry.exp0(hyperbolic, 2) + geometry.exp0(spherical, 3)
    assert geometry.log0(manifold, 5) == geometry.log0(hyperbolic, 2) + geometry.log0(spherical, 3)


def test_bound():
    assert geometry.bound(D) == Counter({"multiply_accumulate": 3, "multiply": 4, "transcendental": 3})


def test_other_manifolds_are_refused():
    with pytest.raises(TypeError, match="Stiefel"):
        geometry.move(geoopt.Stiefel(), 3)
