import geoopt
import pytest
import torch

from msg.manifolds import ambient_dim, parse_signature, resolve
from msg.manifolds.lookup import PRODUCT


@pytest.mark.parametrize(
    ("signature", "kind", "dim", "ambient", "curvature"),
    [
        ("E32", geoopt.Euclidean, 32, 32, None),
        ("H32", geoopt.Lorentz, 32, 33, 1.0),
        ("S7", geoopt.Sphere, 7, 8, None),
        ("P10", geoopt.PoincareBall, 10, 10, -1.0),
        ("U1", geoopt.Stereographic, 1, 1, 0.0),
    ],
)
def test_one_factor(signature, kind, dim, ambient, curvature):
    manifold, size = parse_signature(signature)
    assert type(manifold) is kind
    assert size == dim
    assert ambient_dim(manifold, dim) == ambient
    if curvature is not None:
        assert float(manifold.k.detach()) == curvature
        assert manifold.k.dtype == torch.float64


@pytest.mark.parametrize("signature", ["H16xS8", "H16×S8"])
def test_product(signature):
    manifold, dim = parse_signature(signature)
    assert isinstance(manifold, geoopt.ProductManifold)
    assert [type(factor) for factor in manifold.manifolds] == [geoopt.Lorentz, geoopt.Sphere]
    assert dim == 24
    assert PRODUCT.fixed_dim(manifold) == 24
    assert [(points, tangent) for _, _, points, tangent in PRODUCT.factors(manifold)] == [
        (slice(0, 17), slice(0, 16)),
        (slice(17, 26), slice(16, 24)),
    ]
    assert ambient_dim(manifold, dim) == 17 + 9


def test_only_the_curvature_of_u_is_learned():
    learned = [name for name, p in parse_signature("E2xH2xS2xP2xU2")[0].named_parameters() if p.requires_grad]
    assert len(learned) == 1
    assert len([p for p in parse_signature("U2")[0].parameters() if p.requires_grad]) == 1


def test_each_call_makes_a_new_manifold():
    assert parse_signature("U2")[0] is not parse_signature("U2")[0]


@pytest.mark.parametrize(
    "bad", ["", "H", "32", "H0", "H-1", "X32", "h32", "H32x", "xH32", "H16 x S16", "H16,S16", "H1.5"]
)
def test_a_bad_signature_is_named_and_explained(bad):
    with pytest.raises(ValueError, match="H16xS16") as caught:
        parse_signature(bad)
    assert repr(bad) in str(caught.value)


def test_resolve_takes_signatures_and_manifolds():
    manifold, dim = resolve("H16xS8")
    assert resolve(manifold) == (manifold, dim)
    assert resolve(manifold, 24) == (manifold, 24)
    assert resolve("H8", 8)[1] == 8
    lorentz = geoopt.Lorentz(k=2.0)
    assert resolve(lorentz, 5) == (lorentz, 5)


def test_resolve_refuses():
    with pytest.raises(ValueError, match="hidden_channels"):
        resolve(geoopt.Lorentz())
    with pytest.raises(ValueError, match=r"contradicts the dimension 8 of manifold='H8': say it there, as in H9"):
        resolve("H8", 9)
    with pytest.raises(ValueError, match="contradicts the dimension 24 of manifold='H4xS20': leave it out"):
        resolve("H4xS20", 16)
    with pytest.raises(ValueError, match="contradicts the dimension 24"):
        resolve(parse_signature("H16xS8")[0], 16)
    with pytest.raises(TypeError, match="Stiefel"):
        resolve(geoopt.Stiefel(), 4)
    with pytest.raises(TypeError, match="Stiefel"):
        resolve(geoopt.Scaled(geoopt.Stiefel()), 4)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        resolve(geoopt.ProductManifold((geoopt.Euclidean(2), (2, 3)), (geoopt.Sphere(), 3)))


@pytest.mark.parametrize("bad", [0, -3])
def test_resolve_refuses_an_impossible_dimension(bad):
    with pytest.raises(ValueError, match=str(bad)):
        resolve(geoopt.Lorentz(), bad)


def test_stereographic_product_is_a_product():
    manifold = geoopt.StereographicProductManifold((geoopt.PoincareBall(), 3), (geoopt.SphereProjection(), 2))
    assert resolve(manifold) == (manifold, 5)
