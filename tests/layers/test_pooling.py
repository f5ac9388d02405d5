"""Means of the points of many graphs, against one graph after another, finite differences and isometries."""

import geoopt
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from msg.manifolds import checks, exp0, frechet_mean, log0, parse_signature
from msg.nn import ManifoldPooling
from msg.testing import assert_equivariant, assert_on_manifold

pytestmark = pytest.mark.covering

SIGNATURES = ("E3", "H3", "S3", "P3", "U3", "L3", "H2xS2xE1xP2")
BOTH = [*(("mean", signature) for signature in SIGNATURES), ("frechet", "H3"), ("frechet", "S3"), ("frechet", "P2xE1")]
BATCH = torch.tensor([0, 2, 1, 2, 0, 1, 2, 2, 1])


def cloud(signature, dtype=torch.float64, spread=0.5):
    manifold, dim = parse_signature(signature)
    return manifold, exp0(manifold, spread * torch.randn(len(BATCH), dim, dtype=dtype)).detach()


def by_hand(manifold, z, w):
    """The mean of one graph's points, by the formula of each family."""
    if isinstance(manifold, geoopt.ProductManifold):
        pairs = zip(manifold.manifolds, manifold.slices)
        return torch.cat([by_hand(factor, z[:, part], w) for factor, part in pairs])
    w = (w / w.sum())[:, None]
    if isinstance(manifold, geoopt.Lorentz):
        s = (w * z).sum(0)
        return manifold.k.sqrt() * s / (s[0] ** 2 - (s[1:] ** 2).sum()).sqrt()
    if isinstance(manifold, geoopt.Stereographic):
        factor = manifold.lambda_x(z, keepdim=True)
        q = (w * factor * z).sum(0) / (w * (factor - 1)).sum()
        return manifold.mobius_scalar_mul(torch.tensor(0.5, dtype=z.dtype), q)
    s = (w * z).sum(0)
    return s / s.norm() if isinstance(manifold, geoopt.Sphere) else s


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("weighted", [False, True])
def test_each_graph_has_the_mean_of_its_own_points(signature, weighted):
    manifold, z = cloud(signature)
    weight = torch.rand(len(z), dtype=torch.float64) if weighted else None
    w = torch.ones(len(z), dtype=torch.float64) if weight is None else weight
    found = ManifoldPooling(manifold)(z, BATCH, weight=weight)
    solved = ManifoldPooling(manifold, "frechet")(z, BATCH, weight=weight)
    assert_on_manifold(manifold, found)
    for graph in range(3):
        own = graph == BATCH
        torch.testing.assert_close(found[graph], by_hand(manifold, z[own], w[own]))
        torch.testing.assert_close(solved[graph], frechet_mean(manifold, z[own], w[own]))


def test_points_keep_their_dtype_and_one_graph_needs_no_batch(dtype):
    manifold, z = cloud("H3", dtype)
    one = ManifoldPooling(manifold)(z)
    assert one.shape == (1, 4)
    assert one.dtype == dtype
    torch.testing.assert_close(ManifoldPooling(manifold)(z, torch.zeros(9, dtype=torch.long), 1), one)


@pytest.mark.parametrize(("mode", "signature"), BOTH)
def test_derivatives_in_points_and_weights(signature, mode):
    manifold, z = cloud(signature)
    vectors = log0(manifold, z).detach().requires_grad_()
    weight = (0.5 + torch.rand(len(z), dtype=torch.float64)).requires_grad_()

    def pooled(vectors, weight):
        return log0(manifold, ManifoldPooling(manifold, mode)(exp0(manifold, vectors), BATCH, 3, weight))

    assert gradcheck(pooled, (vectors, weight), atol=1e-6, fast_mode=True)
    if mode == "mean" and signature == "H3":
        assert gradgradcheck(pooled, (vectors, weight), atol=1e-6, fast_mode=True)
    if mode == "frechet" and signature == "H3":
        with pytest.raises(RuntimeError, match="a Fréchet mean has no second derivatives: use centroid"):
            torch.autograd.grad(pooled(vectors, weight).sum(), vectors, create_graph=True)


@pytest.mark.parametrize("mode", ["mean", "frechet"])
@pytest.mark.parametrize("signature", ["U3", "L3"])
def test_derivative_in_the_curvature(signature, mode):
    manifold, dim = parse_signature(signature)
    vectors = 0.5 * torch.randn(len(BATCH), dim, dtype=torch.float64)
    (curved,) = manifold.parameters()

    def pooled():
        points = exp0(manifold, vectors)
        return log0(manifold, ManifoldPooling(manifold, mode)(points, BATCH)).square().sum()

    (found,) = torch.autograd.grad(pooled(), curved)
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            curved += step
            ends.append(float(pooled()))
    assert float(found) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(("mode", "signature"), BOTH)
def test_it_commutes_with_isometries(signature, mode, dtype):
    manifold, z = cloud(signature, dtype)
    assert_equivariant(manifold, lambda points: ManifoldPooling(manifold, mode)(points, BATCH), z)


def test_points_that_cancel_out_on_a_sphere():
    manifold = geoopt.Sphere()
    z = torch.tensor([[0.6, 0.8], [-0.6, -0.8]], dtype=torch.float64, requires_grad=True)
    mean = ManifoldPooling(manifold)(z)
    assert mean.tolist() == [[1, 0]]
    mean.sum().backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def test_what_has_no_mean_is_refused():
    manifold, z = cloud("H3")
    pool = ManifoldPooling(manifold)
    for mode in ("sum", "add", "max"):
        with pytest.raises(ValueError, match=f"cannot be pooled by '{mode}': use 'mean' or 'frechet', or pool tangent"):
            ManifoldPooling(manifold, mode)
    for mode in ("mean", "frechet"):
        with pytest.raises(ValueError, match="group 3 has no weight, so it has no mean"):
            ManifoldPooling(manifold, mode)(z, BATCH, size=4)
        with pytest.raises(ValueError, match="group 0 has no weight"):
            ManifoldPooling(manifold, mode)(z, BATCH, weight=(BATCH > 0).double())
    with pytest.raises(ValueError, match="weights must not be negative"):
        pool(z, BATCH, weight=-torch.ones(9))
    with pytest.raises(ValueError, match=r"weights and index must have shape \[9\]"):
        pool(z, BATCH, weight=torch.ones(3))
    with pytest.raises(ValueError, match=r"batch has shape \[3\], but there are 9 points"):
        pool(z, BATCH[:3])
    with pytest.raises(ValueError, match=r"batch must be a tensor, not list: use torch\.as_tensor"):
        pool(z, BATCH.tolist())
    for wrong in (BATCH.float(), BATCH.bool()):
        with pytest.raises(ValueError, match=r"batch must be the number of each point's graph.*use batch\.long"):
            pool(z, wrong)
    torch.testing.assert_close(pool(z, BATCH.short()), pool(z, BATCH))
    with pytest.raises(ValueError, match="index names groups 0 to 2, but there are 2"):
        pool(z, BATCH, size=2)
    with checks(False):
        torch.testing.assert_close(pool(z, BATCH, size=4)[:3], pool(z, BATCH, size=3))


@pytest.mark.parametrize("mode", ["mean", "frechet"])
def test_no_graphs_have_no_points(mode):
    manifold = parse_signature("H2")[0]
    none = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 0
    assert ManifoldPooling(manifold, mode)(*none).shape == (0, 3)
