"""Means and hyperplanes of gyrovectors against the formulas as they are published."""

import geoopt
import pytest
import torch

from msg.manifolds import distance, exp0, gyromidpoint, gyroplane_logits, lorentz_centroid, max_radius
from msg.manifolds.trigonometry import arcsinc


def _space(k, learnable=False):
    return geoopt.Stereographic(k=torch.tensor(k, dtype=torch.float64), learnable=learnable)


def _half(y, k):
    """Half of a point, by the formulas of either sign."""
    r, root = y.norm(), abs(k) ** 0.5
    if k == 0:
        return y / 2
    return (torch.tanh(torch.atanh(root * r) / 2) if k < 0 else torch.tan(torch.atan(root * r) / 2)) * y / r / root


@pytest.mark.parametrize("k", [-1.0, -0.3, 0.0, 0.3, 1.0])
def test_midpoint_is_the_published_quotient(k):
    manifold = _space(k)
    x, w = exp0(manifold, 0.5 * torch.randn(6, 3, dtype=torch.float64)), torch.rand(4, 6, dtype=torch.float64)
    factor = [2 / (1 + k * float(p @ p)) for p in x]
    got = gyromidpoint(manifold, x, w)
    for i in range(4):
        above = sum(w[i, j] * factor[j] * x[j] for j in range(6))
        below = sum(w[i, j] * (factor[j] - 1) for j in range(6))
        assert torch.allclose(got[i], _half(above / below, k), atol=1e-12)
    assert torch.allclose(got, gyromidpoint(manifold, x, 7 * w))
    assert torch.allclose(gyromidpoint(manifold, x, torch.eye(6, dtype=torch.float64)), x)


def test_on_a_sphere_the_mean_is_beside_its_points_and_not_opposite():
    manifold = _space(1.0)
    # beyond the equator the quotient's denominator is negative, and half of it lies on the other side
    v = torch.tensor([[2.0, 0.1], [2.2, -0.1], [2.1, 0.3]], dtype=torch.float64)
    x, w = exp0(manifold, v), torch.full((1, 3), 1 / 3, dtype=torch.float64)
    mean = gyromidpoint(manifold, x, w)
    opposite = -mean / mean.square().sum()
    assert float(distance(manifold, x, mean).max()) < 0.5 < float(distance(manifold, x, opposite).min())
    # the sphere around the points says the same
    factor = 2 / (1 + x.square().sum(-1, keepdim=True))
    total = torch.cat([factor - 1, factor * x], 1).mean(0)
    unit = total / total.norm()
    assert torch.allclose(mean[0], unit[1:] / (1 + unit[0]), atol=1e-12)


def test_in_the_ball_it_is_the_lorentz_centroid():
    v, w = torch.randn(6, 3, dtype=torch.float64), torch.rand(4, 6, dtype=torch.float64)
    ball = gyromidpoint(_space(-1.0), exp0(_space(-1.0), v), w)
    centroid = lorentz_centroid(exp0(geoopt.Lorentz(), v), w)
    assert torch.allclose(centroid[:, 1:] / (1 + centroid[:, :1]), ball, atol=1e-12)


def test_hard_means_are_finite_with_their_gradients():
    for k in (-1.0, 0.0, 1.0):
        manifold = _space(k, learnable=True)
        far = 0.99 * min(max_radius(manifold), 1e3)
        # opposite points, no point, points at the bound, negative weights
        x = exp0(manifold, torch.tensor([[far, 0.0], [-far, 0.0], [0.0, 0.0]], dtype=torch.float64)).requires_grad_()
        w = torch.tensor([[1.0, 1, 0], [0, 0, 0], [1, 0, 0], [-1, 2, 0], [-1, 0, 0]], dtype=torch.float64)
        mean = gyromidpoint(manifold, x, w)
        grads = torch.autograd.grad(mean.square().sum(), [x, manifold.k])
        assert all(t.isfinite().all() for t in (mean, *grads)), k


def _sum(x, y, k):
    xy, x2, y2 = x @ y, x @ x, y @ y
    return ((1 - 2 * k * xy - k * y2) * x + (1 + k * x2) * y) / (1 - 2 * k * xy + k**2 * x2 * y2)


@pytest.mark.parametrize("k", [-1.0, -0.3, 0.0, 0.3, 1.0])
def test_logits_are_distances_to_hyperplanes(k):
    manifold = _space(k)
    x, p = (exp0(manifold, torch.randn(n, 3, dtype=torch.float64)) for n in (5, 4))
    a = torch.randn(4, 3, dtype=torch.float64)
    got = gyroplane_logits(manifold, x, p, a)
    for i in range(5):
        for c in range(4):
            z, scale = _sum(-p[c], x[i], k), 2 / (1 + k * p[c] @ p[c]) * a[c].norm()
            sine = 2 * (z @ a[c]) / ((1 + k * z @ z) * a[c].norm())
            root = abs(k) ** 0.5
            inverse = sine if k == 0 else (torch.asinh if k < 0 else torch.asin)(root * sine) / root
            assert float(got[i, c]) == pytest.approx(float(scale * inverse), rel=1e-9, abs=1e-12)
    if k == 0:
        assert torch.allclose(got, 4 * ((x[:, None] - p) * a).sum(-1))
    assert torch.allclose(gyroplane_logits(_space(1e-9), x, p, a), gyroplane_logits(_space(-1e-9), x, p, a), atol=1e-6)


@pytest.mark.parametrize("k", [-0.5, 0.0, 0.5])
def test_logits_learn_everything(k):
    manifold = _space(k, learnable=True)
    x = exp0(manifold, torch.randn(3, 2, dtype=torch.float64)).detach().requires_grad_()
    p, a = (scale * torch.randn(2, 2, dtype=torch.float64) for scale in (0.3, 1.0))
    p.requires_grad_(), a.requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: gyroplane_logits(manifold, *given), (x, p, a))
    (slope,) = torch.autograd.grad(gyroplane_logits(manifold, x, p, a).sum(), manifold.k)
    step = 1e-6
    with torch.no_grad():
        above, below = (float(gyroplane_logits(_space(k + s * step), x, p, a).sum()) for s in (1, -1))
    assert float(slope) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-7)


def test_inverse_sine_of_a_squared_argument():
    u = torch.tensor([-1e8, -3.0, -1e-12, 0.0, 1e-12, 0.3, 0.999, 1.0, 1.0 + 1e-12], dtype=torch.float64)
    u.requires_grad_()
    r = u.detach().abs().sqrt()
    want = torch.where(u.detach() > 0, r.clamp(max=1).asin() / r, torch.where(r > 0, r.asinh() / r, 1.0))
    want[3] = 1.0
    got = arcsinc(u)
    assert torch.allclose(got[:7], want[:7], rtol=1e-9)
    assert torch.allclose(got[7:], want[7:], rtol=1e-7)
    assert torch.autograd.grad(got.sum(), u)[0].isfinite().all()
    assert torch.autograd.gradcheck(
        arcsinc, torch.tensor([-3.0, -1e-5, 1e-5, 0.7], dtype=torch.float64).requires_grad_()
    )


def test_another_manifold_is_refused():
    x = torch.zeros(2, 3)
    for call in (lambda m: gyromidpoint(m, x, torch.eye(2)), lambda m: gyroplane_logits(m, x, x, x)):
        with pytest.raises(TypeError, match="κ-stereographic"):
            call(geoopt.Lorentz())
