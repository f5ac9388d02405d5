"""What layers that read a graph share: it is prepared once for many forwards."""

from torch import Tensor, nn

from msg.graph import Graph, GraphMemo, SparseMatrix
from msg.graph.graph import check_tensors


class GraphLayer(nn.Module):
    """A layer that reads ``edge_index``, or a graph that is made already, as a network gives it to its layers."""

    def __init__(self):
        super().__init__()
        self._graphs = GraphMemo()

    def graph(self, x: Tensor | SparseMatrix, edge_index: Tensor | Graph, edge_weight: Tensor | None) -> Graph:
        """The graph of nodes ``x``, with the matrices that were made of it.

        Raises:
            ValueError: for shapes that do not fit, or nodes that are no tensor, such as a pair of two kinds.
        """
        if not isinstance(x, SparseMatrix):
            check_tensors(x=x)
        return self._graphs.graph(edge_index, edge_weight, x.size(0))
