"""The unit sphere (:class:`geoopt.Sphere`)."""

import math
from collections import Counter

import geoopt
import torch
from torch import Tensor

from msg.kernels.constants import NEAREST, TINY
from msg.kernels.constants import SPHERICAL_RADIUS as RADIUS
from msg.manifolds.embedded import Embedded, join
from msg.manifolds.switch import bounded
from msg.manifolds.trigonometry import angle_over_sine, arctanc, cosine, norm, one_plus_cosine, sinc, squared_norm


class Sphere(Embedded[geoopt.Sphere]):
    r"""Curvature 1.

    From the origin every direction leads to its antipode, and functions of points jump there. Here the antipode lies in
    the direction of the first axis, :math:`\log_o(-o) = (\pi, 0, \dots, 0)`, with gradient zero in :math:`\bar z`.
    """

    sigma = -1.0

    def check(self, manifold: geoopt.Sphere) -> None:
        """Raise ``ValueError`` for the sphere of a subspace: origin and vectors would lie outside it."""
        if manifold.projector is not None:
            raise ValueError(
                f"{type(manifold).__name__} of a subspace (intersection or complement) has no origin here: "
                "use a Sphere without it, of the subspace's dimension"
            )

    def curvature(self, manifold: geoopt.Sphere) -> float:
        """Geoopt's spheres have radius 1."""
        return 1.0

    def scale(self, manifold: geoopt.Sphere) -> float:
        return 1.0

    def max_radius(self, manifold: geoopt.Sphere) -> float:
        """``0.9 pi``."""
        return RADIUS

    def coordinates(self, manifold: geoopt.Sphere, z: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`(z_0, \bar z)`, with a direction at the antipode, where :math:`\bar z` has none."""
        z0, rest = z[..., :1], z[..., 1:]
        antipode = (z0 < 0) & (squared_norm(rest.detach()) < NEAREST**2)
        axis = rest.new_zeros(rest.size(-1))
        axis[:1] = NEAREST
        return z0, torch.where(antipode, axis, rest)

    def above_antipode(self, scale: Tensor | float, z0: Tensor, rest: Tensor) -> Tensor:
        return one_plus_cosine(squared_norm(rest), z0)

    def first_step(self, manifold: geoopt.Sphere, v: Tensor) -> tuple[Tensor, Tensor]:
        squared = squared_norm(v)
        return cosine(squared, sign=1), sinc(squared, sign=1)

    def inside(self, manifold: geoopt.Sphere, z0: Tensor, rest: Tensor) -> Tensor:
        if bounded():
            outside = z0 < math.cos(RADIUS)
            length = norm(rest)
            shrink = math.sin(RADIUS) / torch.where(outside & (length > 0), length, 1.0)
            z0, rest = torch.where(outside, math.cos(RADIUS), z0), rest * torch.where(outside, shrink, 1.0)
        point = join(z0, rest)
        return point / norm(point)

    def log0(self, manifold: geoopt.Sphere, z: Tensor) -> Tensor:
        r""":math:`\frac{r}{|\bar z|}\bar z` with :math:`r = \operatorname{atan2}(|\bar z|, z_0)`.

        Unlike arcsin it knows the hemisphere, unlike arccos it keeps all digits near the origin.
        """
        z0, rest = self.coordinates(manifold, z)
        return angle_over_sine(norm(rest), z0) * rest

    def distance(self, manifold: geoopt.Sphere, x: Tensor, y: Tensor) -> Tensor:
        r""":math:`2\operatorname{atan2}(|x - y|, |x + y|)`: all digits for close points and for opposite ones."""
        return 2 * torch.atan2(norm(x - y), norm(x + y))

    def squared_distance(self, manifold: geoopt.Sphere, x: Tensor, y: Tensor) -> Tensor:
        t = squared_norm(x - y) / squared_norm(x + y).clamp(min=TINY)
        return 4 * t * arctanc(t, sign=1).square()

    def defect(self, manifold: geoopt.Sphere, rows: Tensor) -> Tensor:
        r""":math:`\bigl||z|^2 - 1\bigr|`."""
        return (rows.square().sum(-1) - 1).abs()

    def move_operations(self, manifold: geoopt.Sphere, dim: int) -> Counter[str]:
        r"""As on the hyperboloid with cos and sin, and :math:`z_0'` itself, and the normalisation."""
        return Counter(
            {
                "multiply_accumulate": 4 * dim + 2,
                "multiply": 2 * dim + 2,
                "accumulate": 2,
                "comparison": 1,
                "transcendental": 7,
            }
        )

    def exp0_operations(self, manifold: geoopt.Sphere, dim: int) -> Counter[str]:
        r""":math:`|v|^2`, root, cos, sin, quotient, scaling; the comparison, and the normalisation."""
        return Counter(
            {"multiply_accumulate": 2 * dim + 1, "multiply": 2 * dim + 1, "comparison": 1, "transcendental": 6}
        )

    def log0_operations(self, manifold: geoopt.Sphere, dim: int) -> Counter[str]:
        """Length, atan2, quotient, scaling."""
        return Counter({"multiply_accumulate": dim, "multiply": dim, "transcendental": 3})


SPHERE = Sphere("sphere", geoopt.Sphere, geoopt.Sphere)
"""The family of :class:`geoopt.Sphere`, letter ``S``."""
