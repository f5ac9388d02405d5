"""Which module holds the mathematics of which geoopt manifold: the one place to name a new family."""

from types import ModuleType

import geoopt

from msg.manifolds import embedded, euclidean, stereographic

FAMILIES: dict[type, ModuleType] = {
    geoopt.Euclidean: euclidean,
    geoopt.Lorentz: embedded,
    geoopt.Sphere: embedded,
    geoopt.Stereographic: stereographic,
}


def family(manifold: geoopt.Manifold) -> ModuleType:
    """The module with ``origin, exp0, log0, transport0, move, distance`` for this kind of manifold.

    Raises:
        TypeError: if the manifold has no such module.
    """
    for kind, module in FAMILIES.items():
        if isinstance(manifold, kind):
            return module
    known = ", ".join(kind.__name__ for kind in FAMILIES)
    raise TypeError(f"no steps are known for {type(manifold).__name__}: use {known}, a subclass, or a ProductManifold")
