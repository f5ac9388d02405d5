import geoopt
import pytest

from msg.manifolds import embedded, euclidean, product, stereographic
from msg.manifolds.families import FAMILIES, family

NAMES = ["distance", "exp0", "log0", "max_radius", "move", "origin", "transport0"]


@pytest.mark.parametrize(
    ("manifold", "module"),
    [
        (geoopt.Euclidean(1), euclidean),
        (geoopt.Lorentz(), embedded),
        (geoopt.Sphere(), embedded),
        (geoopt.Stereographic(), stereographic),
        (geoopt.PoincareBall(), stereographic),
        (geoopt.PoincareBallExact(), stereographic),
        (geoopt.SphereProjection(), stereographic),
    ],
    ids=lambda value: type(value).__name__,
)
def test_family(manifold, module):
    assert family(manifold) is module


@pytest.mark.parametrize("module", sorted({product, *FAMILIES.values()}, key=lambda module: module.__name__))
def test_every_family_has_every_function(module):
    assert [name for name in NAMES if not callable(getattr(module, name, None))] == []


def test_unknown_manifolds_are_refused_by_name():
    with pytest.raises(TypeError, match=r"Stiefel.*Euclidean, Lorentz, Sphere, Stereographic"):
        family(geoopt.Stiefel())
