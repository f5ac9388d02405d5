"""Flat space (:class:`geoopt.Euclidean`): everything is vector addition."""

import math
from collections import Counter

import geoopt
import torch
from torch import Tensor

from msg.manifolds.family import Family
from msg.manifolds.trigonometry import dot, norm, squared_norm


class Euclidean(Family[geoopt.Euclidean]):
    """Points are vectors, and all tangent spaces are the same."""

    def curvature(self, manifold: geoopt.Euclidean) -> float:
        return 0.0

    def ambient_dim(self, manifold: geoopt.Euclidean, dim: int) -> int:
        """Flat space needs no extra coordinate."""
        return dim

    def max_radius(self, manifold: geoopt.Euclidean) -> float:
        """Flat space is never ill-conditioned, so it has no radius bound."""
        return math.inf

    def origin(self, manifold: geoopt.Euclidean, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The zero vector, shape ``[dim]``."""
        return torch.zeros(dim, dtype=dtype, device=device)

    def exp0(self, manifold: geoopt.Euclidean, v: Tensor) -> Tensor:
        return v

    def log0(self, manifold: geoopt.Euclidean, z: Tensor) -> Tensor:
        return z

    def transport0(self, manifold: geoopt.Euclidean, z: Tensor, v: Tensor) -> Tensor:
        return torch.broadcast_tensors(v, z)[0]

    def move(self, manifold: geoopt.Euclidean, z: Tensor, v: Tensor) -> Tensor:
        return z + v

    def distance(self, manifold: geoopt.Euclidean, x: Tensor, y: Tensor) -> Tensor:
        return norm(x - y)

    def squared_distance(self, manifold: geoopt.Euclidean, x: Tensor, y: Tensor) -> Tensor:
        return squared_norm(x - y)

    def inner(self, manifold: geoopt.Euclidean, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """The inner product of vectors, whatever geoopt's ``ndim`` (it decides whether geoopt's own sums)."""
        return dot(u, v)

    def defect(self, manifold: geoopt.Euclidean, rows: Tensor) -> Tensor:
        """None: every vector is a point."""
        return rows.new_zeros(rows.size(0))

    def move_operations(self, manifold: geoopt.Euclidean, dim: int) -> Counter[str]:
        """An addition for each coordinate."""
        return Counter({"accumulate": dim})

    def exp0_operations(self, manifold: geoopt.Euclidean, dim: int) -> Counter[str]:
        """None: the step is the point."""
        return Counter()

    def log0_operations(self, manifold: geoopt.Euclidean, dim: int) -> Counter[str]:
        return Counter()


EUCLIDEAN = Euclidean("Euclidean", geoopt.Euclidean, lambda: geoopt.Euclidean(1))
"""The family of :class:`geoopt.Euclidean`, letter ``E``."""
