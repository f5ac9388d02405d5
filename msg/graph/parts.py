"""Parts of a graph, as layers read them: those that a sample's hops need, and the surroundings of a few nodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from msg.graph.graph import Graph
from msg.graph.sparse import SparseMatrix, WeightedEdges
from msg.kernels.tracing import traced

Matrix = SparseMatrix | WeightedEdges


class GraphPart(Graph):
    """Some nodes of a graph, the first of which receive from all of them.

    Its matrices are rows of the whole graph's: what a node receives does not depend on how much of the graph is read,
    and neither does the degree that it is normalised by.

    Args:
        whole: the graph.
        edge_index: edges among the part's own nodes, ``[2, E]``, for convolutions that are called as they are.
        edge_weight: of these edges.
        num_nodes: number of nodes.
        num_targets: how many of them receive.
        rows: takes the part's rows out of a matrix of the whole graph.
        single: the same way in steps of one hop.
        edge_values: of its own edges, see :class:`Graph`.
    """

    def __init__(
        self,
        whole: Graph,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        num_nodes: int,
        num_targets: int,
        rows: Callable[[Any], Matrix],
        single: Callable[[], list[Graph]] | None = None,
        edge_values: Mapping[str, Tensor] | None = None,
    ):
        self.edge_values = edge_values or {}
        self.edge_index, self.edge_weight = edge_index, edge_weight
        self.num_nodes, self.num_targets = num_nodes, num_targets
        self._whole, self._rows, self._single = whole, rows, single
        self._matrices: dict[Any, Matrix] = {}

    def along(self, hops: Sequence[int]) -> list[Graph]:
        """See :meth:`Graph.along`; each layer looks one hop far, as many as the part has."""
        return [self] * len(hops) if self._single is None else self._single()

    def matrix(self, key: Any, entries: Callable[[Graph], tuple[Tensor, Tensor]]) -> Matrix:
        """See :meth:`Graph.matrix`."""
        if traced():
            return self._rows(self._whole.matrix(key, entries))
        if key not in self._matrices:
            with torch.inference_mode(False):
                self._matrices[key] = self._rows(self._whole.matrix(key, entries))
        return self._matrices[key]


class SampledGraph(Graph):
    r"""A sample around some nodes, of which only these are asked for at the end.

    Of ``L`` hops of convolutions that are still to come, a node that was met at hop ``h`` takes part in those that have
    ``h`` hops above them: each layer reads the nodes within the hops that are left, and makes those within one less.

    Args:
        edge_index: edges hop by hop, ``[2, E]``.
        edge_weight: ``[E]`` or ``None``.
        nodes: how many nodes were met at each hop, seeds first.
        edges: how many edges were drawn at each hop, one less.

    Raises:
        ValueError: as :class:`Graph`, and for numbers that are not those of a sample.
    """

    def __init__(self, edge_index: Tensor, edge_weight: Tensor | None, nodes: Sequence[int], edges: Sequence[int]):
        super().__init__(edge_index, edge_weight, sum(nodes))
        if len(nodes) != len(edges) + 1 or sum(edges) != self.edge_index.size(1) or min([*nodes, *edges]) < 0:
            raise ValueError(
                f"num_sampled_nodes_per_hop={list(nodes)} and num_sampled_edges_per_hop={list(edges)} are not those of "
                f"a sample with {self.edge_index.size(1)} edges: take both from the batch, as num_sampled_nodes and "
                "num_sampled_edges"
            )
        self.nodes, self.edges = list(nodes), list(edges)
        self.num_targets = self.nodes[0]

    def within(self, hops: int) -> int:
        """Number of nodes that were met within some hops."""
        return sum(self.nodes[: hops + 1])

    def along(self, hops: Sequence[int]) -> list[Graph]:
        """See :meth:`Graph.along`: a part for each layer."""
        left, parts = sum(hops), []
        for number in hops:
            parts.append(self._part(left, left - number))
            left -= number
        return parts

    def _part(self, start: int, stop: int) -> Graph:
        """From the nodes within ``start`` hops to those within ``stop``."""
        nodes, targets, edges = self.within(start), self.within(stop), sum(self.edges[:start])
        weight = None if self.edge_weight is None else self.edge_weight[:edges]
        values = {name: value[:edges] for name, value in self.edge_values.items()}

        def rows(matrix: Matrix) -> Matrix:
            return matrix.first(targets, nodes)

        def single() -> list[Graph]:
            return [self._part(hop, hop - 1) for hop in range(start, stop, -1)]

        one = start - stop < 2
        way = None if one else single
        return GraphPart(self, self.edge_index[:, :edges], weight, nodes, targets, rows, way, values)
