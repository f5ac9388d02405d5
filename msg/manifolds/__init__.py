"""Manifolds: geoopt's own, and the free functions that move points on them.

``E32`` Euclidean, ``H32`` hyperboloid, ``S32`` sphere, ``P32`` Poincaré ball, ``U32`` κ-stereographic and ``L32``
hyperboloid with learnable curvature, products such as ``H16xS16``. The number is the intrinsic dimension on every
manifold. A kind of manifold is one value of :class:`Family`; :func:`register_family` adds yours.
"""

from msg.manifolds.family import Family
from msg.manifolds.hyperboloid import LearnedLorentz
from msg.manifolds.lookup import chart, curvature, family, register_family
from msg.manifolds.signature import parse_signature, resolve
from msg.manifolds.steps import (
    ambient_dim,
    bound_length,
    distance,
    exp0,
    log0,
    max_radius,
    move,
    origin,
    path,
    squared_distance,
    transport0,
)
from msg.manifolds.switch import checks

__all__ = [
    "Family",
    "LearnedLorentz",
    "ambient_dim",
    "bound_length",
    "chart",
    "checks",
    "curvature",
    "distance",
    "exp0",
    "family",
    "log0",
    "max_radius",
    "move",
    "origin",
    "parse_signature",
    "path",
    "register_family",
    "resolve",
    "squared_distance",
    "transport0",
]
