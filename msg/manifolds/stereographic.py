r"""The Poincaré ball and the κ-stereographic model (:class:`geoopt.Stereographic` and its subclasses).

Points are vectors :math:`x \in \mathbb{R}^d` with conformal factor :math:`\lambda_x = 2/(1 + \kappa|x|^2)`. A vector
:math:`v \in \mathbb{R}^d` is read in an *orthonormal* frame at the origin, so its geodesic length is :math:`|v|` as on
every other manifold (geoopt's ``expmap0`` reads it in the chart, where lengths count double). All formulas are analytic
in :math:`\kappa`, so a learnable curvature may pass through zero. Transport followed by the exponential map is Möbius
addition: :math:`\exp_x(PT_{0 \to x} v) = x \oplus_\kappa \exp_0(v)`. Where :math:`\kappa > 0` the origin's antipode is
the chart's point at infinity: no vector has its coordinates, and ``move`` stops before it.
"""

import math
from collections import Counter

import geoopt
import torch
from torch import Tensor

from msg.kernels.constants import HYPERBOLIC_RADIUS, SPHERICAL_RADIUS, TINY
from msg.manifolds.family import Family, wide
from msg.manifolds.switch import bounded
from msg.manifolds.trigonometry import arctanc, dot, root, squared_norm, tanc


