r"""The six functions that every model needs of a manifold, correct and differentiable on all of them.

A vector :math:`v \in \mathbb{R}^d` always means the tangent vector at the origin with these coordinates in an
orthonormal frame, ``d`` being the intrinsic dimension; a point has the coordinates geoopt gives it (``d + 1`` on the
hyperboloid and the sphere, ``d`` elsewhere, factors of a product side by side). Everything is computed in float64,
because hyperbolic geometry loses all digits of float32 at a radius of ten, and returned in the dtype of the point.
"""

import geoopt
import torch
from torch import Tensor

from msg.manifolds.families import family
from msg.manifolds.signature import factor_dims
from msg.manifolds.trigonometry import norm, squared_norm, tanc


def _factors(manifold: geoopt.ProductManifold):
    """Yield each factor with the slices of a point and of a tangent vector at the origin that belong to it."""
    start = 0
    for factor, points, dim in zip(manifold.manifolds, manifold.slices, factor_dims(manifold)):
        yield factor, points, slice(start, start + dim)
        start += dim


def ambient_dim(manifold: geoopt.Manifold, dim: int) -> int:
    """How many coordinates a point has on a manifold of intrinsic dimension ``dim``."""
    if isinstance(manifold, geoopt.ProductManifold):
        return manifold.n_elements
    return family(manifold).ambient_dim(dim)


def _check_size(manifold: geoopt.Manifold, given: int, expected: int, what: str) -> None:
    if given != expected:
        raise ValueError(f"{what} of size {given} does not fit {manifold!r}, which needs size {expected}")


def _check_tangent(manifold: geoopt.Manifold, v: Tensor) -> None:
    if isinstance(manifold, geoopt.ProductManifold):
        _check_size(manifold, v.size(-1), sum(factor_dims(manifold)), "a tangent vector")


