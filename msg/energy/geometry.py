r"""Operations of a node's step on a manifold, as the formulas of :mod:`msg.manifolds` need them, by kind.

A node has ``d`` channels on a space of radius one; constants such as the curvature are folded into others. Dot products
are multiply-accumulates; a scaling, multiplications; a root, a quotient and every function, ``transcendental``. Series
near the origin, and both branches of a ``where``, are how it is computed here, not what it costs. So

- **bound** :math:`\tanh(|v|/b)\,b\,v/|v|`: :math:`|v|^2`, one scaling by :math:`b^{-2}`, root, tanh, quotient, scaling;
- **hyperboloid** :math:`\exp_z PT_{o \to z} v`: :math:`|v|^2`, :math:`\langle\bar z, v\rangle`, the combination of
  :math:`v` and :math:`\bar z`, :math:`|\bar z'|^2` (it gives :math:`z_0'` and is compared with the radius bound); root,
  cosh, sinh, two quotients, root;
- **sphere**: the same with cos and sin, :math:`z_0'` itself, and the normalisation;
- **stereographic**: :math:`z \oplus_\kappa \exp_o v` and the radius bound;
- **flat**: an addition;
- **logarithm**: length, arsinh, atan2 or artanh, quotient, scaling.
"""

from collections import Counter

import geoopt

from msg.manifolds import product


def bound(dim: int) -> Counter[str]:
    """Bounding the length of a step."""
    return Counter({"multiply_accumulate": dim, "multiply": dim + 1, "transcendental": 3})


def step(dim: int, bounded: bool) -> Counter[str]:
    """From a current to a step: the step size, and the bound on its length."""
    return Counter({"multiply": dim}) + (bound(dim) if bounded else Counter())


def times(counts: Counter[str], number: int) -> Counter[str]:
    """The same ``number`` times."""
    return Counter({kind: number * count for kind, count in counts.items()})


def move(manifold: geoopt.Manifold, dim: int) -> Counter[str]:
    """One step from a point along a vector at the origin.

    Raises:
        TypeError: for a manifold that is not known here.
    """
    d = dim
    if isinstance(manifold, geoopt.ProductManifold):
        return sum((move(f, t.stop - t.start) for f, _, t in product.factors(manifold)), Counter())
    if isinstance(manifold, geoopt.Euclidean):
        return Counter({"accumulate": d})
    if isinstance(manifold, geoopt.Lorentz):
        return Counter(
            {"multiply_accumulate": 4 * d, "multiply": d + 1, "accumulate": 3, "comparison": 1, "transcendental": 6}
        )
    if isinstance(manifold, geoopt.Sphere):
        return Counter(
            {
                "multiply_accumulate": 4 * d + 2,
                "multiply": 2 * d + 2,
                "accumulate": 2,
                "comparison": 1,
                "transcendental": 7,
            }
        )
    if isinstance(manifold, geoopt.Stereographic):
        return Counter({"multiply_accumulate": 6 * d + 4, "multiply": 2 * d + 4, "comparison": 2, "transcendental": 5})
    raise TypeError(f"no counts are known for {type(manifold).__name__}")


def log0(manifold: geoopt.Manifold, dim: int) -> Counter[str]:
    """The tangent vector at the origin that points to a point."""
    if isinstance(manifold, geoopt.ProductManifold):
        return sum((log0(f, t.stop - t.start) for f, _, t in product.factors(manifold)), Counter())
    if isinstance(manifold, geoopt.Euclidean):
        return Counter()
    stereographic = isinstance(manifold, geoopt.Stereographic)
    scalings = dim + 2 if stereographic else dim
    counts = {"multiply_accumulate": dim, "multiply": scalings, "transcendental": 3, "comparison": int(stereographic)}
    return Counter(counts)
