"""What the library needs to know of a kind of manifold, all of it in one value."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from inspect import isclass
from typing import Any, Generic, TypeVar

import geoopt
import torch
from torch import Tensor

M = TypeVar("M", bound=geoopt.Manifold)


def wide(value: float) -> Any:
    """A curvature in float64, like the points: geoopt's checks refuse to compare dtypes. (geoopt annotates floats.)"""
    return torch.tensor(value, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Family(ABC, Generic[M]):
    r"""A kind of manifold: its maps, its curvature, what its operations cost, how it is pictured.

    A family of your own is a subclass with every abstract method and one value of it, given a letter by
    :func:`~msg.manifolds.register_family`; signatures, models, energy counts, assertions and pictures then know it.

    All tensors given to a family and returned by it are float64. A *vector* ``v`` has the ``d`` coordinates of a
    tangent vector at the origin in an orthonormal frame; a *point* has the coordinates that geoopt gives it.

    Args:
        name: what signatures call it in messages, ``"hyperboloid"``.
        kind: the geoopt class it serves, with its subclasses unless they have a family of their own.
        make: the manifold that a letter in a signature stands for, made anew by each call.

    Raises:
        TypeError: if an abstract method is missing, ``kind`` is no class of manifolds or ``make`` cannot be called.
    """

    name: str
    kind: type[M]
    make: Callable[..., M]

    def __post_init__(self):
        if not isclass(self.kind) or not issubclass(self.kind, geoopt.Manifold):
            raise TypeError(f"kind is no class of geoopt manifolds: {self.kind!r}: pass one as kind")
        if not callable(self.make):
            raise TypeError(f"make must be a function that returns a {self.kind.__name__}, not {self.make!r}")

    def check(self, manifold: M) -> None:
        """Raise ``ValueError``, naming the mend, for a manifold of this kind on which the formulas do not hold."""

    @abstractmethod
    def curvature(self, manifold: M) -> float:
        """Sectional curvature; 0 where it is not constant."""

    def chart(self, manifold: M) -> str:
        """How a picture shows it, ``"plane"``, ``"disk"`` (Poincaré's) or ``"sphere"``: by the curvature's sign."""
        kappa = self.curvature(manifold)
        return "disk" if kappa < 0 else "sphere" if kappa > 0 else "plane"

    @abstractmethod
    def ambient_dim(self, manifold: M, dim: int) -> int:
        """How many coordinates a point has on a manifold of ``dim`` dimensions."""

    def intrinsic_dim(self, manifold: M, size: int) -> int:
        """Dimension of the manifold whose points have ``size`` coordinates; override it unless that is ``size - c``."""
        return size - self.ambient_dim(manifold, 0)

    def fixed_dim(self, manifold: M) -> int | None:
        """Dimension, where the manifold knows its own; ``None`` where it fits any."""
        return None

    def split(self, manifold: M, z: Tensor) -> list[tuple[geoopt.Manifold, Tensor]]:
        """The factors of a product with their coordinates of ``z``; of anything else, itself."""
        return [(manifold, z)]

    @abstractmethod
    def max_radius(self, manifold: M) -> Tensor | float:
        """Farthest that :meth:`exp0` and :meth:`move` let a point go from the origin; infinite for no bound."""

    def resolution(self, manifold: M) -> float:
        """To what length vectors are told apart; zero where rounding alone decides."""
        return 0.0

    @abstractmethod
    def origin(self, manifold: M, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The origin, shape ``[ambient_dim]``."""

    @abstractmethod
    def exp0(self, manifold: M, v: Tensor) -> Tensor:
        r""":math:`\exp_o(v)`; differentiable at zero."""

    @abstractmethod
    def log0(self, manifold: M, z: Tensor) -> Tensor:
        """The ``v`` with ``exp0(v) = z``; differentiable at the origin."""

    @abstractmethod
    def transport0(self, manifold: M, z: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic from the origin: an ambient tangent vector at ``z``."""

    @abstractmethod
    def move(self, manifold: M, z: Tensor, v: Tensor) -> Tensor:
        r""":math:`\exp_z(PT_{o \to z} v)`, inside the radius bound."""

    @abstractmethod
    def distance(self, manifold: M, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, shape ``[..., 1]``, its gradient zero where the points coincide."""

    @abstractmethod
    def squared_distance(self, manifold: M, x: Tensor, y: Tensor) -> Tensor:
        """Its square, shape ``[..., 1]``, smooth where the points coincide."""

    def inner(self, manifold: M, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Metric at ``z``, shape ``[..., 1]``: geoopt's."""
        # with keepdim=False geoopt's Stereographic returns [N, N]
        return manifold.inner(z, u, v, keepdim=True)

    def defect(self, manifold: M, rows: Tensor) -> Tensor | None:
        """How far each of the points ``[N, ambient_dim]`` is off the manifold, relative to its size, ``[N]``.

        Infinite where no rounding explains it. ``None`` leaves the question to geoopt's own check.
        """
        return None

    @abstractmethod
    def move_operations(self, manifold: M, dim: int) -> Counter[str]:
        """Operations of :meth:`move` for one node, by kind: ``multiply_accumulate``, ``accumulate``, ``multiply``,
        ``comparison``, ``transcendental`` (``msg.energy.geometry`` says how they are counted).
        """

    def exp0_operations(self, manifold: M, dim: int) -> Counter[str]:
        """Operations of :meth:`move` for one node at the origin, whose zeros are skipped; those of any other point
        unless a family says less.
        """
        return self.move_operations(manifold, dim)

    @abstractmethod
    def log0_operations(self, manifold: M, dim: int) -> Counter[str]:
        """Operations of :meth:`log0` for one node, by kind."""
