"""The metric of a graph: how many edges lie between two nodes."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

from msg.graph.neighborhoods import Neighborhoods
from msg.sizes import check_sizes


def undirected(edge_index: Tensor, num_nodes: int | None = None) -> sp.csr_matrix:
    """Adjacency matrix of ones: an edge leads both ways, duplicates are one, self-loops are left out.

    Raises:
        ValueError: for a graph without edges, fewer nodes than it names, or what is no ``edge_index``.
    """
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(f"edge_index must have shape [2, E], not {list(edge_index.shape)}")
    if not bool((edge_index[0] != edge_index[1]).any()):
        raise ValueError("the graph has no edge between two nodes, so it has no geometry: give one that has")
    most = int(edge_index.max()) + 1
    if num_nodes is not None and num_nodes < most:
        raise ValueError(
            f"edge_index names node {most - 1}, but num_nodes is {num_nodes}: give the number of all nodes"
        )
    return Neighborhoods(edge_index, num_nodes or most).adjacency


class Component:
    """The largest connected part of a graph, in which all distances are finite.

    Args:
        edge_index: ``[2, E]``; read as :func:`undirected` does.
        num_nodes: of the whole graph; ``None``: as many as ``edge_index`` names.

    Attributes:
        nodes: numbers of its nodes in the whole graph, ``[n]``.
        adjacency: ``[n, n]``.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int | None = None):
        whole = undirected(edge_index, num_nodes)
        _, part = connected_components(whole, directed=False)
        self.nodes = np.flatnonzero(part == np.bincount(part).argmax())
        self.adjacency = sp.csr_matrix(whole[self.nodes][:, self.nodes])
        self.share = len(self.nodes) / len(part)

    def __len__(self) -> int:
        return len(self.nodes)

    def draw(self, number: int, random: np.random.Generator) -> np.ndarray:
        """Different nodes, all if there are not so many."""
        return random.permutation(len(self))[:number]

    def hops(self, sources: np.ndarray) -> np.ndarray:
        """Lengths of shortest paths from some nodes to all, ``[len(sources), n]``."""
        return np.asarray(dijkstra(self.adjacency, directed=False, unweighted=True, indices=sources))


def generators(seed: int, repeats: int) -> list[np.random.Generator]:
    """Independent random numbers for each repeat.

    Raises:
        ValueError: for less than one.
    """
    check_sizes(repeats=repeats)
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(repeats)]
