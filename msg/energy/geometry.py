r"""Operations of a node's step on a manifold, as the formulas of :mod:`msg.manifolds` need them, by kind.

A node has ``d`` channels on a space of radius one; constants such as the curvature are folded into others. Dot products
are multiply-accumulates; a scaling, multiplications; a root, a quotient and every function, ``transcendental``. Series
near the origin, and both branches of a ``where``, are how it is computed here, not what it costs. What a step on a
manifold costs is said by its :class:`~msg.manifolds.Family`.
"""

from collections import Counter

import geoopt

from msg.energy.counts import Count
from msg.manifolds import family
from msg.manifolds.lookup import PRODUCT


def bound(dim: int) -> Counter[str]:
    r"""Bounding the length of a step, :math:`\tanh(|v|/b)\,b\,v/|v|`.

    :math:`|v|^2`, one scaling by :math:`b^{-2}`, root, tanh, quotient, scaling.
    """
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
        TypeError: for a manifold without a family.
    """
    return family(manifold).move_operations(manifold, dim)


def exp0(manifold: geoopt.Manifold, dim: int) -> Counter[str]:
    """One step from the origin, whose zeros are skipped.

    Raises:
        TypeError: for a manifold without a family.
    """
    return family(manifold).exp0_operations(manifold, dim)


def moves(manifold: geoopt.Manifold, dim: int, first: int, others: int, nodes: int) -> Count:
    """Steps of each node, so many from the origin, whose zeros are skipped unless all is dense, and from elsewhere.

    Raises:
        TypeError: for a manifold without a family.
    """
    step = move(manifold, dim)
    skipped = times(exp0(manifold, dim), nodes * first) + times(step, nodes * others)
    return Count(skipped, times(step, nodes * (first + others)))


def log0(manifold: geoopt.Manifold, dim: int) -> Counter[str]:
    """The tangent vector at the origin that points to a point.

    Raises:
        TypeError: for a manifold without a family.
    """
    return family(manifold).log0_operations(manifold, dim)


def mean(manifold: geoopt.Manifold, dim: int, points: int, means: int) -> Counter[str]:
    """Means of so many points in closed form, see :func:`msg.manifolds.centroid`; a weight's scale does not matter.

    Flat space: sums, a quotient and its product. Hyperboloid, sphere: sums, a length (squares, root), a quotient,
    scaling. Ball, κ-stereographic: of each point the conformal factor (squares, quotient) and its product with it,
    sums; then squares, root, sum, quotient, scaling.

    Raises:
        TypeError: for a manifold without a closed form.
    """
    if isinstance(manifold, geoopt.ProductManifold):
        factors = PRODUCT.factors(manifold)
        return sum((mean(factor.manifold, factor.dim, points, means) for factor in factors), Counter())
    if isinstance(manifold, geoopt.Scaled):
        return mean(manifold.base, dim, points, means)  # pyright: ignore[reportArgumentType]
    if isinstance(manifold, geoopt.Euclidean):
        each, after = {"accumulate": dim}, {"multiply": dim, "transcendental": 1}
    elif isinstance(manifold, geoopt.Lorentz | geoopt.Sphere):
        each = {"accumulate": dim + 1}
        after = {"multiply_accumulate": dim + 1, "multiply": dim + 1, "transcendental": 2}
    elif isinstance(manifold, geoopt.Stereographic):
        each = {"multiply_accumulate": dim, "transcendental": 1, "multiply": dim, "accumulate": dim + 1}
        after = {"multiply_accumulate": dim + 1, "accumulate": 1, "multiply": dim, "transcendental": 2}
    else:
        raise TypeError(f"no mean in closed form is known for {type(manifold).__name__}")
    return times(Counter(each), points) + times(Counter(after), means)
