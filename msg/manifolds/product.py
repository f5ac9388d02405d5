"""Products (:class:`geoopt.ProductManifold`): factor by factor, coordinates side by side."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import geoopt
import torch
from torch import Tensor

from msg.manifolds.family import Family
from msg.manifolds.trigonometry import norm


class Factor(NamedTuple):
    """One factor of a product.

    Attributes:
        manifold: the factor itself.
        family: its own.
        points: its coordinates of a point.
        vectors: its coordinates of a tangent vector at the origin.
    """

    manifold: geoopt.Manifold
    family: Family[Any]
    points: slice
    vectors: slice

    @property
    def dim(self) -> int:
        """Intrinsic dimension."""
        return self.vectors.stop - self.vectors.start


class PowerManifold(geoopt.ProductManifold):
    r""":math:`M \times \dots \times M`: a product whose factors are one module. It has one name in the product, as
    ``torch.func.functional_call`` does not put back what the parameters of a module with several names were.

    Args:
        factor: :math:`M`.
        size: coordinates of a point of it.
        number: of factors.
    """

    def __init__(self, factor: geoopt.Manifold, size: int, number: int):
        super().__init__(*[(factor, size)] * number)
        del self._modules["manifolds"]
        self.factor = factor

    @property
    def manifolds(self) -> list[geoopt.Manifold]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The factors, as geoopt's product has them."""
        return [self.factor] * self.n_manifolds


@dataclass(frozen=True, eq=False)
class Product(Family[geoopt.ProductManifold]):
    """Every function of the factors, side by side; a factor may be a product.

    Args:
        name: what messages call it.
        kind: the class it serves.
        make: makes a product of factors with their sizes.
        family: look-up of a factor's family.
    """

    family: Callable[[geoopt.Manifold], Family[Any]]

    def factors(self, manifold: geoopt.ProductManifold) -> Iterator[Factor]:
        """Yield each factor with its coordinates.

        Raises:
            ValueError: if a factor is not a space of vectors.
            TypeError: if a factor is of an unsupported kind.
        """
        start = 0
        for module, points, shape in zip(manifold.manifolds, manifold.slices, manifold.shapes):
            if len(shape) != 1:
                raise ValueError(
                    f"a factor of shape {tuple(shape)} is no space of vectors: use one-dimensional factors"
                )
            factor = cast(geoopt.Manifold, module)
            family = self.family(factor)
            dim = family.intrinsic_dim(factor, shape[0])
            yield Factor(factor, family, points, slice(start, start + dim))
            start += dim

    def _join(
        self, manifold: geoopt.ProductManifold, part: Callable[[geoopt.Manifold, Family[Any], slice, slice], Tensor]
    ) -> Tensor:
        return torch.cat([part(*factor) for factor in self.factors(manifold)], dim=-1)

    def curvature(self, manifold: geoopt.ProductManifold) -> float:
        """Zero, for pictures: that of a product is not constant."""
        return 0.0

    def ambient_dim(self, manifold: geoopt.ProductManifold, dim: int) -> int:
        """Sum of the factors' coordinates, whatever ``dim``."""
        return manifold.n_elements

    def intrinsic_dim(self, manifold: geoopt.ProductManifold, size: int) -> int:
        """Sum of the factors' dimensions, whatever ``size``."""
        return self.fixed_dim(manifold)

    def fixed_dim(self, manifold: geoopt.ProductManifold) -> int:
        """Sum of the factors' dimensions."""
        return sum(factor.dim for factor in self.factors(manifold))

    def split(self, manifold: geoopt.ProductManifold, z: Tensor) -> list[tuple[geoopt.Manifold, Tensor]]:
        """The factors with their coordinates of ``z``, whether or not they have a family."""
        factors = cast(list[geoopt.Manifold], list(manifold.manifolds))
        return [(factor, z[..., points]) for factor, points in zip(factors, manifold.slices)]

    def max_radius(self, manifold: geoopt.ProductManifold) -> float:
        """Root of the sum of the squares of the factors' bounds, each of which keeps its own."""
        return sum(float(own.max_radius(f)) ** 2 for f, own, _, _ in self.factors(manifold)) ** 0.5

    def resolution(self, manifold: geoopt.ProductManifold) -> float:
        """That of the coarsest factor."""
        return max(own.resolution(f) for f, own, _, _ in self.factors(manifold))

    def origin(self, manifold: geoopt.ProductManifold, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The factors' origins, shape ``[ambient_dim]``."""
        return self._join(manifold, lambda f, own, p, t: own.origin(f, t.stop - t.start, dtype, device))

    def exp0(self, manifold: geoopt.ProductManifold, v: Tensor) -> Tensor:
        return self._join(manifold, lambda f, own, p, t: own.exp0(f, v[..., t]))

    def log0(self, manifold: geoopt.ProductManifold, z: Tensor) -> Tensor:
        return self._join(manifold, lambda f, own, p, t: own.log0(f, z[..., p]))

    def transport0(self, manifold: geoopt.ProductManifold, z: Tensor, v: Tensor) -> Tensor:
        return self._join(manifold, lambda f, own, p, t: own.transport0(f, z[..., p], v[..., t]))

    def move(self, manifold: geoopt.ProductManifold, z: Tensor, v: Tensor) -> Tensor:
        return self._join(manifold, lambda f, own, p, t: own.move(f, z[..., p], v[..., t]))

    def distance(self, manifold: geoopt.ProductManifold, x: Tensor, y: Tensor) -> Tensor:
        r""":math:`\sqrt{\sum_i d_i^2}`, shape ``[..., 1]``."""
        return norm(self._join(manifold, lambda f, own, p, t: own.distance(f, x[..., p], y[..., p])))

    def squared_distance(self, manifold: geoopt.ProductManifold, x: Tensor, y: Tensor) -> Tensor:
        r""":math:`\sum_i d_i^2`, shape ``[..., 1]``."""
        squares = self._join(manifold, lambda f, own, p, t: own.squared_distance(f, x[..., p], y[..., p]))
        return squares.sum(-1, keepdim=True)

    def inner(self, manifold: geoopt.ProductManifold, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Sum of the factors' (geoopt's own refuses curvatures of several dtypes)."""
        parts = self._join(manifold, lambda f, own, p, t: own.inner(f, z[..., p], u[..., p], v[..., p]))
        return parts.sum(-1, keepdim=True)

    def defect(self, manifold: geoopt.ProductManifold, rows: Tensor) -> Tensor | None:
        """The largest of the factors'."""
        defects = [own.defect(f, rows[:, p]) for f, own, p, _ in self.factors(manifold)]
        known = [defect for defect in defects if defect is not None]
        return torch.stack(known).amax(0) if len(known) == len(defects) else None

    def move_operations(self, manifold: geoopt.ProductManifold, dim: int) -> Counter[str]:
        """Sum of the factors'."""
        parts = (f.family.move_operations(f.manifold, f.dim) for f in self.factors(manifold))
        return sum(parts, Counter())

    def exp0_operations(self, manifold: geoopt.ProductManifold, dim: int) -> Counter[str]:
        """Sum of the factors'."""
        parts = (f.family.exp0_operations(f.manifold, f.dim) for f in self.factors(manifold))
        return sum(parts, Counter())

    def log0_operations(self, manifold: geoopt.ProductManifold, dim: int) -> Counter[str]:
        """Sum of the factors'."""
        parts = (f.family.log0_operations(f.manifold, f.dim) for f in self.factors(manifold))
        return sum(parts, Counter())
