import geoopt
import pytest
import torch

from msg.manifolds import distance, exp0, lorentz_centroid, lorentz_inner, squared_lorentzian_distance
from msg.manifolds.lorentz import lift
from msg.testing import assert_on_manifold

H = geoopt.Lorentz()


def _points(n, d=3, scale=1.0):
    return exp0(H, scale * torch.randn(n, d, dtype=torch.float64))


def test_centroid_is_the_mean_pushed_back_and_minimises_squared_distances():
    x, w = _points(6), torch.rand(4, 6, dtype=torch.float64)
    got = lorentz_centroid(x, w)
    assert_on_manifold(H, got)
    for i in range(4):
        total = sum(w[i, j] * x[j] for j in range(6))
        length = (total[0] ** 2 - (total[1:] ** 2).sum()).sqrt()
        assert torch.allclose(got[i], total / length, atol=1e-12)
        loss = lambda z, i=i: float((w[i] * squared_lorentzian_distance(x, z[None])).sum())  # noqa: E731
        near = [lift(got[i, 1:] + 1e-2 * torch.randn(3, dtype=torch.float64)) for _ in range(10)]
        assert all(loss(z) > loss(got[i]) for z in near)


def test_squared_distance_is_that_of_the_inner_product_and_exact_for_close_points():
    x, y = _points(5), _points(5)
    inner = lorentz_inner(x, y)
    for i in range(5):
        assert float(inner[i, i]) == pytest.approx(float(-x[i, 0] * y[i, 0] + x[i, 1:] @ y[i, 1:]))
    got = squared_lorentzian_distance(x, y)
    assert torch.allclose(got, -2 - 2 * inner.diagonal(), atol=1e-9)
    assert torch.allclose(got, 2 * (distance(H, x, y).cosh() - 1), atol=1e-9)
    near = lift(x[:, 1:] + 1e-9)
    assert torch.allclose(squared_lorentzian_distance(x, near).sqrt(), distance(H, x, near), rtol=1e-5, atol=0)
    assert bool((squared_lorentzian_distance(x, x) == 0).all())


def test_hard_means_are_finite_and_on_the_hyperboloid():
    x = exp0(H, torch.tensor([[10.0, 0.0], [-10.0, 0.0], [0.0, 0.0]], dtype=torch.float64)).requires_grad_()
    w = torch.tensor([[1.0, 1, 0], [0, 0, 0], [-1, 2, 0], [-1, 0, 0]], dtype=torch.float64)
    mean = lorentz_centroid(x, w)
    assert_on_manifold(H, mean)
    assert torch.autograd.grad(mean.sum(), x)[0].isfinite().all()
    assert_on_manifold(H, lift(torch.full((1, 2), 1e30)))
