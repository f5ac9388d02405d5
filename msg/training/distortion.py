"""How well distances between points are those of the graph."""

from typing import NamedTuple

import geoopt
import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from msg.manifolds import distance
from msg.sizes import check_sizes


class Distortion(NamedTuple):
    """What :func:`distortion` found.

    Attributes:
        mean: mean relative distortion; 0 is an embedding that keeps all distances.
        scale: by which distances between points were multiplied.
        pairs: number of pairs that were compared.
    """

    mean: float
    scale: float
    pairs: int


def distortion(
    points: Tensor,
    edge_index: Tensor,
    manifold: geoopt.Manifold | None = None,
    num_pairs: int = 10_000,
    seed: int = 0,
    scale: float | None = None,
) -> Distortion:
    r"""Mean relative distortion of an embedding against the lengths of shortest paths.

    .. math::
        \frac{1}{|\mathcal P|} \sum_{(i, j) \in \mathcal P} \frac{|s\, d_M(z_i, z_j) - d_G(i, j)|}{d_G(i, j)}

    over pairs :math:`\mathcal P` of different nodes that a path joins: drawn uniformly with replacement, by sources
    that each are compared with several targets.

    A model trained for links or classes has no unit of length, so by default :math:`s` is the one for which the mean of
    squares is least, :math:`s = \sum r / \sum r^2` with :math:`r = d_M / d_G`. ``scale=1`` is the measure as it is
    published.

    Source: `Sala et al. 2018, Representation Tradeoffs for Hyperbolic Embeddings <https://arxiv.org/abs/1804.03329>`_,
    average distortion, there over all pairs.

    Args:
        points: of the nodes, ``[N, d]``, as a model returns them.
        edge_index: of the graph, ``[2, E]``; an edge leads both ways.
        manifold: of the points; ``None``: flat space.
        num_pairs: how many pairs are compared; fewer where few are joined.
        seed: of the pairs.
        scale: ``s``; ``None``: fitted.

    Raises:
        ValueError: if no path joins two nodes, for fewer pairs than one, or points that all coincide.
    """
    check_sizes(num_pairs=num_pairs)
    source, target, steps = _joined_pairs(edge_index, points.size(0), num_pairs, seed)
    with torch.no_grad():
        near, far = points[source.to(points.device)], points[target.to(points.device)]
        apart = torch.linalg.vector_norm(near - far, dim=-1) if manifold is None else distance(manifold, near, far)
    ratio = apart.double().cpu() / steps
    if scale is None:
        if not bool(ratio.any()):
            raise ValueError("all points coincide: no scale makes their distances those of the graph")
        scale = float(ratio.sum() / ratio.square().sum())
    return Distortion(float((scale * ratio - 1).abs().mean()), scale, len(steps))


def _joined_pairs(edge_index: Tensor, num_nodes: int, num_pairs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of different nodes that a path joins, and its length."""
    ends = edge_index.cpu().numpy()
    adjacency = sp.csr_matrix((np.ones(ends.shape[1]), tuple(ends)), shape=(num_nodes, num_nodes))
    random = np.random.default_rng(seed)
    starts = random.permutation(num_nodes)[: max(1, round(num_pairs**0.5))]
    targets = random.integers(num_nodes, size=(len(starts), -(-num_pairs // len(starts))))
    lengths = np.asarray(dijkstra(adjacency, directed=False, unweighted=True, indices=starts))
    found = np.take_along_axis(lengths, targets, axis=1)
    rows, columns = np.nonzero(np.isfinite(found) & (found > 0))
    if not len(rows):
        raise ValueError("no path joins two of the nodes that were drawn: distances are compared along paths")
    parts = starts[rows], targets[rows, columns], found[rows, columns]
    return tuple(torch.from_numpy(part) for part in parts)  # pyright: ignore[reportReturnType]
