"""Steps on products (:class:`geoopt.ProductManifold`): factor by factor, coordinates side by side."""

from collections.abc import Callable, Iterator
from typing import cast

import geoopt
import torch
from torch import Tensor

from msg.manifolds.families import family
from msg.manifolds.trigonometry import norm


def factors(manifold: geoopt.ProductManifold) -> Iterator[tuple[geoopt.Manifold, slice, slice]]:
    """Yield each factor with the slices of a point and of a tangent vector at the origin that belong to it.

    Raises:
        ValueError: if a factor is not a space of vectors.
        TypeError: if a factor is of an unsupported kind.
    """
    start = 0
    for module, points, shape in zip(manifold.manifolds, manifold.slices, manifold.shapes):
        if len(shape) != 1:
            raise ValueError(f"a factor of shape {tuple(shape)} is not a space of vectors: use one-dimensional factors")
        factor = cast(geoopt.Manifold, module)
        dim = shape[0] - family(factor).ambient_dim(0)
        yield factor, points, slice(start, start + dim)
        start += dim


def intrinsic_dim(manifold: geoopt.ProductManifold) -> int:
    """Sum of the factors' dimensions."""
    return sum(tangent.stop - tangent.start for _, _, tangent in factors(manifold))


def max_radius(manifold: geoopt.ProductManifold) -> float:
    """Root of the sum of the squares of the factors' bounds."""
    return sum(float(family(f).max_radius(f)) ** 2 for f, _, _ in factors(manifold)) ** 0.5


def _join(manifold: geoopt.ProductManifold, part: Callable[[geoopt.Manifold, slice, slice], Tensor]) -> Tensor:
    return torch.cat([part(*factor) for factor in factors(manifold)], dim=-1)


def origin(manifold: geoopt.ProductManifold, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The factors' origins, shape ``[ambient_dim]``."""
    return _join(manifold, lambda f, p, t: family(f).origin(f, t.stop - t.start, dtype, device))


def exp0(manifold: geoopt.ProductManifold, v: Tensor) -> Tensor:
    """Factor by factor."""
    return _join(manifold, lambda f, p, t: family(f).exp0(f, v[..., t]))


def log0(manifold: geoopt.ProductManifold, z: Tensor) -> Tensor:
    """Factor by factor."""
    return _join(manifold, lambda f, p, t: family(f).log0(f, z[..., p]))


def transport0(manifold: geoopt.ProductManifold, z: Tensor, v: Tensor) -> Tensor:
    """Factor by factor."""
    return _join(manifold, lambda f, p, t: family(f).transport0(f, z[..., p], v[..., t]))


def move(manifold: geoopt.ProductManifold, z: Tensor, v: Tensor) -> Tensor:
    """Factor by factor."""
    return _join(manifold, lambda f, p, t: family(f).move(f, z[..., p], v[..., t]))


def distance(manifold: geoopt.ProductManifold, x: Tensor, y: Tensor) -> Tensor:
    r""":math:`\sqrt{\sum_i d_i^2}`, shape ``[..., 1]``."""
    return norm(_join(manifold, lambda f, p, t: family(f).distance(f, x[..., p], y[..., p])))


def squared_distance(manifold: geoopt.ProductManifold, x: Tensor, y: Tensor) -> Tensor:
    r""":math:`\sum_i d_i^2`, shape ``[..., 1]``."""
    return _join(manifold, lambda f, p, t: family(f).squared_distance(f, x[..., p], y[..., p])).sum(-1, keepdim=True)
