"""Networks without spikes to compare with, on the cached sparse products of the spiking ones where they are ours."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCN, GIN, GATConv, GCNConv, SAGEConv

from msg.graph import Graph, SparseMatrix
from msg.layers import Dropout, Propagation, Synapse
from msg.models.network import LayeredNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec, embedder
from msg.models.walk import Walk
from msg.sizes import check_sizes


class SGC(LayeredNetwork):
    r"""Simple graph convolution, :math:`\hat A^K X W + b`.

    Source: `Wu et al. 2019, Simplifying Graph Convolutional Networks <https://arxiv.org/abs/1902.07153>`_, with the
    weights first: the same function, and fewer columns to propagate.

    Args:
        in_channels: number of features.
        out_channels: number of classes.
        num_hops: ``K``.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``,
        or one row for each seed of a batch.
    """

    def __init__(self, in_channels: int, out_channels: int, num_hops: int = 2):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.weights = Synapse(nn.Linear(in_channels, out_channels, bias=False))
        self.propagation = Propagation(num_hops)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def reset_parameters(self) -> None:
        """Reset weights and bias."""
        self.weights.reset_parameters()
        nn.init.zeros_(self.bias)

    @property
    def hops(self) -> int:
        """``K``."""
        return self.propagation.num_hops

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
    ) -> Tensor:
        batch = batch_size, num_sampled_nodes_per_hop, num_sampled_edges_per_hop
        features, graph = self.prepare(x, edge_index, edge_weight, *batch)
        below, above = graph.along([0, self.hops])
        if above is graph:
            # a part of a graph is more than its edges
            edges = (graph,) if isinstance(edge_index, Graph) else (graph.edge_index, graph.edge_weight)
            return self.propagation(self.weights(features, graph), *edges) + self.bias
        return self.propagation.along(self.weights(features, below), above) + self.bias

    def _walk(self, walk: Walk, features: Tensor | SparseMatrix) -> Tensor:
        (h,) = walk.over(lambda x, graph, _: (self.weights(x, graph),), features, 0)
        return _tensor(walk.propagated(h, self.hops)) + self.bias.cpu()


class _Convolutions(LayeredNetwork):
    """Convolutions with ReLU and dropout between them."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float, convs: Sequence[nn.Module]):
        super().__init__()
        self.in_channels, self.out_channels, self.num_layers = in_channels, out_channels, len(convs)
        self.layers = nn.ModuleList(map(Synapse, convs))
        self.act, self.dropout = nn.ReLU(), Dropout(dropout)

    def reset_parameters(self) -> None:
        """Reset all layers."""
        for layer in self.layers:
            layer.reset_parameters()  # pyright: ignore[reportCallIssue]

    @property
    def hops(self) -> int:
        """One a convolution."""
        return self.num_layers

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
    ) -> Tensor:
        batch = batch_size, num_sampled_nodes_per_hop, num_sampled_edges_per_hop
        h, graph = self.prepare(x, edge_index, edge_weight, *batch)
        for number, (layer, part) in enumerate(zip(self.layers, graph.along([1] * self.num_layers))):
            h = layer(self.dropout(self.act(h)) if number else h, part)
        return _tensor(h)

    def _walk(self, walk: Walk, features: Tensor | SparseMatrix) -> Tensor:
        h = features
        for number, layer in enumerate(self.layers):
            (h,) = walk.over(lambda x, graph, _, layer=layer, n=number: (layer(self.act(x) if n else x, graph),), h)
        return _tensor(h)


def _widths(in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> list[tuple[int, int]]:
    check_sizes(num_layers=num_layers)
    return list(pairwise([in_channels, *[hidden_channels] * (num_layers - 1), out_channels]))


class _Plain(_Convolutions):
    """Convolutions that are told two widths and nothing else."""

    conv: Callable[[int, int], nn.Module]

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int, dropout: float = 0.0
    ):
        widths = _widths(in_channels, hidden_channels, num_layers, out_channels)
        super().__init__(in_channels, out_channels, dropout, [type(self).conv(i, o) for i, o in widths])


