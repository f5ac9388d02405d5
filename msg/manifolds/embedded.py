r"""What the hyperboloid and the sphere share: both sit in one more dimension than they have.

With origin :math:`o = (R, 0, \dots, 0)`, :math:`\kappa = \mp 1/R^2` and a point split as :math:`z = (z_0, \bar z)`, the
two have every formula in common up to the sign of :math:`\kappa`, and every function is smooth at the origin. The
isometry that takes :math:`o` to :math:`z` along their geodesic (a boost, or a rotation) does parallel transport and
exponential map in one go:

.. math::
    \exp_z(PT_{o \to z} v) = L_z \exp_o(v), \qquad
    (L_z y)_0 = \frac{z_0 y_0 + \sigma \langle\bar z, \bar y\rangle}{R}, \qquad
    \overline{L_z y} = \bar y + \frac{\bar z}{R}\Bigl(y_0 + \sigma\frac{\langle\bar z, \bar y\rangle}{R + z_0}\Bigr),

with :math:`\sigma = -\operatorname{sign}\kappa`. Unlike projecting an ambient vector on the tangent space, it is an
isometry, and it never leaves the manifold.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from msg.manifolds.family import Family, M
from msg.manifolds.trigonometry import dot


def join(first: Tensor, rest: Tensor) -> Tensor:
    r"""A point from :math:`z_0` and :math:`\bar z`."""
    return torch.cat([first, rest], dim=-1)


class Embedded(Family[M]):
    r"""A space of constant curvature :math:`-\sigma/R^2` in :math:`\mathbb{R}^{d+1}`.

    Attributes:
        sigma: :math:`\sigma`, 1 on the hyperboloid and -1 on the sphere.
    """

    sigma: ClassVar[float]

    @abstractmethod
    def scale(self, manifold: M) -> Tensor | float:
        """Radius of curvature ``R``."""

    @abstractmethod
    def coordinates(self, manifold: M, z: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`z_0`, ``[..., 1]``, and :math:`\bar z`, ``[..., d]``, of a point whose coordinates may be rounded."""

    @abstractmethod
    def above_antipode(self, scale: Tensor | float, z0: Tensor, rest: Tensor) -> Tensor:
        """``R + z_0``, without cancellation."""

    @abstractmethod
    def first_step(self, manifold: M, v: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`(\exp_o v)_0`, and the factor of ``v`` in :math:`\overline{\exp_o v}`; both ``[..., 1]``."""

    @abstractmethod
    def inside(self, manifold: M, z0: Tensor, rest: Tensor) -> Tensor:
        """A point pulled back inside the radius bound along its geodesic to the origin, exactly on the manifold."""

    def ambient_dim(self, manifold: M, dim: int) -> int:
        """One more coordinate than the manifold has dimensions."""
        return dim + 1

    def origin(self, manifold: M, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """``(R, 0, ..., 0)``, shape ``[dim + 1]`` (geoopt's own Sphere.origin is a random point)."""
        point, scale = torch.zeros(dim + 1, dtype=dtype, device=device), self.scale(manifold)
        point[0] = 1.0
        # not written into it: torch.vmap has one scale for each of many models
        return point * (scale.to(device, dtype) if isinstance(scale, Tensor) else scale)

    def exp0(self, manifold: M, v: Tensor) -> Tensor:
        r""":math:`\exp_o(v) = (R\cos_\kappa|v|, \tfrac{\sin_\kappa|v|}{|v|} v)`."""
        step0, factor = self.first_step(manifold, v)
        return self.inside(manifold, step0, factor * v)

    def transport0(self, manifold: M, z: Tensor, v: Tensor) -> Tensor:
        r""":math:`L_z (0, v)`."""
        scale = self.scale(manifold)
        z0, rest = self.coordinates(manifold, z)
        inner = self.sigma * dot(rest, v) / scale
        return join(inner, v + rest * (inner / self.above_antipode(scale, z0, rest)))

    def move(self, manifold: M, z: Tensor, v: Tensor) -> Tensor:
        r""":math:`L_z\exp_o(v)`, pulled back inside the radius bound."""
        scale = self.scale(manifold)
        z0, rest = self.coordinates(manifold, z)
        step0, factor = self.first_step(manifold, v)
        inner = self.sigma * factor * dot(rest, v)
        moved = factor * v + rest * ((step0 + inner / self.above_antipode(scale, z0, rest)) / scale)
        return self.inside(manifold, (z0 * step0 + inner) / scale, moved)
