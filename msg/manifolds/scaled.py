r"""Scaled manifolds (:class:`geoopt.Scaled`): every distance of another manifold times :math:`s`, which may be learned.

Points are those of the base. A vector is as long as the step it makes on the scaled manifold, here as in geoopt, so the
base sees :math:`v/s`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import geoopt
import torch
from torch import Tensor

from msg.manifolds.family import Family


def rescaled(manifold: geoopt.Manifold, scale: Tensor) -> geoopt.Scaled:
    """A manifold with every distance times a scale, which is not learned."""
    one = geoopt.Scaled(manifold)
    one._scale = scale.detach()  # geoopt rounds what it is given to torch's default dtype
    return one


@dataclass(frozen=True, eq=False)
class Scaled(Family[geoopt.Scaled]):
    r"""Curvature :math:`\kappa/s^2`; the base may be of any family, products and scaled manifolds included.

    Args:
        name: what messages call it.
        kind: the class it serves.
        make: makes one.
        family: look-up of the base's family.
    """

    family: Callable[[geoopt.Manifold], Family[Any]]

    def _base(self, manifold: geoopt.Scaled) -> tuple[geoopt.Manifold, Family[Any], Tensor]:
        base = cast(geoopt.Manifold, manifold.base)
        return base, self.family(base), manifold.scale.double()

    def check(self, manifold: geoopt.Scaled) -> None:
        """Raise ``ValueError`` for a scale that is no positive number."""
        if manifold.scale.is_meta:  # as in Hyperboloid.check
            return
        scale = float(manifold.scale.detach())
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale of Scaled must be a positive number, not {scale:g}: give it one")

    def curvature(self, manifold: geoopt.Scaled) -> float:
        r""":math:`\kappa/s^2`."""
        base, own, scale = self._base(manifold)
        return own.curvature(base) / float(scale.detach()) ** 2

    def chart(self, manifold: geoopt.Scaled) -> str:
        """The base's."""
        base, own, _ = self._base(manifold)
        return own.chart(base)

    def ambient_dim(self, manifold: geoopt.Scaled, dim: int) -> int:
        """As on the base."""
        base, own, _ = self._base(manifold)
        return own.ambient_dim(base, dim)

    def intrinsic_dim(self, manifold: geoopt.Scaled, size: int) -> int:
        """As on the base."""
        base, own, _ = self._base(manifold)
        return own.intrinsic_dim(base, size)

    def fixed_dim(self, manifold: geoopt.Scaled) -> int | None:
        """As on the base."""
        base, own, _ = self._base(manifold)
        return own.fixed_dim(base)

    def split(self, manifold: geoopt.Scaled, z: Tensor) -> list[tuple[geoopt.Manifold, Tensor]]:
        """The base's factors: a point is on one exactly where it is on the other."""
        base, own, _ = self._base(manifold)
        return own.split(base, z)

    def max_radius(self, manifold: geoopt.Scaled) -> Tensor | float:
        r""":math:`s` times the base's."""
        base, own, scale = self._base(manifold)
        return own.max_radius(base) * scale.detach()

    def resolution(self, manifold: geoopt.Scaled) -> float:
        r""":math:`s` times the base's."""
        base, own, scale = self._base(manifold)
        return own.resolution(base) * float(scale.detach())

    def origin(self, manifold: geoopt.Scaled, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The base's."""
        base, own, _ = self._base(manifold)
        return own.origin(base, dim, dtype, device)

    def exp0(self, manifold: geoopt.Scaled, v: Tensor) -> Tensor:
        r""":math:`\exp_o(v/s)` of the base."""
        base, own, scale = self._base(manifold)
        return own.exp0(base, v / scale)

    def log0(self, manifold: geoopt.Scaled, z: Tensor) -> Tensor:
        r""":math:`s\log_o(z)` of the base."""
        base, own, scale = self._base(manifold)
        return scale * own.log0(base, z)

    def transport0(self, manifold: geoopt.Scaled, z: Tensor, v: Tensor) -> Tensor:
        """The base's: lengths are those of the scaled metric on both sides."""
        base, own, _ = self._base(manifold)
        return own.transport0(base, z, v)

    def move(self, manifold: geoopt.Scaled, z: Tensor, v: Tensor) -> Tensor:
        r""":math:`\exp_z(PT_{o \to z}v/s)` of the base."""
        base, own, scale = self._base(manifold)
        return own.move(base, z, v / scale)

    def distance(self, manifold: geoopt.Scaled, x: Tensor, y: Tensor) -> Tensor:
        base, own, scale = self._base(manifold)
        return scale * own.distance(base, x, y)

    def squared_distance(self, manifold: geoopt.Scaled, x: Tensor, y: Tensor) -> Tensor:
        base, own, scale = self._base(manifold)
        return scale**2 * own.squared_distance(base, x, y)

    def inner(self, manifold: geoopt.Scaled, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """The base's, of vectors whose lengths are those of the scaled metric, as in geoopt."""
        base, own, _ = self._base(manifold)
        return own.inner(base, z, u, v)

    def defect(self, manifold: geoopt.Scaled, rows: Tensor) -> Tensor | None:
        """The base's."""
        base, own, _ = self._base(manifold)
        return own.defect(base, rows)

    def move_operations(self, manifold: geoopt.Scaled, dim: int) -> Counter[str]:
        """The base's: a scale is folded into the step size, as a curvature is."""
        base, own, _ = self._base(manifold)
        return own.move_operations(base, dim)

    def exp0_operations(self, manifold: geoopt.Scaled, dim: int) -> Counter[str]:
        """The base's, as :meth:`move_operations`."""
        base, own, _ = self._base(manifold)
        return own.exp0_operations(base, dim)

    def log0_operations(self, manifold: geoopt.Scaled, dim: int) -> Counter[str]:
        """The base's: a scale is folded into the weights after it."""
        base, own, _ = self._base(manifold)
        return own.log0_operations(base, dim)
