"""Numbers that compiled loops and their twins in :mod:`msg.manifolds` have in common."""

import math

HYPERBOLIC_RADIUS = 10.0
"""Radius bound where the curvature is -1: distances there are good to 1e-7 in float64 (the error grows as e^{2r})."""
SPHERICAL_RADIUS = 0.9 * math.pi
"""Radius bound where it is 1: at the antipode log0 and transport are singular; at 0.9 pi their derivative is 9."""
LARGEST = 1e150
"""The square of anything longer overflows float64."""
NEAREST = 1e-30
"""A point nearer to the antipode is read as one that far from it: derivatives, up to pi over it, stay finite."""
TINY = 1e-30
"""Stands in for what must not divide by zero."""
NEAR_ZERO = 1e-3
"""Inside this radius the series of the derivatives are exact to float64."""
RIM = math.ulp(1.0) - 1
"""Curvature times squared length of the last point inside the Poincaré ball; one on its boundary, where rounding can
put it, is read as that.
"""
BACK = -0.97
"""Cosine of 0.92 pi, beyond every point that moves on a sphere: near pi, 1 + cos holds no digits."""

TERMS = 6
# series of the quotients; only their derivatives are evaluated, where the closed forms are 0/0
SINC = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(TERMS))
TANC = (1.0, 1 / 3, 2 / 15, 17 / 315, 62 / 2835, 1382 / 155925)
ARCTANC = tuple((-1) ** k / (2 * k + 1) for k in range(TERMS))
ARCSINHC = tuple(
    (-1) ** k * math.factorial(2 * k) / (4**k * math.factorial(k) ** 2 * (2 * k + 1)) for k in range(TERMS)
)

EUCLIDEAN, HYPERBOLOID, SPHERE, STEREOGRAPHIC, INNER_PRODUCT, CHORD = range(6)
"""Kinds of factors in the kernels' table of a manifold; by the last two, pairs of vectors are scored alone."""
