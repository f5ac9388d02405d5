"""Edges in the forms that users of PyTorch Geometric have them in, and the last graphs that were made of them."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.typing import SparseTensor  # pyright: ignore[reportAttributeAccessIssue] - or its stand-in
from torch_geometric.utils import to_edge_index

from msg.graph.graph import Graph
from msg.graph.memo import Memo


def is_adjacency(edges: Any) -> bool:
    """Whether edges are given as a matrix: ``torch.sparse`` of any layout, or torch-sparse's ``SparseTensor``."""
    return isinstance(edges, SparseTensor) or (isinstance(edges, Tensor) and edges.layout != torch.strided)


def as_edges(edges: Any, edge_weight: Tensor | None, num_nodes: int) -> tuple[Tensor, Tensor | None]:
    r"""``edge_index`` and ``edge_weight`` of a graph that may be given as a transposed adjacency matrix.

    As for PyG's convolutions and as ``torch_geometric.transforms.ToSparseTensor`` makes it, an entry :math:`(i, j)` is
    the edge from ``j`` to ``i``, and its value the weight. A matrix of ones has none.

    Args:
        edges: ``[2, E]``, which is returned as it is with its weights; or ``adj_t``, ``[N, N]``.
        edge_weight: ``[E]``, beside ``[2, E]`` only.
        num_nodes: ``N``.

    Raises:
        ValueError: for weights beside a matrix, or a matrix of another shape or in blocks, whose zeros are no edges.
    """
    if not is_adjacency(edges):
        return edges, edge_weight
    if edge_weight is not None:
        raise ValueError("edge_weight contradicts an adjacency matrix, whose values are the weights: leave it out")
    sizes = [edges.size(dim) for dim in range(edges.dim())]
    if sizes != [num_nodes, num_nodes]:
        raise ValueError(
            f"x has {num_nodes} nodes, but the adjacency matrix is {sizes}; a bipartite graph is not for models: use "
            "one node set, or layers of msg.nn.SpikingConv"
        )
    if isinstance(edges, Tensor) and edges.layout in (torch.sparse_bsr, torch.sparse_bsc):
        raise ValueError(
            "an adjacency matrix in blocks holds zeros, which are no edges: use adj_t.to_dense().to_sparse_csr()"
        )
    if isinstance(edges, Tensor) and edges.layout == torch.sparse_coo:
        edges = edges.coalesce()  # entries that stand there twice are sums, and PyG would call them single in place
    targets_sources, value = to_edge_index(edges)
    plain = not value.requires_grad and bool((value == 1).all())
    return targets_sources.flip(0), None if plain else value


class GraphMemo(Memo):
    """A :class:`Memo` of graphs."""

    def graph(self, edges: Any, edge_weight: Tensor | None, num_nodes: int) -> Graph:
        """The graph, with the matrices that were made of it.

        Args:
            edges: ``[2, E]``, ``adj_t`` (see :func:`as_edges`), or a graph that is made already.
            edge_weight: ``[E]``.
            num_nodes: ``N``.

        Raises:
            ValueError: as :func:`as_edges` and :class:`Graph`.
        """
        if isinstance(edges, Graph):
            if edge_weight is not None:
                raise ValueError(
                    "edge_weight contradicts a graph that is made already, which has its own: leave it out"
                )
            if edges.num_nodes != num_nodes:
                raise ValueError(f"x has {num_nodes} nodes, but the graph has {edges.num_nodes}")
            return edges.of_a_pass()
        # what a SparseTensor is made of, which lives as long as it does
        tensors = edges.coo() if isinstance(edges, SparseTensor) else (edges,)
        return self.recall(
            (*tensors, edge_weight), (num_nodes,), lambda: Graph(*as_edges(edges, edge_weight, num_nodes), num_nodes)
        )
