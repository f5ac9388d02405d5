"""What layers that read a graph share: it is prepared once for many forwards."""

from torch import Tensor, nn

from msg.graph import Graph, GraphMemo


class GraphLayer(nn.Module):
    """A layer that reads ``edge_index``, or a graph that is made already, as a network gives it to its layers."""

    def __init__(self):
        super().__init__()
        self._graphs = GraphMemo()

    def graph(self, edge_index: Tensor | Graph, edge_weight: Tensor | None, num_nodes: int) -> Graph:
        """The graph, with the matrices that were made of it.

        Raises:
            ValueError: for shapes that do not fit.
        """
        return self._graphs.graph(edge_index, edge_weight, num_nodes)
