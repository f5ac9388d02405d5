"""The assertions must pass on what is right and fail, saying where, on what is not."""

import geoopt
import pytest
import torch

from msg.manifolds import exp0, log0, parse_signature
from msg.manifolds.hyperboloid import Hyperboloid
from msg.manifolds.sphere import Sphere
from msg.testing import assert_equivariant, assert_isometric, assert_on_manifold


def test_points_of_every_manifold_pass(space, dtype):
    manifold, dim = space
    assert_on_manifold(manifold, exp0(manifold, torch.randn(8, dim, dtype=dtype)))
    assert_on_manifold(manifold, exp0(manifold, torch.randn(2, 3, dim, dtype=dtype)))
    assert_on_manifold(manifold, exp0(manifold, torch.zeros(0, dim, dtype=dtype)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_points_that_are_not_finite_fail(space, bad):
    manifold, dim = space
    z = exp0(manifold, torch.randn(4, dim))
    z[2, -1] = bad
    with pytest.raises(AssertionError, match=r"row 2.*not finite"):
        assert_on_manifold(manifold, z)


@pytest.mark.parametrize("signature", ["H3", "S3"])
def test_a_point_off_the_manifold_is_named_with_its_defect(signature):
    manifold, dim = parse_signature(signature)
    z = exp0(manifold, torch.randn(4, dim, dtype=torch.float64))
    z[1] *= 1 + 1e-9
    with pytest.raises(AssertionError, match=r"row 1, (Lorentz|Sphere): off the manifold by .*e-\d\d > rtol=1e-12"):
        assert_on_manifold(manifold, z)
    assert_on_manifold(manifold, z, rtol=1e-8)


def test_the_defect_is_relative_on_the_hyperboloid():
    manifold, _ = parse_signature("H1")
    r = torch.tensor([9.0], dtype=torch.float64)
    z = torch.stack([r.cosh(), r.sinh()], dim=-1).float()
    assert_on_manifold(manifold, z)  # although |<z,z> + 1| is of order 1 here
    assert (z.double()[0, 1] ** 2 - z.double()[0, 0] ** 2 + 1).abs() > 1e-2
    with pytest.raises(AssertionError, match="inf"):
        assert_on_manifold(manifold, -z)


@pytest.mark.parametrize("k", [1.0, 2.0])
def test_the_radius_of_curvature_counts(k):
    z = torch.tensor([[2.0**0.5, 0.0]], dtype=torch.float64)
    if k == 2.0:
        assert_on_manifold(geoopt.Lorentz(k=k), z, rtol=1e-7)
    else:
        with pytest.raises(AssertionError, match="row 0"):
            assert_on_manifold(geoopt.Lorentz(k=k), z)


def test_the_boundary_of_a_ball_is_outside():
    ball = geoopt.PoincareBall(c=torch.tensor(1.0, dtype=torch.float64))
    assert_on_manifold(ball, torch.tensor([[0.999999, 0.0]]))
    with pytest.raises(AssertionError, match="row 1, PoincareBall"):
        assert_on_manifold(ball, torch.tensor([[0.5, 0.0], [1.0, 0.0]]))
    assert_on_manifold(geoopt.SphereProjection(), torch.tensor([[100.0, 0.0]]))


def test_a_product_names_the_factor():
    manifold, dim = parse_signature("H2xS3")
    z = exp0(manifold, torch.randn(4, dim, dtype=torch.float64))
    z[3, 4] += 0.1
    with pytest.raises(AssertionError, match=r"row 3, factor 1 \(Sphere\)"):
        assert_on_manifold(manifold, z)
    with pytest.raises(AssertionError, match="needs 7"):
        assert_on_manifold(manifold, z[:, 1:])


def test_other_manifolds_use_geoopts_own_check():
    manifold, frame = geoopt.Stiefel(), torch.eye(3, 2, dtype=torch.float64)
    assert_on_manifold(manifold, frame)
    with pytest.raises(AssertionError, match="Stiefel"):
        assert_on_manifold(manifold, 1.5 * frame)


def test_a_scaled_manifold_is_judged_as_its_base():
    manifold = geoopt.Scaled(geoopt.Sphere(), 2.0)
    assert_on_manifold(manifold, torch.tensor([[0.6, 0.8]], dtype=torch.float64))
    with pytest.raises(AssertionError, match="Sphere: off the manifold"):
        assert_on_manifold(manifold, torch.tensor([[0.6, 0.9]], dtype=torch.float64))


def test_isometric_catches_a_projection_in_place_of_transport(monkeypatch):
    manifold, dim = parse_signature("S3")
    z, v = (torch.nn.functional.normalize(torch.randn(4, dim)) for _ in range(2))
    z = exp0(manifold, z)
    assert_isometric(manifold, z, v)
    projected = lambda _, m, z, v: m.proju(z, torch.nn.functional.pad(v, (1, 0)))  # noqa: E731
    monkeypatch.setattr(Sphere, "transport0", projected)
    with pytest.raises(AssertionError, match=r"row \d: squared length of transport0"):
        assert_isometric(manifold, z, v)


def test_isometric_catches_angles_and_steps(monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", "torch")  # what is changed here is what the kernels stand for
    manifold, dim = parse_signature("H3")
    z = exp0(manifold, torch.randn(4, dim, dtype=torch.float64))
    v = torch.randn(4, dim, dtype=torch.float64)
    exact = Hyperboloid.transport0

    monkeypatch.setattr(Hyperboloid, "transport0", lambda self, m, z, v: exact(self, m, z, v.abs()))
    with pytest.raises(AssertionError, match="inner product"):
        assert_isometric(manifold, z, v)
    monkeypatch.setattr(Hyperboloid, "transport0", exact)
    move = Hyperboloid.move
    monkeypatch.setattr(Hyperboloid, "move", lambda self, m, z, v: move(self, m, z, v * (1 + 1e-6)))
    with pytest.raises(AssertionError, match="distance"):
        assert_isometric(manifold, z, v)


def test_isometric_fails_on_nan_and_on_wrong_sizes(monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", "torch")
    manifold, dim = parse_signature("H3")
    z, v = exp0(manifold, torch.randn(4, dim)), torch.randn(4, dim)
    with pytest.raises(AssertionError, match="do not fit"):
        assert_isometric(manifold, z[:, 1:], v)
    monkeypatch.setattr(Hyperboloid, "move", lambda self, m, z, v: z * torch.nan)
    with pytest.raises(AssertionError, match="nan"):
        assert_isometric(manifold, z, v)


def test_what_hangs_on_the_origin_is_not_equivariant():
    for signature, linear in (("E3", True), ("H3", False), ("S3", False), ("E1xH2", False)):
        manifold, dim = parse_signature(signature)
        z = exp0(manifold, torch.randn(8, dim, dtype=torch.float64) / 2)

        def mean_at_the_origin(points, manifold=manifold):
            return exp0(manifold, log0(manifold, points).mean(0, keepdim=True))

        if linear:
            assert_equivariant(manifold, mean_at_the_origin, z)
        else:
            with pytest.raises(AssertionError, match=r"row 0: distance of f\(gz\) and g f\(z\), a translation, is"):
                assert_equivariant(manifold, mean_at_the_origin, z)
        assert_equivariant(manifold, lambda points: points, z)
        with pytest.raises(AssertionError, match="a turn"):
            assert_equivariant(manifold, lambda points, still=z: still, z)
