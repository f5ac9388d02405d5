"""From a manifold to its family: by the most specific class that :data:`msg.names.MANIFOLDS` knows."""

import re
from typing import Any

import geoopt

from msg.manifolds.family import Family
from msg.manifolds.product import Product
from msg.manifolds.scaled import Scaled
from msg.manifolds.spd import SPD
from msg.manifolds.switch import checked
from msg.names import MANIFOLDS


def letters() -> dict[str, Family[Any]]:
    """Every family by its letter.

    Raises:
        TypeError: if something else is registered as one.
    """
    return {letter: _family(value) for letter, value in MANIFOLDS.items()}


def find(manifold: geoopt.Manifold) -> Family[Any] | None:
    """The family of a manifold, ``None`` if it has none; of two for one class, the first registered."""
    known = _by_class()
    return next((known[kind] for kind in type(manifold).__mro__ if kind in known), None)


_known: tuple[int, dict[type, Family[Any]]] = -1, {}


def _by_class() -> dict[type, Family[Any]]:
    """Families by their classes, put together when another is known than before: every step looks for one."""
    global _known
    changes = MANIFOLDS.changes
    if _known[0] != changes:
        found: dict[type, Family[Any]] = {}
        for family in (*letters().values(), PRODUCT, SCALED, MATRICES):
            found.setdefault(family.kind, family)
        _known = changes, found
    return _known[1]


def family(manifold: geoopt.Manifold) -> Family[Any]:
    """The family of a manifold, which is checked to be one of those that its formulas hold on.

    Raises:
        TypeError: if it has none.
        ValueError: for a curvature that is not a number or impossible, or a part of a sphere, unless
            :class:`~msg.manifolds.checks` are off.
    """
    found = find(manifold)
    if found is None:
        kinds = ", ".join(family.kind.__name__ for family in letters().values())
        raise TypeError(
            f"no steps are known for {type(manifold).__name__}: use {kinds}, a subclass, a ProductManifold or "
            "Scaled of these, or register a family of its own (msg.manifolds.register_family), a GeooptFamily for a "
            "manifold of vectors"
        )
    if checked():
        found.check(manifold)
    return found


def register_family(letter: str, family: Family[Any]) -> None:
    """Make a family known to signatures, models, energy counts, assertions and pictures.

    Args:
        letter: one of ``A`` to ``Z``, for signatures; ``msg.names.MANIFOLDS.remove(letter)`` forgets it.
        family: a value, not a class.

    Raises:
        ValueError: if the letter is taken or none.
        TypeError: if ``family`` is no :class:`Family`.
    """
    if not re.fullmatch("[A-Z]", letter):
        raise ValueError(f"{letter!r} cannot stand for a manifold in a signature: use one letter from A to Z")
    MANIFOLDS.register(letter, _family(family))


def _family(value: Any) -> Family[Any]:
    if not isinstance(value, Family):
        raise TypeError(f"{value!r} cannot be registered as a manifold: register a value of a subclass of Family")
    return value


def curvature(manifold: geoopt.Manifold) -> float:
    """Sectional curvature; 0 for a product, whose is not constant."""
    return family(manifold).curvature(manifold)


def chart(manifold: geoopt.Manifold) -> str:
    """How a picture shows it: ``"plane"``, ``"disk"`` (Poincaré's) or ``"sphere"``."""
    return family(manifold).chart(manifold)


PRODUCT = Product("product", geoopt.ProductManifold, geoopt.ProductManifold, family)
"""The family of products. It has no letter: a signature joins factors by ``x``."""

SCALED = Scaled("scaled", geoopt.Scaled, geoopt.Scaled, family)
"""The family of scaled manifolds. It has no letter: scale a manifold that a letter names."""

MATRICES = SPD("symmetric positive definite", geoopt.SymmetricPositiveDefinite, geoopt.SymmetricPositiveDefinite)
"""The family of symmetric positive definite matrices. It has no letter: few numbers of dimensions are theirs."""