class Stereographic(Family[geoopt.Stereographic]):
    r"""Curvature :math:`\kappa` of any sign, geoopt's ``k``; one class for the model and for its subclasses."""

    def check(self, manifold: geoopt.Stereographic) -> None:
        """Raise ``ValueError`` for a curvature that is not a number."""
        if manifold.k.is_meta:  # as in Hyperboloid.check
            return
        k = self.curvature(manifold)
        if not math.isfinite(k):
            raise ValueError(
                f"the curvature of {type(manifold).__name__} must be finite, not {k:g}: "
                "give it one, or learn it at a lower rate"
            )

    def curvature(self, manifold: geoopt.Stereographic) -> float:
        """``k``."""
        return float(manifold.k.detach())

    def ambient_dim(self, manifold: geoopt.Stereographic, dim: int) -> int:
        """The chart has as many coordinates as the manifold has dimensions."""
        return dim

    def max_radius(self, manifold: geoopt.Stereographic) -> Tensor:
        r""":math:`10/\sqrt{-\kappa}` or :math:`0.9\pi/\sqrt\kappa`; infinite for :math:`\kappa = 0`."""
        k = _kappa(manifold).detach()
        return _by_sign(k, HYPERBOLIC_RADIUS, SPHERICAL_RADIUS) / k.abs().sqrt()

    def origin(self, manifold: geoopt.Stereographic, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The zero vector, shape ``[dim]``."""
        return torch.zeros(dim, dtype=dtype, device=device)

    def exp0(self, manifold: geoopt.Stereographic, v: Tensor) -> Tensor:
        r""":math:`\exp_0(v) = \tan_\kappa(|v|/2)\,v/|v|` for ``v`` in the orthonormal frame."""
        k = _kappa(manifold)
        return inside(k, _exp0(k, v))

    def log0(self, manifold: geoopt.Stereographic, z: Tensor) -> Tensor:
        r""":math:`\log_0(x) = 2\arctan_\kappa(|x|)\,x/|x|`, in the orthonormal frame."""
        return 2 * arctanc(_kappa(manifold) * squared_norm(z)) * z

    def transport0(self, manifold: geoopt.Stereographic, z: Tensor, v: Tensor) -> Tensor:
        r""":math:`v / \lambda_x`: a chart vector at ``x`` whose Riemannian length is :math:`|v|`."""
        return v * ((1 + _kappa(manifold) * squared_norm(z)) / 2)

    def move(self, manifold: geoopt.Stereographic, z: Tensor, v: Tensor) -> Tensor:
        r""":math:`x \oplus_\kappa \exp_0(v)`, pulled back inside the radius bound."""
        k = _kappa(manifold)
        y = _exp0(k, v)
        x2, y2, xy = squared_norm(z), squared_norm(y), dot(z, y)
        denominator = 1 - 2 * k * xy + k**2 * x2 * y2
        # zero only where x (+) y is the antipode of the origin, the chart's point at infinity
        denominator = denominator.clamp(min=TINY)
        moved = z * ((1 - 2 * k * xy - k * y2) / denominator) + y * ((1 + k * x2) / denominator)
        return inside(k, moved)

    def distance(self, manifold: geoopt.Stereographic, x: Tensor, y: Tensor) -> Tensor:
        r""":math:`2\arctan_\kappa|(-x)\oplus_\kappa y|`, shape ``[..., 1]``, with
        :math:`|(-x)\oplus_\kappa y|^2 = |x - y|^2 / (1 + 2\kappa\langle x, y\rangle + \kappa^2|x|^2|y|^2)`.
        """
        k = _kappa(manifold)
        p = _squared_difference(k, x, y)
        return 2 * root(p) * arctanc(k * p)

    def squared_distance(self, manifold: geoopt.Stereographic, x: Tensor, y: Tensor) -> Tensor:
        k = _kappa(manifold)
        p = _squared_difference(k, x, y)
        return 4 * p * arctanc(k * p).square()

    def defect(self, manifold: geoopt.Stereographic, rows: Tensor) -> Tensor:
        r"""Zero where :math:`-\kappa|x|^2 < 1`, infinite on the boundary of the ball and beyond."""
        return torch.where(-_kappa(manifold).detach() * rows.square().sum(-1) < 1, 0.0, torch.inf).double()

    def move_operations(self, manifold: geoopt.Stereographic, dim: int) -> Counter[str]:
        r""":math:`x \oplus_\kappa \exp_0 v` and the radius bound."""
        return Counter(
            {"multiply_accumulate": 6 * dim + 4, "multiply": 2 * dim + 4, "comparison": 2, "transcendental": 5}
        )

    def exp0_operations(self, manifold: geoopt.Stereographic, dim: int) -> Counter[str]:
        r""":math:`\exp_0 v` and the radius bound."""
        return Counter({"multiply_accumulate": 2 * dim, "multiply": dim + 3, "comparison": 1, "transcendental": 3})

    def log0_operations(self, manifold: geoopt.Stereographic, dim: int) -> Counter[str]:
        r"""Length, curvature, artanh, quotient, scaling."""
        return Counter({"multiply_accumulate": dim, "multiply": dim + 2, "transcendental": 3, "comparison": 1})


def _kappa(manifold: geoopt.Stereographic) -> Tensor:
    return manifold.k.double()


def _by_sign(k: Tensor, hyperbolic: float, spherical: float) -> Tensor:
    """In the dtype of ``k``: ``torch.where`` of two numbers would be float32."""
    return torch.where(k < 0, k.new_tensor(hyperbolic), k.new_tensor(spherical))


def _exp0(k: Tensor, v: Tensor) -> Tensor:
    return tanc(k * squared_norm(v) / 4) / 2 * v


def inside(k: Tensor, x: Tensor) -> Tensor:
    """Pull ``x`` back inside the radius bound along its geodesic to the origin; without a bound, inside the ball, on
    whose rim rounding would put it from a radius of 37 on.
    """
    hyperbolic, spherical = 1 - 1e-15, torch.finfo(torch.float64).max
    if bounded():
        hyperbolic, spherical = math.tanh(HYPERBOLIC_RADIUS / 2) ** 2, math.tan(SPHERICAL_RADIUS / 2) ** 2
    limit = _by_sign(k, hyperbolic, spherical)
    stretched = k.abs() * squared_norm(x)
    outside = stretched > limit
    return x * torch.where(outside, limit / torch.where(outside, stretched, 1.0), 1.0).sqrt()


def _squared_difference(k: Tensor, x: Tensor, y: Tensor) -> Tensor:
    denominator = 1 + 2 * k * dot(x, y) + k**2 * squared_norm(x) * squared_norm(y)
    return squared_norm(x - y) / denominator.clamp(min=TINY)


POINCARE_BALL = Stereographic("Poincaré ball", geoopt.PoincareBall, lambda: geoopt.PoincareBall(c=wide(1.0)))
"""The family of :class:`geoopt.PoincareBall`, letter ``P``; its curvature is -1."""

STEREOGRAPHIC = Stereographic(
    "κ-stereographic, learnable curvature",
    geoopt.Stereographic,
    lambda: geoopt.Stereographic(k=wide(0.0), learnable=True),
)
"""The family of :class:`geoopt.Stereographic`, letter ``U``; its curvature is learned and starts at 0."""
