"""Networks without spikes to compare with, on the cached sparse products of the spiking ones."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from msg.nn import Propagation, Synapse
from msg.nn.network import GraphNetwork


class SGC(GraphNetwork):
    r"""Simple graph convolution, :math:`\hat A^K X W + b`.

    Source: `Wu et al. 2019, Simplifying Graph Convolutional Networks <https://arxiv.org/abs/1902.07153>`_, with the
    weights first: the same function, and fewer columns to propagate.

    Args:
        in_channels: number of features.
        out_channels: number of classes.
        num_hops: ``K``.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; returns ``[N, C]``.
    """

    def __init__(self, in_channels: int, out_channels: int, num_hops: int = 2):
        super().__init__()
        self.in_channels = in_channels
        self.weights = Synapse(nn.Linear(in_channels, out_channels, bias=False))
        self.propagation = Propagation(num_hops)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """See the class."""
        features, graph = self._prepare(x, edge_index, None)
        return self.propagation(self.weights(features, graph), edge_index) + self.bias


class SAGE(GraphNetwork):
    """Mean aggregation with weights of its own for the node itself, and ReLU.

    Source: `Hamilton et al. 2017, Inductive Representation Learning on Large Graphs <https://arxiv.org/abs/1706.02216>`_,
    on whole neighbourhoods.

    Args:
        sizes: channels of features, hidden layers and classes.
        dropout: probability, before every layer but the first.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; returns ``[N, C]``.
    """

    def __init__(self, sizes: list[int], dropout: float = 0.0):
        super().__init__()
        self.in_channels = sizes[0]
        self.layers = nn.ModuleList(Synapse(SAGEConv(i, o)) for i, o in pairwise(sizes))
        self.act, self.dropout = nn.ReLU(), nn.Dropout(dropout)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """See the class."""
        h, graph = self._prepare(x, edge_index, None)
        first, *others = self.layers
        h = first(h, graph)
        for layer in others:
            h = layer(self.dropout(self.act(h)), graph)
        return h
