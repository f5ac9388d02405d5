"""Distances between many points, and the nearest ones."""

import geoopt
import torch
from torch import Tensor

from msg.manifolds import checks, distance

_ENTRIES = 2**22
"""Coordinates of pairs that are compared at a time."""


def pairwise_distances(manifold: geoopt.Manifold, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Geodesic distances of all pairs.

    ``scikit-learn`` takes them wherever it has ``metric="precomputed"``: neighbours, DBSCAN, silhouettes, t-SNE.

    Args:
        manifold: of the points.
        x: points.
        y: others; ``None``: the same.

    Shapes:
        ``x``: ``[N, ambient_dim]``; ``y``: ``[M, ambient_dim]``; returns ``[N, M]`` in the dtype of ``x``.

    Raises:
        ValueError: for points that do not lie on the manifold.
    """
    with torch.no_grad():
        other = x if y is None else y
        distance(manifold, x[:1], other[:1].to(x.dtype))  # sizes and types
        rows = max(1, _ENTRIES // max(other.numel(), 1))
        for points in (x, other):
            distance(manifold, points, points)  # refuses points that lie elsewhere
        with checks(False):
            parts = [distance(manifold, part.unsqueeze(1), other.unsqueeze(0)) for part in x.split(rows)]
        return torch.cat(parts) if parts else x.new_zeros(0, len(other))


def nearest_neighbors(
    manifold: geoopt.Manifold, points: Tensor, k: int, queries: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest points by geodesic distance, nearest first: exact, by all distances.

    Args:
        manifold: of the points.
        points: among which neighbours are.
        k: how many.
        queries: whose neighbours are wanted; ``None``: of the points themselves, none of which is its own.

    Shapes:
        ``points``: ``[N, ambient_dim]``; ``queries``: ``[Q, ambient_dim]``; returns distances in the dtype of the
        queries and indices of points, ``[Q, k]`` each.

    Raises:
        ValueError: if there are not ``k`` others, or points do not lie on the manifold.
    """
    asked = points if queries is None else queries
    most = len(points) - (queries is None)
    if not 1 <= k <= most:
        raise ValueError(f"k must be from 1 to the number of other points, {most}, not {k}")
    rows = max(1, _ENTRIES // max(points.numel(), 1))
    found = []
    for start in range(0, max(len(asked), 1), rows):  # once for no queries
        apart = pairwise_distances(manifold, asked[start : start + rows], points)
        if queries is None:
            own = torch.arange(len(apart), device=apart.device)
            apart[own, start + own] = torch.inf
        found.append(apart.topk(k, largest=False))
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
