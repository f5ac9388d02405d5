r"""The hyperboloid (:class:`geoopt.Lorentz`): :math:`-z_0^2 + |\bar z|^2 = -R^2`, :math:`z_0 > 0`, where geoopt's ``k``
is :math:`R^2`.
"""

import math
from collections import Counter

import geoopt
import torch
from torch import Tensor

from msg.kernels.constants import HYPERBOLIC_RADIUS as RADIUS
from msg.manifolds.embedded import Embedded, join
from msg.manifolds.family import wide
from msg.manifolds.switch import bounded
from msg.manifolds.trigonometry import arcsinhc, cosine, dot, nonnegative, root, sinc, squared_norm


class Hyperboloid(Embedded[geoopt.Lorentz]):
    r"""Curvature :math:`-1/R^2`. A point is read by its spatial part :math:`\bar z`, which determines :math:`z_0`."""

    sigma = 1.0

    def check(self, manifold: geoopt.Lorentz) -> None:
        """Raise ``ValueError`` for a squared radius that is not positive: one learned as it is may cross zero."""
        if manifold.k.is_meta:  # without a number yet: of a model whose weights are loaded later
            return
        k = float(manifold.k.detach())
        if not 0 < k < math.inf:
            raise ValueError(
                f"k of {type(manifold).__name__} is the square of its radius of curvature and must be positive, not "
                f"{k:g}: keep a learned one so ('L' does), or use 'U', whose curvature may cross zero"
            )

    def curvature(self, manifold: geoopt.Lorentz) -> float:
        """``-1 / k``."""
        return -1 / float(manifold.k.detach())

    def scale(self, manifold: geoopt.Lorentz) -> Tensor:
        return manifold.k.double().sqrt()

    def max_radius(self, manifold: geoopt.Lorentz) -> Tensor:
        """``10 R``."""
        return RADIUS * self.scale(manifold).detach()

    def coordinates(self, manifold: geoopt.Lorentz, z: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`(\sqrt{R^2 + |\bar z|^2}, \bar z)`, whatever :math:`z_0` was stored."""
        rest = z[..., 1:]
        return _time(self.scale(manifold), rest), rest

    def above_antipode(self, scale: Tensor | float, z0: Tensor, rest: Tensor) -> Tensor:
        return scale + z0

    def first_step(self, manifold: geoopt.Lorentz, v: Tensor) -> tuple[Tensor, Tensor]:
        squared, scale = squared_norm(v), self.scale(manifold)
        # from anywhere inside the bound, a step of twice the bound ends outside it: longer ones would overflow cosh
        longest = (2 * RADIUS * scale) ** 2
        long = squared > longest
        shrink = torch.where(long, longest / torch.where(long, squared, 1.0), 1.0)
        u = -squared * shrink / scale**2
        return scale * cosine(u, sign=-1), sinc(u, sign=-1) * shrink.sqrt()

    def inside(self, manifold: geoopt.Lorentz, z0: Tensor, rest: Tensor) -> Tensor:
        scale = self.scale(manifold)
        squared = squared_norm(rest)
        if not bounded():
            return join((scale**2 + squared).sqrt(), rest)
        limit = scale * math.sinh(RADIUS)
        outside = squared > limit**2
        rest = rest * torch.where(outside, limit / torch.where(outside, squared, 1.0).sqrt(), 1.0)
        return join((scale**2 + torch.where(outside, limit**2, squared)).sqrt(), rest)

    def log0(self, manifold: geoopt.Lorentz, z: Tensor) -> Tensor:
        r""":math:`\frac{r}{|\bar z|}\bar z` with :math:`r = R\operatorname{arsinh}\frac{|\bar z|}{R}`."""
        rest = z[..., 1:]
        return arcsinhc(squared_norm(rest) / self.scale(manifold) ** 2) * rest

    def distance(self, manifold: geoopt.Lorentz, x: Tensor, y: Tensor) -> Tensor:
        r""":math:`2R\operatorname{arsinh}\frac{\sqrt{\Delta}}{2R}` from the chord
        :math:`\Delta = |\bar x - \bar y|^2 - (x_0 - y_0)^2`.
        """
        scale = self.scale(manifold)
        w = _squared_chord(scale, x[..., 1:], y[..., 1:])
        return 2 * scale * root(w) * arcsinhc(w)

    def squared_distance(self, manifold: geoopt.Lorentz, x: Tensor, y: Tensor) -> Tensor:
        scale = self.scale(manifold)
        w = _squared_chord(scale, x[..., 1:], y[..., 1:])
        return 4 * scale**2 * w * arcsinhc(w).square()

    def defect(self, manifold: geoopt.Lorentz, rows: Tensor) -> Tensor:
        r""":math:`|\langle z, z\rangle + R^2| / (z_0^2 + |\bar z|^2)`, infinite on the lower sheet."""
        time, space = rows[:, 0].square(), rows[:, 1:].square().sum(-1)
        defect = (space - time + manifold.k.detach().double()).abs() / (time + space)
        return torch.where(rows[:, 0] > 0, defect, torch.inf)

    def move_operations(self, manifold: geoopt.Lorentz, dim: int) -> Counter[str]:
        r""":math:`|v|^2`, :math:`\langle\bar z, v\rangle`, the combination of :math:`v` and :math:`\bar z`,
        :math:`|\bar z'|^2` (it gives :math:`z_0'` and is compared with the radius bound); root, cosh, sinh, two
        quotients, root. That :math:`z_0` is not believed as it is stored costs a device nothing that stores it well.
        """
        return Counter(
            {"multiply_accumulate": 4 * dim, "multiply": dim + 1, "accumulate": 3, "comparison": 1, "transcendental": 6}
        )

    def exp0_operations(self, manifold: geoopt.Lorentz, dim: int) -> Counter[str]:
        r""":math:`|v|^2`, root, sinh, quotient, scaling; :math:`|\bar z'|^2`, compared, and the root that is
        :math:`z_0'`.
        """
        return Counter(
            {"multiply_accumulate": 2 * dim, "multiply": dim, "accumulate": 1, "comparison": 1, "transcendental": 4}
        )

    def log0_operations(self, manifold: geoopt.Lorentz, dim: int) -> Counter[str]:
        """Length, arsinh, quotient, scaling."""
        return Counter({"multiply_accumulate": dim, "multiply": dim, "transcendental": 3})


def _time(scale: Tensor, rest: Tensor) -> Tensor:
    r""":math:`z_0` from :math:`\bar z`. The stored one, rounded to float32, is wrong by :math:`6\cdot10^{-8} z_0`: at a
    radius of ten that is 7e-4, and in :math:`z_0^2 - |\bar z|^2 = R^2` the error counts :math:`z_0` times over.
    """
    return (scale**2 + squared_norm(rest)).sqrt()


def _squared_chord(scale: Tensor, a: Tensor, b: Tensor) -> Tensor:
    r""":math:`\Delta / 4R^2` of the spatial parts of two points.

    :math:`x_0 - y_0` is taken from :math:`(|\bar x|^2 - |\bar y|^2)/(x_0 + y_0)`: the usual
    :math:`\operatorname{arcosh}(-\langle x, y\rangle)` loses all digits for close points.
    """
    chord = squared_norm(a - b) - (dot(a - b, a + b) / (_time(scale, a) + _time(scale, b))) ** 2
    return nonnegative(chord) / (4 * scale**2)


HYPERBOLOID = Hyperboloid("hyperboloid", geoopt.Lorentz, lambda: geoopt.Lorentz(k=wide(1.0)))
"""The family of :class:`geoopt.Lorentz`, letter ``H``; its curvature is -1."""


class LearnedLorentz(geoopt.Lorentz):
    r"""A hyperboloid that learns its curvature: :math:`k = e^a`, so that no step of an optimiser makes it impossible.

    Learned as it is, geoopt's ``k`` crosses zero in many trainings.

    Args:
        k: squared radius of curvature to begin with; positive.
    """

    name = "LearnedLorentz"

    def __init__(self, k: float = 1.0):
        # Lorentz's own would make k a parameter
        super(geoopt.Lorentz, self).__init__()
        self.log_k = torch.nn.Parameter(wide(math.log(k)))

    @property
    def k(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Squared radius of curvature."""
        return self.log_k.exp()


LEARNED_HYPERBOLOID = Hyperboloid("hyperboloid, learnable curvature", LearnedLorentz, LearnedLorentz)