class CachedGCN(_Plain):
    """PyG's ``GCN`` on a cached CSR matrix and its transpose: the same function, about three times as fast.

    Whatever is said of a spiking network's speed has to be said against this, since it is what anyone can have with the
    same sparse products.

    Source: `Kipf & Welling 2017, Semi-Supervised Classification with Graph Convolutional Networks
    <https://arxiv.org/abs/1609.02907>`_.

    Args:
        in_channels: number of features.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions.
        out_channels: number of classes.
        dropout: probability, before every layer but the first.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``,
        or one row for each seed of a batch.
    """

    conv = GCNConv


class SAGE(_Plain):
    """Mean aggregation with weights of its own for the node itself, and ReLU.

    Source: `Hamilton et al. 2017, Inductive Representation Learning on Large Graphs
    <https://arxiv.org/abs/1706.02216>`_, on whole neighbourhoods.

    Arguments and shapes are those of :class:`CachedGCN`.
    """

    conv = SAGEConv


class GAT(_Convolutions):
    """PyG's ``GAT`` without laying out messages edge by edge: the same function, about twice as fast.

    The last convolution takes the mean of its heads, the others concatenate them; attention is dropped out too.

    Source: `Veličković et al. 2018, Graph Attention Networks <https://arxiv.org/abs/1710.10903>`_.

    Args:
        in_channels: number of features.
        hidden_channels: width of the hidden layers, all heads together.
        num_layers: number of convolutions.
        out_channels: number of classes.
        dropout: probability, before every layer but the first, and of attention.
        heads: of each convolution.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; returns ``[N, C]``, or one row for each seed of
        a batch.

    Raises:
        ValueError: for heads that do not divide the hidden width; when called, for a graph with edge weights.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        dropout: float = 0.0,
        heads: int = 1,
    ):
        *widths, last = _widths(in_channels, hidden_channels, num_layers, out_channels)
        if heads < 1 or (widths and hidden_channels % heads):
            raise ValueError(f"heads must divide hidden_channels={hidden_channels}, but heads={heads}")
        convs = [GATConv(i, o // heads, heads, dropout=dropout) for i, o in widths]
        convs.append(GATConv(*last, heads, concat=False, dropout=dropout))
        super().__init__(in_channels, out_channels, dropout, convs)


def _tensor(x: Tensor | SparseMatrix) -> Tensor:
    assert isinstance(x, Tensor)
    return x


_LAYERED = frozenset({"hidden_channels", "num_layers", "dropout"})
_ALL = (*NODES_AND_LINKS, "graph-classification")

# cached, as the spiking network's adjacency is, so that times compare the models
GCN_SPEC = ModelSpec(embedder(partial(GCN, cached=True)), _LAYERED, "PyG's GCN", tasks=_ALL, batches=True)
CACHED_GCN_SPEC = ModelSpec(
    embedder(CachedGCN), _LAYERED, "the same on a cached CSR matrix, faster", tasks=_ALL, batches=True, partitions=True
)
GAT_SPEC = ModelSpec(embedder(GAT), _LAYERED | {"heads"}, "GAT, each head one sparse product", tasks=_ALL, batches=True)
# with the batch normalisation and the sum of its paper; it reads no sparse features, which only single graphs have
GIN_SPEC = ModelSpec(
    embedder(partial(GIN, norm="batch_norm")),
    _LAYERED,
    "PyG's GIN, whose nodes are summed",
    defaults={"pooling": "sum"},
    tasks=("graph-classification",),
)
SAGE_SPEC = ModelSpec(
    embedder(SAGE), _LAYERED, "GraphSAGE on whole neighbourhoods", tasks=_ALL, batches=True, partitions=True
)
SGC_SPEC = ModelSpec(
    SGC,
    frozenset({"num_hops"}),
    "simple graph convolution: propagated features, one linear map",
    batches=True,
    partitions=True,
)
