"""Symmetric positive definite matrices, against geoopt's own maps, finite differences, and contracts of manifolds."""

import geoopt
import pytest
import torch
from torch.nn.functional import cross_entropy

from msg.datasets import load_graph
from msg.energy import HOROWITZ_45NM_FP32, count
from msg.manifolds import (
    ambient_dim,
    distance,
    exp0,
    frechet_mean,
    log0,
    max_radius,
    move,
    origin,
    resolve,
    squared_distance,
    transport0,
)
from msg.nn import MSG, ManifoldPooling
from msg.testing import assert_isometric, assert_on_manifold

SPD = geoopt.SymmetricPositiveDefinite()
ROWS, DIM = 3, 6


@pytest.fixture
def vectors():
    return torch.randn(3, 7, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def matrices(z):
    return z.unflatten(-1, (ROWS, ROWS))


def test_maps_are_geoopts(vectors):
    v, w, u = vectors
    z = exp0(SPD, v)
    eye = torch.eye(ROWS, dtype=torch.float64)
    assert torch.equal(origin(SPD, 1, DIM, torch.float64)[0], eye.flatten())
    torch.testing.assert_close(log0(SPD, z), v)
    assert_on_manifold(SPD, z)
    assert_isometric(SPD, z, w)
    carried, moved = transport0(SPD, z, w), move(SPD, z, w)
    torch.testing.assert_close(SPD.expmap(matrices(z), matrices(carried)), matrices(moved))
    torch.testing.assert_close(SPD.dist(matrices(z), matrices(moved)), distance(SPD, z, moved))
    torch.testing.assert_close(SPD.transp(eye.expand(7, -1, -1), matrices(z), matrices(exp0(SPD, u))), matrices(
        transport0(SPD, z, _vector(exp0(SPD, u)))
    ))  # fmt: skip
    torch.testing.assert_close(distance(SPD, z, moved), w.norm(dim=-1))


def _vector(z):
    """Coordinates of a symmetric matrix in the frame at the identity, entry by entry."""
    square, root = matrices(z), 2**0.5
    entries = [square[:, i, j] * (1 if i == j else root) for i in range(ROWS) for j in range(i, ROWS)]
    return torch.stack(entries, dim=-1)


def test_gradients_are_right_where_eigenvalues_meet(vectors):
    v, w, u = vectors[:, :3]
    z, other = exp0(SPD, w), exp0(SPD, u)
    round_one = torch.tensor([1.0, 0, 0, 1, 0, 1], dtype=torch.float64).expand(3, -1)
    near = round_one + 1e-6 * v
    for at in (v, torch.zeros_like(v), round_one, near):
        for function in (
            lambda v: exp0(SPD, v),
            lambda v: log0(SPD, exp0(SPD, v)),
            lambda v: move(SPD, z, v),
            lambda v: move(SPD, exp0(SPD, v), w),
            lambda v: transport0(SPD, exp0(SPD, v), w),
            lambda v: squared_distance(SPD, exp0(SPD, v), other),
            lambda v: distance(SPD, exp0(SPD, v), other),
        ):
            torch.autograd.gradcheck(function, at.clone().requires_grad_())


def test_points_that_coincide_have_a_gradient(vectors):
    z = exp0(SPD, vectors[0]).requires_grad_()
    (grad,) = torch.autograd.grad(distance(SPD, z, z.detach()).sum() + squared_distance(SPD, z, z.detach()).sum(), z)
    torch.testing.assert_close(grad, torch.zeros_like(grad))


def test_a_second_derivative_is_refused_and_a_mean_found(vectors):
    z = exp0(SPD, vectors[0])
    mean = frechet_mean(SPD, z)
    # of the mean, logarithms of all points seen from there sum to nothing
    back = matrices(z)
    total = SPD.logmap(matrices(mean).expand_as(back), back).mean(0)
    assert float(total.norm()) < 1e-6
    torch.testing.assert_close(ManifoldPooling(SPD, "frechet")(z), mean[None])
    with pytest.raises(RuntimeError, match="differentiable once"):
        frechet_mean(SPD, z.requires_grad_()).sum().backward()


def test_points_stay_within_the_bound(vectors):
    far = 100 * vectors[0]
    z = exp0(SPD, far)
    assert float(log0(SPD, z).norm(dim=-1).max()) <= float(max_radius(SPD)) * (1 + 1e-6)
    assert float(log0(SPD, move(SPD, z, vectors[1])).norm(dim=-1).max()) <= float(max_radius(SPD)) * (1 + 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_learns_there(dtype):
    torch.manual_seed(0)
    data = load_graph("karate")
    x = data.x.to(dtype)
    model = MSG(data.num_features, 4, manifold=SPD, hidden_channels=DIM, timesteps=5, step_size=0.5).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = cross_entropy(model(x, data.edge_index)[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval()
    with count(model) as ops:
        model(x, data.edge_index)
    assert HOROWITZ_45NM_FP32.unpriced(ops)["eigendecomposition"] > 0


def test_what_does_not_fit_is_named():
    assert ambient_dim(SPD, DIM) == ROWS**2
    with pytest.raises(ValueError, match=r"no symmetric matrices have 4 dimensions: use .*, such as 3 or 6"):
        MSG(5, 3, manifold=SPD, hidden_channels=4)
    with pytest.warns(UserWarning, match="not fully implemented"):
        flat = geoopt.SymmetricPositiveDefinite("LEM")
    with pytest.raises(ValueError, match="use the affine-invariant one, default_metric='AIM'"):
        resolve(flat, 6)
    crooked = torch.tensor([[1.0, 0.5, 0.0, 1.0], [1.0, 2.0, 2.0, 1.0]], dtype=torch.float64)
    for row in crooked:
        with pytest.raises(AssertionError):
            assert_on_manifold(SPD, row[None])
