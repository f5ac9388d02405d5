r"""Steps on the Poincaré ball and the κ-stereographic model (:class:`geoopt.Stereographic` and its subclasses).

Points are vectors :math:`x \in \mathbb{R}^d` with conformal factor :math:`\lambda_x = 2/(1 + \kappa|x|^2)`. A vector
:math:`v \in \mathbb{R}^d` is read in an *orthonormal* frame at the origin, so its geodesic length is :math:`|v|` as on
every other manifold (geoopt's ``expmap0`` reads it in the chart, where lengths count double). All formulas are analytic
in :math:`\kappa`, so a learnable curvature may pass through zero. Transport followed by the exponential map is Möbius
addition: :math:`\exp_x(PT_{0 \to x} v) = x \oplus_\kappa \exp_0(v)`.
"""

import math

import geoopt
import torch
from torch import Tensor

from msg.manifolds.trigonometry import arctanc, dot, root, squared_norm, tanc

_HYPERBOLIC_RADIUS = 10.0
_SPHERICAL_RADIUS = 0.9 * math.pi
_TINY = 1e-30


def ambient_dim(dim: int) -> int:
    """The chart has as many coordinates as the manifold has dimensions."""
    return dim


def _curvature(manifold: geoopt.Stereographic) -> Tensor:
    return manifold.k.double()


def _by_sign(k: Tensor, hyperbolic: float, spherical: float) -> Tensor:
    """In the dtype of ``k``: ``torch.where`` of two numbers would be float32."""
    return torch.where(k < 0, k.new_tensor(hyperbolic), k.new_tensor(spherical))


def max_radius(manifold: geoopt.Stereographic) -> Tensor:
    r""":math:`10/\sqrt{-\kappa}` or :math:`0.9\pi/\sqrt\kappa`; infinite for :math:`\kappa = 0`."""
    k = _curvature(manifold).detach()
    return _by_sign(k, _HYPERBOLIC_RADIUS, _SPHERICAL_RADIUS) / k.abs().sqrt()


def origin(manifold: geoopt.Stereographic, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The zero vector, shape ``[dim]``."""
    return torch.zeros(dim, dtype=dtype, device=device)


def _bounded(k: Tensor, x: Tensor) -> Tensor:
    """Pull ``x`` back inside the radius bound along its geodesic to the origin."""
    limit = _by_sign(k, math.tanh(_HYPERBOLIC_RADIUS / 2) ** 2, math.tan(_SPHERICAL_RADIUS / 2) ** 2)
    stretched = k.abs() * squared_norm(x)
    outside = stretched > limit
    return x * torch.where(outside, limit / torch.where(outside, stretched, 1.0), 1.0).sqrt()


def _exp0(k: Tensor, v: Tensor) -> Tensor:
    return tanc(k * squared_norm(v) / 4) / 2 * v


def exp0(manifold: geoopt.Stereographic, v: Tensor) -> Tensor:
    r""":math:`\exp_0(v) = \tan_\kappa(|v|/2)\,v/|v|` for ``v`` in the orthonormal frame."""
    k = _curvature(manifold)
    return _bounded(k, _exp0(k, v))


def log0(manifold: geoopt.Stereographic, x: Tensor) -> Tensor:
    r""":math:`\log_0(x) = 2\arctan_\kappa(|x|)\,x/|x|`, in the orthonormal frame."""
    return 2 * arctanc(_curvature(manifold) * squared_norm(x)) * x


def transport0(manifold: geoopt.Stereographic, x: Tensor, v: Tensor) -> Tensor:
    r""":math:`v / \lambda_x`: a chart vector at ``x`` whose Riemannian length is :math:`|v|`."""
    return v * ((1 + _curvature(manifold) * squared_norm(x)) / 2)


def move(manifold: geoopt.Stereographic, x: Tensor, v: Tensor) -> Tensor:
    r""":math:`x \oplus_\kappa \exp_0(v)`, pulled back inside the radius bound."""
    k = _curvature(manifold)
    y = _exp0(k, v)
    x2, y2, xy = squared_norm(x), squared_norm(y), dot(x, y)
    denominator = 1 - 2 * k * xy + k**2 * x2 * y2
    # zero only where x (+) y is the antipode of the origin, the chart's point at infinity
    denominator = denominator.clamp(min=_TINY)
    moved = x * ((1 - 2 * k * xy - k * y2) / denominator) + y * ((1 + k * x2) / denominator)
    return _bounded(k, moved)


def distance(manifold: geoopt.Stereographic, x: Tensor, y: Tensor) -> Tensor:
    r""":math:`2\arctan_\kappa|(-x)\oplus_\kappa y|`, shape ``[..., 1]``, with
    :math:`|(-x)\oplus_\kappa y|^2 = |x - y|^2 / (1 + 2\kappa\langle x, y\rangle + \kappa^2|x|^2|y|^2)`.
    """
    p = _squared_difference(manifold, x, y)
    return 2 * root(p) * arctanc(_curvature(manifold) * p)


def squared_distance(manifold: geoopt.Stereographic, x: Tensor, y: Tensor) -> Tensor:
    """Square of :func:`distance`, smooth where the points coincide."""
    p = _squared_difference(manifold, x, y)
    return 4 * p * arctanc(_curvature(manifold) * p).square()


def _squared_difference(manifold: geoopt.Stereographic, x: Tensor, y: Tensor) -> Tensor:
    k = _curvature(manifold)
    denominator = 1 + 2 * k * dot(x, y) + k**2 * squared_norm(x) * squared_norm(y)
    return squared_norm(x - y) / denominator.clamp(min=_TINY)
