"""Manifolds: geoopt's own, and the free functions that move points on them.

``E32`` Euclidean, ``H32`` hyperboloid, ``S32`` sphere, ``P32`` Poincaré ball, ``U32`` κ-stereographic and ``L32``
hyperboloid with learnable curvature, products such as ``H16xS16``. The number is the intrinsic dimension on every
manifold. A kind of manifold is one value of :class:`Family`; :func:`register_family` adds yours.
"""

import geoopt
import torch
from geoopt.manifolds.symmetric_positive_definite import SPDMetric
from torch.serialization import add_safe_globals

from msg.manifolds.family import Family
from msg.manifolds.general import GeooptFamily
from msg.manifolds.gyro import gyromidpoint, gyroplane_logits
from msg.manifolds.hyperboloid import LearnedLorentz
from msg.manifolds.lookup import chart, curvature, family, register_family
from msg.manifolds.lorentz import (
    lorentz_centroid,
    lorentz_inner,
    squared_lorentzian_distance,
    squared_lorentzian_distances,
)
from msg.manifolds.means import Groups, centroid, frechet_mean
from msg.manifolds.product import PowerManifold
from msg.manifolds.pseudo_hyperboloid import PseudoHyperboloid
from msg.manifolds.signature import parse_signature, resolve
from msg.manifolds.steps import (
    ambient_dim,
    bound_length,
    distance,
    exp0,
    inner_products,
    log0,
    max_radius,
    move,
    origin,
    path,
    squared_distance,
    squared_distances,
    transport0,
)
from msg.manifolds.switch import checks

__all__ = [
    "Family",
    "GeooptFamily",
    "Groups",
    "LearnedLorentz",
    "PowerManifold",
    "PseudoHyperboloid",
    "ambient_dim",
    "bound_length",
    "centroid",
    "chart",
    "checks",
    "curvature",
    "distance",
    "exp0",
    "family",
    "frechet_mean",
    "gyromidpoint",
    "gyroplane_logits",
    "inner_products",
    "log0",
    "lorentz_centroid",
    "lorentz_inner",
    "max_radius",
    "move",
    "origin",
    "parse_signature",
    "path",
    "register_family",
    "resolve",
    "squared_distance",
    "squared_distances",
    "squared_lorentzian_distance",
    "squared_lorentzian_distances",
    "transport0",
]

# as neurons, see msg.neurons; a product is a list of modules and of slices
add_safe_globals(
    [
        *(geoopt.Euclidean, geoopt.Lorentz, geoopt.PoincareBall, geoopt.ProductManifold, geoopt.Sphere),
        *(geoopt.SphereProjection, geoopt.Stereographic, LearnedLorentz, torch.nn.ModuleList, slice),
        *(geoopt.StereographicProductManifold, geoopt.SymmetricPositiveDefinite, PowerManifold, SPDMetric),
    ]
)
