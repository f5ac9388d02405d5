r"""The six functions that every model needs of a manifold, correct and differentiable on all of them.

A vector :math:`v \in \mathbb{R}^d` always means the tangent vector at the origin with these coordinates in an
orthonormal frame, ``d`` being the intrinsic dimension; a point has the coordinates geoopt gives it (``d + 1`` on the
hyperboloid and the sphere, ``d`` elsewhere, factors of a product side by side). Everything is computed in float64,
because hyperbolic geometry loses all digits of float32 at a radius of ten, and returned in the dtype of the point.
"""

from types import ModuleType

import geoopt
import torch
from torch import Tensor

from msg.manifolds import product
from msg.manifolds.families import family
from msg.manifolds.trigonometry import squared_norm, tanc


def _steps(manifold: geoopt.Manifold) -> ModuleType:
    return product if isinstance(manifold, geoopt.ProductManifold) else family(manifold)


def ambient_dim(manifold: geoopt.Manifold, dim: int) -> int:
    """How many coordinates a point has on a manifold of intrinsic dimension ``dim``."""
    return manifold.n_elements if isinstance(manifold, geoopt.ProductManifold) else family(manifold).ambient_dim(dim)


def _check_size(manifold: geoopt.Manifold, given: int, expected: int, what: str) -> None:
    if given != expected:
        raise ValueError(f"{what} of size {given} does not fit {manifold!r}, which needs size {expected}")


def _check_tangent(manifold: geoopt.Manifold, dim: int) -> None:
    if isinstance(manifold, geoopt.ProductManifold):
        _check_size(manifold, dim, product.intrinsic_dim(manifold), "a tangent vector")


def _check_point(manifold: geoopt.Manifold, z: Tensor) -> None:
    if isinstance(manifold, geoopt.ProductManifold):
        _check_size(manifold, z.size(-1), manifold.n_elements, "a point")


def _check_pair(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> None:
    _check_tangent(manifold, v.size(-1))
    _check_size(manifold, z.size(-1), ambient_dim(manifold, v.size(-1)), "a point")


def max_radius(manifold: geoopt.Manifold) -> float:
    r"""Farthest a point may be from the origin: :func:`exp0` and :func:`move` pull a point back along its geodesic.

    :math:`10/\sqrt{-\kappa}` on hyperbolic spaces (where float64 distances are still good to 1e-7),
    :math:`0.9\pi/\sqrt\kappa` on spherical ones (the antipode is singular), infinite on flat ones; on a product each
    factor keeps its own bound and this is the root of the sum of their squares.
    """
    return float(_steps(manifold).max_radius(manifold))


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
        Returns ``[num_points, ambient_dim]``, a view of one point.
    """
    _check_tangent(manifold, dim)
    point = _steps(manifold).origin(manifold, dim, dtype, torch.device(device or "cpu"))
    return point.expand(num_points, -1)


def exp0(manifold: geoopt.Manifold, v: Tensor) -> Tensor:
    r"""Exponential map at the origin, :math:`\exp_o(v)`.

    Shapes:
        ``v``: ``[..., d]``; returns ``[..., ambient_dim]`` in the dtype of ``v``.
    """
    _check_tangent(manifold, v.size(-1))
    return _steps(manifold).exp0(manifold, v.double()).to(v.dtype)


def log0(manifold: geoopt.Manifold, z: Tensor) -> Tensor:
    r"""Logarithm at the origin: the ``v`` with :math:`\exp_o(v) = z`, so :math:`|v|` is the distance to the origin.

    Shapes:
        ``z``: ``[..., ambient_dim]``; returns ``[..., d]`` in the dtype of ``z``.
    """
    _check_point(manifold, z)
    return _steps(manifold).log0(manifold, z.double()).to(z.dtype)


def transport0(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r"""Parallel transport :math:`PT_{o \to z}(v)` along the geodesic from the origin, an isometry.

    Shapes:
        ``z``: ``[..., ambient_dim]``; ``v``: ``[..., d]``; returns an ambient tangent vector at ``z``,
        ``[..., ambient_dim]``, in the dtype of ``z``.
    """
    _check_pair(manifold, z, v)
    return _steps(manifold).transport0(manifold, z.double(), v.double()).to(z.dtype)


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
    return _steps(manifold).move(manifold, z.double(), v.double()).to(z.dtype)


def distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    r"""Geodesic distance; on a product :math:`\sqrt{\sum_i d_i^2}`. Its gradient is zero where the points coincide.

    Shapes:
        ``x``, ``y``: ``[..., ambient_dim]``, broadcast against each other; returns ``[...]`` in the dtype of ``x``.
    """
    _check_point(manifold, x)
    _check_point(manifold, y)
    return _steps(manifold).distance(manifold, x.double(), y.double()).squeeze(-1).to(x.dtype)


def squared_distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    r"""Squared geodesic distance, for energies: smooth where the points coincide, where :func:`distance` has a kink.

    Shapes:
        ``x``, ``y``: ``[..., ambient_dim]``, broadcast against each other; returns ``[...]`` in the dtype of ``x``.
    """
    _check_point(manifold, x)
    _check_point(manifold, y)
    return _steps(manifold).squared_distance(manifold, x.double(), y.double()).squeeze(-1).to(x.dtype)


def bound_length(v: Tensor, max_length: float = 1.0) -> Tensor:
    r"""Bound the length of a step smoothly, :math:`v \mapsto \tanh(|v|/b)\,b\,v/|v|`: the identity for short ``v``.

    Without it a step of the published model grows without bound and, on the hyperboloid, leaves the range of any
    floating-point format within a few updates. Computed in float64 and returned in float64.

    Args:
        v: tangent vectors at the origin, ``[..., d]``.
        max_length: the bound ``b`` on their length.
    """
    wide = v.double()
    return wide * tanc(-squared_norm(wide) / max_length**2, sign=-1)
