"""Networks without spikes to compare with, on the cached sparse products of the spiking ones."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from msg.nn import Graph, Propagation, SparseMatrix, Synapse
from msg.nn.sparse import Memo


class SGC(nn.Module):
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
        self.weights = Synapse(nn.Linear(in_channels, out_channels, bias=False))
        self.propagation = Propagation(num_hops)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self._inputs = _Inputs()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """See the class."""
        features, graph = self._inputs(x, edge_index)
        return self.propagation(self.weights(features, graph), edge_index) + self.bias


class SAGE(nn.Module):
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
        self.layers = nn.ModuleList(Synapse(SAGEConv(i, o)) for i, o in pairwise(sizes))
        self.act, self.dropout = nn.ReLU(), nn.Dropout(dropout)
        self._inputs = _Inputs()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """See the class."""
        h, graph = self._inputs(x, edge_index)
        first, *others = self.layers
        h = first(h, graph)
        for layer in others:
            h = layer(self.dropout(self.act(h)), graph)
        return h


class _Inputs:
    """Features and graph as synapses read them, kept from one forward to the next."""

    def __init__(self):
        self._features, self._graphs = Memo(), Memo()

    def __call__(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor | SparseMatrix, Graph]:
        nodes = x.size(0)
        graph = self._graphs.recall((edge_index,), (nodes,), lambda: Graph(edge_index, None, nodes))
        if x.layout == torch.strided:
            return x, graph
        return self._features.recall((x,), (), lambda: SparseMatrix.from_tensor(x)), graph