def _check_pair(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> None:
    _check_tangent(manifold, v)
    _check_size(manifold, z.size(-1), ambient_dim(manifold, v.size(-1)), "a point")


def max_radius(manifold: geoopt.Manifold) -> float:
    r"""Farthest a point may be from the origin: :func:`exp0` and :func:`move` pull a point back along its geodesic.

    :math:`10/\sqrt{-\kappa}` on hyperbolic spaces (where float64 distances are still good to 1e-7),
    :math:`0.9\pi/\sqrt\kappa` on spherical ones (the antipode is singular), infinite on flat ones; on a product each
    factor keeps its own bound and this is the root of the sum of their squares.
    """
    if isinstance(manifold, geoopt.ProductManifold):
        return sum(max_radius(factor) ** 2 for factor in manifold.manifolds) ** 0.5
    return float(family(manifold).max_radius(manifold))


def origin(
    manifold: geoopt.Manifold,
    num_points: int,
    dim: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """The origin, once per node.

    Args:
        manifold: a supported geoopt manifold.
        num_points: how many copies.
        dim: intrinsic dimension.
        dtype: of the result.
        device: of the result.

    Shapes:
        Returns ``[num_points, ambient_dim]``.

    """
    device = torch.device(device or "cpu")
    if isinstance(manifold, geoopt.ProductManifold):
        _check_size(manifold, dim, sum(factor_dims(manifold)), "a tangent vector")
        parts = [family(f).origin(f, v.stop - v.start, dtype, device) for f, _, v in _factors(manifold)]
        point = torch.cat(parts)
    else:
        point = family(manifold).origin(manifold, dim, dtype, device)
    return point.expand(num_points, -1)


def exp0(manifold: geoopt.Manifold, v: Tensor) -> Tensor:
    r"""Exponential map at the origin, :math:`\exp_o(v)`.

    Shapes:
        ``v``: ``[..., d]``; returns ``[..., ambient_dim]`` in the dtype of ``v``.
    """
    _check_tangent(manifold, v)
    wide = v.double()
    if isinstance(manifold, geoopt.ProductManifold):
        point = torch.cat([family(f).exp0(f, wide[..., part]) for f, _, part in _factors(manifold)], dim=-1)
    else:
        point = family(manifold).exp0(manifold, wide)
    return point.to(v.dtype)


def log0(manifold: geoopt.Manifold, z: Tensor) -> Tensor:
    r"""Logarithm at the origin: the ``v`` with :math:`\exp_o(v) = z`, so :math:`|v|` is the distance to the origin.

    Shapes:
        ``z``: ``[..., ambient_dim]``; returns ``[..., d]`` in the dtype of ``z``.
    """
    wide = z.double()
    if isinstance(manifold, geoopt.ProductManifold):
        _check_size(manifold, z.size(-1), manifold.n_elements, "a point")
        v = torch.cat([family(f).log0(f, wide[..., part]) for f, part, _ in _factors(manifold)], dim=-1)
    else:
        v = family(manifold).log0(manifold, wide)
    return v.to(z.dtype)


def transport0(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r"""Parallel transport :math:`PT_{o \to z}(v)` along the geodesic from the origin, an isometry.

    Shapes:
        ``z``: ``[..., ambient_dim]``; ``v``: ``[..., d]``; returns an ambient tangent vector at ``z``,
        ``[..., ambient_dim]``, in the dtype of ``z``.
    """
    _check_pair(manifold, z, v)
    wide, tangent = z.double(), v.double()
    if isinstance(manifold, geoopt.ProductManifold):
        moved = [family(f).transport0(f, wide[..., p], tangent[..., t]) for f, p, t in _factors(manifold)]
        return torch.cat(moved, dim=-1).to(z.dtype)
    return family(manifold).transport0(manifold, wide, tangent).to(z.dtype)


def move(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r"""One step on the manifold: :math:`\exp_z(PT_{o \to z}(v))`, kept inside :func:`max_radius`.

    The vector is carried from the origin by parallel transport, which preserves its length; an ambient projection
    would multiply it by up to :math:`\cosh^2` of the radius.

    Shapes:
        ``z``: ``[..., ambient_dim]``; ``v``: ``[..., d]``; returns ``[..., ambient_dim]`` in the dtype of ``z``.

    Raises:
        ValueError: if the sizes of ``z`` and ``v`` do not fit the manifold.

    """
    _check_pair(manifold, z, v)
    wide, tangent = z.double(), v.double()
    if isinstance(manifold, geoopt.ProductManifold):
        moved = [family(f).move(f, wide[..., p], tangent[..., t]) for f, p, t in _factors(manifold)]
        return torch.cat(moved, dim=-1).to(z.dtype)
    return family(manifold).move(manifold, wide, tangent).to(z.dtype)


def distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    r"""Geodesic distance; on a product :math:`\sqrt{\sum_i d_i^2}`. Its gradient is zero where the points coincide.

    Shapes:
        ``x``, ``y``: ``[..., ambient_dim]``, broadcast against each other; returns ``[...]`` in the dtype of ``x``.
    """
    a, b = x.double(), y.double()
    if isinstance(manifold, geoopt.ProductManifold):
        _check_size(manifold, x.size(-1), manifold.n_elements, "a point")
        parts = [family(f).distance(f, a[..., p], b[..., p]) for f, p, _ in _factors(manifold)]
        return norm(torch.cat(parts, dim=-1)).squeeze(-1).to(x.dtype)
    return family(manifold).distance(manifold, a, b).squeeze(-1).to(x.dtype)


def bound_length(v: Tensor, max_length: float = 1.0) -> Tensor:
    r"""Bound the length of a step smoothly: :math:`v \mapsto \tanh(|v|/b)\,b\,v/|v|`, near the identity for short ``v``.

    Without it a step of the published model grows without bound and, on the hyperboloid, leaves the range of any
    floating-point format within a few updates. Computed in float64 and returned in float64.

    Args:
        v: tangent vectors at the origin, ``[..., d]``.
        max_length: the bound ``b`` on their length.

    """
    wide = v.double()
    return wide * tanc(-squared_norm(wide) / max_length**2)
