r"""Steps on the hyperboloid (:class:`geoopt.Lorentz`) and the sphere (:class:`geoopt.Sphere`).

Both sit in one more dimension than they have, with origin :math:`o = (R, 0, \dots, 0)` and :math:`\kappa = \mp 1/R^2`.
Splitting a point as :math:`z = (z_0, \bar z)`, they share every formula up to the sign of :math:`\kappa`, and every
function here is smooth at the origin. The isometry that takes :math:`o` to :math:`z` along their geodesic (a boost, or
a rotation) does parallel transport and exponential map in one go:

.. math::
    \exp_z(PT_{o \to z} v) = L_z \exp_o(v), \qquad
    (L_z y)_0 = \frac{z_0 y_0 + \sigma \langle\bar z, \bar y\rangle}{R}, \qquad
    \overline{L_z y} = \bar y + \frac{\bar z}{R}\Bigl(y_0 + \sigma\frac{\langle\bar z, \bar y\rangle}{R + z_0}\Bigr),

with :math:`\sigma = -\operatorname{sign}\kappa`. Unlike projecting an ambient vector on the tangent space, it is an
isometry, and it never leaves the manifold.
"""

import math

import geoopt
import torch
from torch import Tensor

from msg.manifolds.trigonometry import angle_over_sine, arcsinhc, arctanc, cosine, dot, norm, root, sinc, squared_norm

# In float64 a hyperbolic distance at this radius is good to 1e-7 relative (the error grows as e^{2r}).
_HYPERBOLIC_RADIUS = 10.0
# log0 and transport are singular at the antipode; at 0.9 pi their derivative is 9, at 0.99 pi it would be 99.
_SPHERICAL_RADIUS = 0.9 * math.pi
_ANTIPODE = 1e-30  # stands in for |x + y|^2 = 0, where the angle is pi


def _is_hyperbolic(manifold: geoopt.Manifold) -> bool:
    return isinstance(manifold, geoopt.Lorentz)


def _scale(manifold: geoopt.Manifold) -> Tensor | float:
    """Radius of curvature R; geoopt's Lorentz ``k`` is its square, and its Sphere is the unit sphere."""
    return manifold.k.double().sqrt() if isinstance(manifold, geoopt.Lorentz) else 1.0


def _join(first: Tensor, rest: Tensor) -> Tensor:
    return torch.cat([first, rest], dim=-1)


def ambient_dim(dim: int) -> int:
    """One more coordinate than the manifold has dimensions."""
    return dim + 1


def max_radius(manifold: geoopt.Manifold) -> Tensor | float:
    """Farthest that :func:`move` lets a point go from the origin: ``10 R`` (hyperboloid) or ``0.9 pi`` (sphere)."""
    if isinstance(manifold, geoopt.Lorentz):
        return _HYPERBOLIC_RADIUS * manifold.k.detach().double().sqrt()
    return _SPHERICAL_RADIUS


