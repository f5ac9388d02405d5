"""Whole graphs: a model of nodes, the mean of a graph's points, and a read-out."""

from torch import Tensor, nn
from torch_geometric.nn import MLP

from msg.calls import given
from msg.layers import GraphReadout, ManifoldPath


class GraphClassifier(nn.Module):
    r"""Any model of nodes as a classifier of graphs.

    .. math::
        z = f(X, A), \qquad v_g = \log_o\operatorname{mean}_{i \in g} z_i, \qquad \text{logits}_g = \mathrm{MLP}(v_g),

    with a perceptron of one hidden layer of leaky ReLUs, as wide as :math:`v`, for every model alike. Where the model
    has a :class:`~msg.layers.ManifoldPath`, the mean is one of points on its manifold; of any other model, PyG's too,
    nodes are vectors.

    .. code-block:: python

        model = GraphClassifier(MSG(dataset.num_features, manifold="H32"), dataset.num_classes)
        for data in DataLoader(dataset, batch_size=32, shuffle=True):
            out = model(data.x, data.edge_index, batch=data.batch)

    Args:
        model: ``(x, edge_index) -> [N, ...]``; of points or embeddings, not of logits: an :class:`~msg.nn.MSG` without
            ``out_channels``, PyG's ``GIN``.
        out_channels: number of classes ``C``.
        pooling: ``"mean"``, ``"frechet"`` or ``"sum"``, see :class:`~msg.nn.GraphReadout`.
        dropout: probability, in the perceptron.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; ``batch``: graph of each node, ``[N]``;
        returns logits ``[batch_size, C]``.

    Raises:
        ValueError: for an unknown pooling, or a model that returns logits or does not say its width.
    """

    def __init__(self, model: nn.Module, out_channels: int, pooling: str = "mean", dropout: float = 0.0):
        super().__init__()
        path, width = getattr(model, "path", None), getattr(model, "out_channels", None)
        manifold = None
        if isinstance(path, ManifoldPath):
            if width is not None:
                raise ValueError(f"{type(model).__name__} returns logits of nodes: make it without out_channels")
            manifold, width = path.manifold, path.out_channels
        if not isinstance(width, int):
            raise ValueError(
                f"{type(model).__name__} does not say how wide its output is: use a model with a path to points (MSG), "
                "or one that returns vectors and has their width as out_channels"
            )
        self.model, self.out_channels = model, out_channels
        self.readout = GraphReadout(manifold, pooling)
        # means of graphs lie close together: one step can take them all to where a ReLU has no gradient, for good
        self.head = MLP([width, width, out_channels], dropout=dropout, act="leaky_relu", norm=None)

    def reset_parameters(self) -> None:
        """Reset the model and the perceptron."""
        self.model.reset_parameters()  # pyright: ignore[reportCallIssue]
        self.head.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        """Logits of each graph.

        Args:
            x: features of all nodes.
            edge_index: edges of all graphs.
            edge_weight: their weights.
            batch: graph of each node, as PyG's loaders give it; ``None``: all are of one graph.
            batch_size: number of graphs; ``None``: as many as ``batch`` names.
            edge_attr: features of edges, for a model whose convolutions read them.
            edge_type: kinds of edges, for the same.

        Raises:
            ValueError: for shapes that do not fit, or whole numbers in the place of the weights and no ``batch``: in
                PyG's examples graphs are the third argument.
        """
        if batch is None and edge_weight is not None and not edge_weight.is_floating_point():
            raise ValueError(
                f"edge_weight, the third argument, holds whole numbers ({edge_weight.dtype}), graphs of nodes "
                "rather than weights: give batch=batch, or weights of a floating type"
            )
        known = given(edge_weight=edge_weight, edge_attr=edge_attr, edge_type=edge_type)
        nodes = self.model(x, edge_index, **known)
        if not isinstance(nodes, Tensor):
            raise ValueError(
                f"{type(self.model).__name__} returned {type(nodes).__name__}, not a vector of each node: wrap it in a "
                "module that returns that alone"
            )
        return self.head(self.readout(nodes, batch, batch_size).to(self.head.lins[0].weight.dtype))
