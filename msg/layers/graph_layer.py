"""What layers that read a graph share: it is prepared once for many forwards."""

from torch import Tensor, nn

from msg.graph import Graph, Memo


class GraphLayer(nn.Module):
    """A layer that reads ``edge_index``, or a graph that is made already, as a network gives it to its layers."""

    def __init__(self):
        super().__init__()
        self._graphs = Memo()

    def graph(self, edge_index: Tensor | Graph, edge_weight: Tensor | None, num_nodes: int) -> Graph:
        """The graph, with the matrices that were made of it.

        Raises:
            ValueError: for shapes that do not fit.
        """
        if isinstance(edge_index, Graph):
            return edge_index
        return self._graphs.recall(
            (edge_index, edge_weight), (num_nodes,), lambda: Graph(edge_index, edge_weight, num_nodes)
        )