def origin(manifold: geoopt.Manifold, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(R, 0, ..., 0)``, shape ``[dim + 1]`` (geoopt's own Sphere.origin is a random point)."""
    point = torch.zeros(dim + 1, dtype=dtype, device=device)
    point[0] = _scale(manifold)
    return point


def _on_manifold(manifold: geoopt.Manifold, z0: Tensor, rest: Tensor) -> Tensor:
    """Pull ``(z0, rest)`` back inside the radius bound along its geodesic to the origin, exactly on the manifold."""
    if _is_hyperbolic(manifold):
        scale = _scale(manifold)
        limit = scale * math.sinh(_HYPERBOLIC_RADIUS)
        squared = squared_norm(rest)
        outside = squared > limit**2
        rest = rest * torch.where(outside, limit / torch.where(outside, squared, 1.0).sqrt(), 1.0)
        return _join((scale**2 + torch.where(outside, limit**2, squared)).sqrt(), rest)
    outside = z0 < math.cos(_SPHERICAL_RADIUS)
    length = norm(rest)
    shrink = math.sin(_SPHERICAL_RADIUS) / torch.where(outside & (length > 0), length, 1.0)
    point = _join(
        torch.where(outside, math.cos(_SPHERICAL_RADIUS), z0),
        rest * torch.where(outside, shrink, 1.0),
    )
    return point / norm(point)


def _first_step(manifold: geoopt.Manifold, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Time coordinate of :math:`\exp_o(v)`, and the factor of ``v`` in its spatial part; both ``[..., 1]``."""
    squared = squared_norm(v)
    if not _is_hyperbolic(manifold):
        return cosine(squared, sign=1), sinc(squared, sign=1)
    scale = _scale(manifold)
    # from anywhere inside the bound, a step of twice the bound ends outside it: longer ones would only overflow cosh
    longest = (2 * _HYPERBOLIC_RADIUS * scale) ** 2
    long = squared > longest
    shrink = torch.where(long, longest / torch.where(long, squared, 1.0), 1.0)
    u = -squared * shrink / scale**2
    return scale * cosine(u, sign=-1), sinc(u, sign=-1) * shrink.sqrt()


def exp0(manifold: geoopt.Manifold, v: Tensor) -> Tensor:
    r""":math:`\exp_o(v) = (R\cos_\kappa|v|, \tfrac{\sin_\kappa|v|}{|v|} v)`."""
    step0, factor = _first_step(manifold, v)
    return _on_manifold(manifold, step0, factor * v)


def log0(manifold: geoopt.Manifold, z: Tensor) -> Tensor:
    r""":math:`\log_o(z) = \frac{r}{|\bar z|}\bar z` with :math:`r = R\operatorname{arsinh}\frac{|\bar z|}{R}` or
    :math:`\operatorname{atan2}(|\bar z|, z_0)`.
    """
    rest = z[..., 1:]
    if _is_hyperbolic(manifold):
        return arcsinhc(squared_norm(rest) / _scale(manifold) ** 2) * rest
    return angle_over_sine(norm(rest), z[..., :1]) * rest


def transport0(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r""":math:`L_z (0, v)`: the tangent vector at ``z`` that is parallel to ``v`` along the geodesic from the origin."""
    scale = _scale(manifold)
    sign = 1.0 if _is_hyperbolic(manifold) else -1.0
    z0, rest = z[..., :1], z[..., 1:]
    inner = sign * dot(rest, v) / scale
    return _join(inner, v + rest * (inner / (scale + z0)))


def move(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r""":math:`L_z\exp_o(v)`, pulled back inside the radius bound."""
    scale = _scale(manifold)
    z0, rest = z[..., :1], z[..., 1:]
    step0, factor = _first_step(manifold, v)
    inner = (1.0 if _is_hyperbolic(manifold) else -1.0) * factor * dot(rest, v)
    moved = factor * v + rest * ((step0 + inner / (scale + z0)) / scale)
    return _on_manifold(manifold, (z0 * step0 + inner) / scale, moved)


def distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    r"""Geodesic distance, shape ``[..., 1]``, from the chord.

    On the sphere :math:`2\operatorname{atan2}(|x - y|, |x + y|)`; on the hyperboloid
    :math:`2R\operatorname{arsinh}\frac{\sqrt{\Delta}}{2R}` with
    :math:`\Delta = |\bar x - \bar y|^2 - (x_0 - y_0)^2`, where :math:`x_0 - y_0` is taken from
    :math:`(|\bar x|^2 - |\bar y|^2)/(x_0 + y_0)`: the usual
    :math:`\operatorname{arcosh}(-\langle x, y\rangle)` loses all digits for close points.
    """
    if not _is_hyperbolic(manifold):
        return 2 * torch.atan2(norm(x - y), norm(x + y))
    scale = _scale(manifold)
    w = _squared_chord(scale, x, y)
    return 2 * scale * root(w) * arcsinhc(w)


def squared_distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    """Square of :func:`distance`, smooth where the points coincide."""
    if not _is_hyperbolic(manifold):
        t = squared_norm(x - y) / squared_norm(x + y).clamp(min=_ANTIPODE)
        return 4 * t * arctanc(t, sign=1).square()
    scale = _scale(manifold)
    w = _squared_chord(scale, x, y)
    return 4 * scale**2 * w * arcsinhc(w).square()


def _squared_chord(scale: Tensor | float, x: Tensor, y: Tensor) -> Tensor:
    r""":math:`\Delta / 4R^2` of :func:`distance`."""
    a, b = x[..., 1:], y[..., 1:]
    # the stored time coordinate may be rounded (float32): the spatial part determines it
    a0 = (scale**2 + squared_norm(a)).sqrt()
    b0 = (scale**2 + squared_norm(b)).sqrt()
    chord = squared_norm(a - b) - (dot(a - b, a + b) / (a0 + b0)) ** 2
    return chord.clamp(min=0) / (4 * scale**2)
