"""From a signature such as ``"H16xS16"`` to a geoopt manifold and its intrinsic dimension."""

import re
from typing import Any

import geoopt
import torch

from msg.manifolds import product
from msg.manifolds.families import family


def _curvature(value: float) -> Any:
    """In float64, like the points: geoopt's checks refuse to compare dtypes."""
    return torch.tensor(value, dtype=torch.float64)


_FACTORS = {
    "E": lambda: geoopt.Euclidean(1),
    "H": lambda: geoopt.Lorentz(k=_curvature(1.0)),
    "S": geoopt.Sphere,
    "P": lambda: geoopt.PoincareBall(c=_curvature(1.0)),
    "U": lambda: geoopt.Stereographic(k=_curvature(0.0), learnable=True),
}
_SYNTAX = (
    "a signature is factors joined by 'x', each a letter and its dimension: E (Euclidean), H (hyperboloid), "
    "S (sphere), P (Poincaré ball), U (κ-stereographic, learnable curvature); for example 'H32', 'H16xS16'"
)


def parse_signature(signature: str) -> tuple[geoopt.Manifold, int]:
    """Build the manifold that a signature names.

    Args:
        signature: factors joined by ``x``, each a letter of ``E H S P U`` and its intrinsic dimension.

    Returns:
        The geoopt manifold (a :class:`geoopt.ProductManifold` for more than one factor) and its intrinsic dimension.
        Curvatures start at -1 (``H``, ``P``), 1 (``S``), and 0 (``U``, which learns it).

    Raises:
        ValueError: if the signature does not parse.
    """
    factors = signature.replace("×", "x").split("x")
    matches = [re.fullmatch(r"([EHSPU])([1-9]\d*)", factor) for factor in factors]
    if any(match is None for match in matches):
        raise ValueError(f"unknown manifold {signature!r}: {_SYNTAX}")
    parts = [(_FACTORS[match[1]](), int(match[2])) for match in matches if match]
    if len(parts) == 1:
        return parts[0]
    sizes = [(manifold, family(manifold).ambient_dim(dim)) for manifold, dim in parts]
    return geoopt.ProductManifold(*sizes), sum(dim for _, dim in parts)


def resolve(manifold: str | geoopt.Manifold, dim: int | None = None) -> tuple[geoopt.Manifold, int]:
    """Accept a signature, or any supported geoopt manifold with its intrinsic dimension.

    Raises:
        ValueError: if the dimension is missing or contradicts the manifold.
        TypeError: if the manifold is of a kind without an origin and a transport here.
    """
    if dim is not None and dim < 1:
        raise ValueError(f"hidden_channels must be at least 1, not {dim}")
    if isinstance(manifold, str):
        instance, own = parse_signature(manifold)
    else:
        instance, own = manifold, None
        if isinstance(manifold, geoopt.ProductManifold):
            own = product.intrinsic_dim(manifold)
        else:
            family(manifold)  # raises for kinds without steps
    if own is None and dim is None:
        raise ValueError(f"{type(manifold).__name__} has no fixed dimension: pass hidden_channels as well")
    if own is not None and dim is not None and own != dim:
        raise ValueError(f"hidden_channels={dim} contradicts the dimension {own} of {manifold!r}: leave it out")
    return instance, own if own is not None else int(dim or 0)
