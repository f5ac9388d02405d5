"""Steps on flat space (:class:`geoopt.Euclidean`): everything is vector addition."""

import math

import geoopt
import torch
from torch import Tensor

from msg.manifolds.trigonometry import norm, squared_norm


def ambient_dim(dim: int) -> int:
    """Flat space needs no extra coordinate."""
    return dim


def max_radius(manifold: geoopt.Euclidean) -> float:
    """Flat space is never ill-conditioned, so it has no radius bound."""
    return math.inf


def origin(manifold: geoopt.Euclidean, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The zero vector, shape ``[dim]``."""
    return torch.zeros(dim, dtype=dtype, device=device)


def exp0(manifold: geoopt.Euclidean, v: Tensor) -> Tensor:
    """``v`` itself."""
    return v


def log0(manifold: geoopt.Euclidean, z: Tensor) -> Tensor:
    """``z`` itself."""
    return z


def transport0(manifold: geoopt.Euclidean, z: Tensor, v: Tensor) -> Tensor:
    """``v`` itself: all tangent spaces are the same."""
    return torch.broadcast_tensors(v, z)[0]


def move(manifold: geoopt.Euclidean, z: Tensor, v: Tensor) -> Tensor:
    """``z + v``."""
    return z + v


def distance(manifold: geoopt.Euclidean, x: Tensor, y: Tensor) -> Tensor:
    """``|x - y|``."""
    return norm(x - y)


def squared_distance(manifold: geoopt.Euclidean, x: Tensor, y: Tensor) -> Tensor:
    """``|x - y|^2``."""
    return squared_norm(x - y)
