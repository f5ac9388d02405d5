"""From a signature such as ``"H16xS16"`` to a geoopt manifold and its intrinsic dimension."""

import re

import geoopt

from msg.manifolds.lookup import PRODUCT, family, letters
from msg.sizes import check_sizes


def _syntax() -> str:
    names = ", ".join(f"{letter} ({family.name})" for letter, family in letters().items())
    return (
        f"a signature is factors joined by 'x', each a letter and its dimension: {names}; for example 'H32', 'H16xS16'"
    )


def parse_signature(signature: str) -> tuple[geoopt.Manifold, int]:
    """Build the manifold that a signature names.

    Args:
        signature: factors joined by ``x``, each a letter of :data:`msg.names.MANIFOLDS` (``E H S P U L`` and any that
            :func:`~msg.manifolds.register_family` added) and its intrinsic dimension.

    Returns:
        The geoopt manifold (a :class:`geoopt.ProductManifold` for more than one factor) and its intrinsic dimension.
        Curvatures start at -1 (``H``, ``P``, and ``L``, which learns it), 1 (``S``), and 0 (``U``, which learns it).

    Raises:
        ValueError: if the signature does not parse.
    """
    families, parts = letters(), []
    for factor in signature.replace("×", "x").split("x"):
        match = re.fullmatch(r"([A-Z])([1-9]\d*)", factor)
        if match is None or match[1] not in families:
            raise ValueError(f"unknown manifold {signature!r}: {_syntax()}")
        parts.append((families[match[1]], int(match[2])))
    manifolds = [(own.make(), own, dim) for own, dim in parts]
    if len(manifolds) == 1:
        manifold, _, dim = manifolds[0]
        return manifold, dim
    sizes = [(manifold, own.ambient_dim(manifold, dim)) for manifold, own, dim in manifolds]
    return PRODUCT.make(*sizes), sum(dim for _, _, dim in manifolds)


def resolve(manifold: str | geoopt.Manifold, dim: int | None = None) -> tuple[geoopt.Manifold, int]:
    """Accept a signature, or any supported geoopt manifold with its intrinsic dimension.

    Raises:
        ValueError: if the dimension is missing or not the manifold's, or the manifold cannot be one: a curvature
            that is not a number, a hyperboloid whose is not negative, a part of a sphere.
        TypeError: if the manifold has no :class:`~msg.manifolds.Family`.
    """
    if dim is not None:
        check_sizes(hidden_channels=dim)
    instance, own = parse_signature(manifold) if isinstance(manifold, str) else (manifold, None)
    known = family(instance)
    own = own or known.fixed_dim(instance)
    if own is None and dim is None:
        raise ValueError(f"{type(manifold).__name__} has no fixed dimension: pass hidden_channels as well")
    if own is not None and dim is not None and own != dim:
        letter = manifold.rstrip("0123456789") if isinstance(manifold, str) else ""
        mend = f"say it there, as in {letter}{dim}" if letter.isalpha() else "leave it out"
        raise ValueError(f"hidden_channels={dim} contradicts the dimension {own} of manifold={manifold!r}: {mend}")
    size = own if own is not None else int(dim or 0)
    known.ambient_dim(instance, size)  # some manifolds have few numbers of dimensions
    return instance, size
