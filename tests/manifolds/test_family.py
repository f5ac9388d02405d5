"""Every kind of manifold is one value, whoever defines it."""

from collections import Counter

import geoopt
import pytest
import torch

from msg.energy import geometry
from msg.manifolds import (
    Family,
    chart,
    curvature,
    distance,
    exp0,
    family,
    log0,
    move,
    parse_signature,
    register_family,
    resolve,
    transport0,
)
from msg.manifolds.euclidean import EUCLIDEAN
from msg.manifolds.hyperboloid import HYPERBOLOID, Hyperboloid
from msg.manifolds.lookup import PRODUCT
from msg.manifolds.sphere import SPHERE
from msg.manifolds.stereographic import POINCARE_BALL, STEREOGRAPHIC
from msg.manifolds.trigonometry import norm, squared_norm
from msg.names import MANIFOLDS
from msg.nn import MSG
from msg.testing import assert_isometric, assert_on_manifold


@pytest.mark.parametrize(
    ("manifold", "expected"),
    [
        (geoopt.Euclidean(1), EUCLIDEAN),
        (geoopt.Lorentz(), HYPERBOLOID),
        (geoopt.Sphere(), SPHERE),
        (geoopt.SphereExact(), SPHERE),
        (geoopt.Stereographic(), STEREOGRAPHIC),
        (geoopt.PoincareBall(), POINCARE_BALL),
        (geoopt.PoincareBallExact(), POINCARE_BALL),
        (geoopt.SphereProjection(), STEREOGRAPHIC),
        (geoopt.ProductManifold((geoopt.Sphere(), 3)), PRODUCT),
        (geoopt.StereographicProductManifold((geoopt.PoincareBall(), 3)), PRODUCT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_family(manifold, expected):
    assert family(manifold) is expected


def test_unknown_manifolds_are_refused_by_name():
    with pytest.raises(TypeError, match=r"Stiefel.*Euclidean, Lorentz, Sphere, PoincareBall, Stereographic"):
        family(geoopt.Stiefel())


def test_a_product_may_have_products_as_factors():
    inner = parse_signature("H2xS2")[0]
    nested = geoopt.ProductManifold((inner, 6), (geoopt.Euclidean(1), 1))
    flat, dim = parse_signature("H2xS2xE1")
    assert resolve(nested) == (nested, dim)
    z, v = (torch.nn.functional.normalize(torch.randn(4, dim, dtype=torch.float64)) for _ in range(2))
    z = exp0(flat, z)
    for function in (move, transport0):
        torch.testing.assert_close(function(nested, z, v), function(flat, z, v))
    torch.testing.assert_close(log0(nested, z), log0(flat, z))
    torch.testing.assert_close(distance(nested, z, z.roll(1, 0)), distance(flat, z, z.roll(1, 0)))
    assert geometry.move(nested, dim) == geometry.move(flat, dim)
    assert_isometric(nested, z, v)
    with pytest.raises(ValueError, match="off the manifold"):
        log0(nested, 2 * z)


# ------------------------------------------------------------------------------------ curvature and chart


@pytest.mark.parametrize(
    ("manifold", "kappa", "picture"),
    [
        (geoopt.Euclidean(1), 0.0, "plane"),
        (geoopt.Lorentz(k=4.0), -0.25, "disk"),
        (geoopt.Sphere(), 1.0, "sphere"),
        (geoopt.PoincareBall(c=2.0), -2.0, "disk"),
        (geoopt.Stereographic(k=0.0), 0.0, "plane"),
        (geoopt.Stereographic(k=-0.25, learnable=True), -0.25, "disk"),
        (geoopt.SphereProjection(k=0.5), 0.5, "sphere"),
        (parse_signature("H2xH2")[0], 0.0, "plane"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_curvature_and_chart(manifold, kappa, picture):
    assert isinstance(curvature(manifold), float)
    assert curvature(manifold) == pytest.approx(kappa, rel=1e-6)
    assert chart(manifold) == picture


# ------------------------------------------------------------------------------------ a family of one's own


class Stretched(geoopt.Euclidean):
    """Flat space with the metric ``s^2 dx^2``: a class of manifolds as a user may have it."""

    def __init__(self, stretch):
        super().__init__(1)
        self.stretch = stretch

    def inner(self, x, u, v=None, *, keepdim=False):
        return self.stretch**2 * (u * (u if v is None else v)).sum(-1, keepdim=keepdim)


class StretchedFamily(Family[Stretched]):
    """Everything the library wants to know of it, in one value."""

    def curvature(self, manifold):
        return 0.0

    def ambient_dim(self, manifold, dim):
        return dim

    def max_radius(self, manifold):
        return float("inf")

    def origin(self, manifold, dim, dtype, device):
        return torch.zeros(dim, dtype=dtype, device=device)

    def exp0(self, manifold, v):
        return v / manifold.stretch

    def log0(self, manifold, z):
        return z * manifold.stretch

    def transport0(self, manifold, z, v):
        return torch.broadcast_tensors(v / manifold.stretch, z)[0]

    def move(self, manifold, z, v):
        return z + v / manifold.stretch

    def distance(self, manifold, x, y):
        return manifold.stretch * norm(x - y)

    def squared_distance(self, manifold, x, y):
        return manifold.stretch**2 * squared_norm(x - y)

    def move_operations(self, manifold, dim):
        return Counter({"multiply_accumulate": dim})

    def log0_operations(self, manifold, dim):
        return Counter({"multiply": dim})


STRETCHED = StretchedFamily("stretched", Stretched, lambda: Stretched(2.0))


@pytest.fixture
def stretched():
    register_family("X", STRETCHED)
    yield STRETCHED
    MANIFOLDS.remove("X")


def test_a_registered_family_is_known_everywhere(stretched):
    manifold, dim = parse_signature("X3")
    assert family(manifold) is stretched  # although Euclidean serves its superclass
    assert resolve(manifold, 3) == (manifold, dim)
    z, v = exp0(manifold, torch.randn(5, dim)), torch.randn(5, dim)
    assert z.dtype == torch.float32
    assert_on_manifold(manifold, z)
    assert_isometric(manifold, z, v)
    torch.testing.assert_close(log0(manifold, move(manifold, z, v)), log0(manifold, z) + v)
    torch.testing.assert_close(distance(manifold, z, move(manifold, z, v)), v.norm(dim=-1))
    assert geometry.move(manifold, 3) == Counter({"multiply_accumulate": 3})
    assert geometry.log0(manifold, 3) == Counter({"multiply": 3})
    assert (curvature(manifold), chart(manifold)) == (0.0, "plane")
    with pytest.raises(ValueError, match=r"P \(Poincaré ball\).*X \(stretched\)"):
        parse_signature("Y3")


def test_a_registered_family_is_a_factor(stretched):
    manifold, dim = parse_signature("H2xX3")
    z, v = exp0(manifold, torch.randn(5, dim, dtype=torch.float64)), torch.randn(5, dim, dtype=torch.float64)
    assert_on_manifold(manifold, z)
    assert_isometric(manifold, z, v)
    hyperbolic = parse_signature("H2")[0]
    assert geometry.move(manifold, 5) == geometry.move(hyperbolic, 2) + Counter({"multiply_accumulate": 3})


def test_a_model_trains_on_a_registered_family(stretched, edge_index):
    model = MSG(4, 2, "X3", timesteps=3)
    model(torch.rand(7, 4), edge_index).sum().backward()
    assert model.head.lin.weight.grad.abs().sum() > 0


def test_a_family_that_was_removed_is_unknown(stretched):
    manifold = parse_signature("X3")[0]
    MANIFOLDS.remove("X")
    try:
        assert family(manifold) is EUCLIDEAN
        with pytest.raises(ValueError, match="unknown manifold 'X3'"):
            parse_signature("X3")
    finally:
        register_family("X", stretched)


def test_of_two_families_for_one_class_the_first_registered_counts():
    register_family("X", Hyperboloid("wide hyperboloid", geoopt.Lorentz, lambda: geoopt.Lorentz(k=4.0)))
    try:
        manifold, _ = parse_signature("X3")
        assert curvature(manifold) == -0.25
        assert family(manifold) is HYPERBOLOID
    finally:
        MANIFOLDS.remove("X")


@pytest.mark.parametrize("missing", sorted(Family.__abstractmethods__))
def test_a_method_that_is_missing_is_missed_at_once(missing):
    body = {name: getattr(StretchedFamily, name) for name in Family.__abstractmethods__ - {missing}}
    incomplete = type("Incomplete", (Family,), body)
    with pytest.raises(TypeError, match=missing):
        incomplete("incomplete", Stretched, Stretched)


def test_what_is_no_family_is_refused():
    with pytest.raises(TypeError, match="no class"):
        StretchedFamily("stretched", Stretched(1.0), lambda: Stretched(2.0))  # pyright: ignore
    with pytest.raises(TypeError, match="make must be"):
        StretchedFamily("stretched", Stretched, 2.0)  # pyright: ignore
    with pytest.raises(TypeError, match="register a value"):
        register_family("X", StretchedFamily)  # pyright: ignore
    for letter in ("x", "XY", "", "1", "É"):
        with pytest.raises(ValueError, match="one letter from A to Z"):
            register_family(letter, STRETCHED)
    with pytest.raises(ValueError, match="exists already"):
        register_family("H", STRETCHED)
    MANIFOLDS.register("X", StretchedFamily)
    try:
        with pytest.raises(TypeError, match="register a value"):
            resolve("H3")
    finally:
        MANIFOLDS.remove("X")
