"""How far a graph is from a tree, by Gromov's four points."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from msg.geometry.estimate import Estimate
from msg.geometry.metric import Component, generators
from msg.sizes import check_sizes

_LANDMARKS = 200
"""Nodes of a repeat, among which quadruples are drawn: each costs a search through the graph."""


class Hyperbolicity(NamedTuple):
    r"""What :func:`gromov_hyperbolicity` found.

    Attributes:
        mean: of :math:`\delta` over quadruples, in edges.
        largest: the largest :math:`\delta` that was seen, a lower bound of the graph's.
        diameter: the longest shortest path that was seen, a lower bound of the graph's.
        relative: :math:`2\delta/\mathrm{diam}` of these two, from 0 for a tree to 1.
    """

    mean: Estimate
    largest: float
    diameter: int

    @property
    def relative(self) -> float:
        """Of the largest to half the diameter."""
        return 2 * self.largest / self.diameter


def gromov_hyperbolicity(
    edge_index: Tensor, num_nodes: int | None = None, num_samples: int = 20_000, repeats: int = 5, seed: int = 0
) -> Hyperbolicity:
    r"""Gromov's :math:`\delta` of quadruples of nodes: of the three sums

    .. math:: d(x, y) + d(u, v), \qquad d(x, u) + d(y, v), \qquad d(x, v) + d(y, u)

    half the difference of the two largest. It is 0 for every quadruple of a tree or a complete graph, at most half the
    diameter, and at most :math:`\lfloor n/4\rfloor` in a cycle of ``n`` nodes (half an edge less where
    :math:`n = 4k + 1`).

    Each repeat draws 200 nodes of the largest connected part, and quadruples of different ones among them.

    Source: `Gromov 1987, Hyperbolic Groups <https://doi.org/10.1007/978-1-4613-9586-7_3>`_; sampled as in `Chami et al.
    2019, Hyperbolic Graph Convolutional Neural Networks <https://arxiv.org/abs/1910.12933>`_.

    Args:
        edge_index: ``[2, E]``; an edge leads both ways.
        num_nodes: of the graph; ``None``: as many as ``edge_index`` names.
        num_samples: quadruples of a repeat.
        repeats: how often nodes are drawn.
        seed: of what is drawn.

    Raises:
        ValueError: for fewer than four connected nodes, fewer samples or repeats than one.
    """
    return hyperbolicity_of(Component(edge_index, num_nodes), num_samples, repeats, seed)


def hyperbolicity_of(part: Component, num_samples: int, repeats: int, seed: int) -> Hyperbolicity:
    """The same of a connected graph."""
    if len(part) < 4:
        raise ValueError(f"four connected nodes are needed, and the largest part has {len(part)}: give a larger graph")
    check_sizes(num_samples=num_samples)
    means, largest, diameter = [], 0.0, 0
    for random in generators(seed, repeats):
        nodes = part.draw(_LANDMARKS, random)
        hops = part.hops(nodes)[:, nodes]
        # four different ones: the first four of a random order of all would cost as many draws as nodes
        quadruples = np.empty((0, 4), dtype=int)
        while len(quadruples) < num_samples:  # of a few nodes most draws have one of them twice
            drawn = random.integers(len(nodes), size=(4 * num_samples, 4))
            ordered = np.sort(drawn, axis=1)
            quadruples = np.concatenate([quadruples, drawn[(ordered[:, 1:] > ordered[:, :-1]).all(1)]])
        x, y, u, v = quadruples[:num_samples].T
        sums = np.sort([hops[x, y] + hops[u, v], hops[x, u] + hops[y, v], hops[x, v] + hops[y, u]], axis=0)
        delta = (sums[2] - sums[1]) / 2
        means.append(float(delta.mean()))
        largest, diameter = max(largest, float(delta.max())), max(diameter, int(hops.max()))
    return Hyperbolicity(Estimate.of(means), largest, diameter)
