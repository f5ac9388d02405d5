"""What one update reads; mini-batches: whose turn it is in an epoch, and the neighbours drawn around them."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import NodeSamplerInput

from msg.calls import given
from msg.graph import NeighborSampler, SparseMatrix
from msg.layers.draws import generator_of
from msg.models.network import GraphNetwork, LayeredNetwork
from msg.sizes import check_sizes


class Batch(NamedTuple):
    """What one update reads: a graph, a sample of it or several graphs, and which of its outputs are scored.

    Attributes:
        x: node features, ``[N, F]``.
        edge_index: edges that pass messages, ``[2, E]``.
        target: nodes, a mask ``[N]``, pairs ``[2, M]``, or graphs.
        labels: of the targets.
        batch_size: number of seeds of a sample, which come first and alone have an output; ``None``: a whole graph.
        num_sampled_nodes_per_hop: how many nodes of a sample were met at each hop.
        num_sampled_edges_per_hop: how many of its edges were drawn at each hop.
        batch: the graph of each node, ``[N]``, where there are several; each has an output.
        edge_weight: weights of the edges, ``[E]``; ``None``: models are not given any.
    """

    x: Tensor
    edge_index: Tensor
    target: Tensor
    labels: Tensor
    batch_size: int | None = None
    num_sampled_nodes_per_hop: list[int] | None = None
    num_sampled_edges_per_hop: list[int] | None = None
    batch: Tensor | None = None
    edge_weight: Tensor | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights of the edges as models are given them, if there are any."""
        return given(edge_weight=self.edge_weight)

    def outputs(self, model: nn.Module, alone: bool = False) -> Tensor:
        """What a model returns for the batch: of all nodes, of the seeds, or of all graphs; of the targets ``alone``,
        which are nodes of a whole graph, where a model takes nodes.

        The library's own networks trim their layers. Others run on the whole sample: trimmed, a convolution that
        normalises would see other degrees in each layer.

        Raises:
            ValueError: for graphs or a sample, and a convolution that keeps the matrix of the first graph it sees; for
                a sample of fewer hops than a network of this library looks.
        """
        if self.batch is not None:
            check_uncached(model)
            return model(self.x, self.edge_index, **self.weights, batch=self.batch, batch_size=len(self.labels))
        if self.batch_size is None:
            nodes = {"nodes": self.target} if alone else {}
            return model(self.x, self.edge_index, **self.weights, **nodes)
        check_uncached(model)
        if isinstance(model, GraphNetwork) and self.num_sampled_edges_per_hop is not None:
            model.check_sample(len(self.num_sampled_edges_per_hop))
        if isinstance(model, LayeredNetwork):
            nodes, edges = self.num_sampled_nodes_per_hop, self.num_sampled_edges_per_hop
            return model(self.x, self.edge_index, self.edge_weight, self.batch_size, nodes, edges)
        return model(self.x, self.edge_index, **self.weights)[: self.batch_size]


def check_uncached(model: nn.Module) -> None:
    """Raise ``ValueError`` for a convolution that keeps the matrix of the first graph it sees."""
    for module in model.modules():
        if getattr(module, "cached", False) is True:
            kind = type(module).__name__
            raise ValueError(f"{kind} keeps the matrix of the first graph for all others: make it with cached=False")


@dataclass(frozen=True)
class MiniBatches:
    """How an epoch is divided.

    Attributes:
        batch_size: how many nodes (or links) a batch has; the last one has what is left.
        fan_out: how many neighbours are drawn at each hop, -1 for all; one for each convolution of the model.
        seed: what is drawn depends on it, on the epoch and on the graph alone.
        inference: measure nodes layer by layer, ``batch_size`` at a time, where the model can, and not in one forward;
            firing rates are then not measured.

    Raises:
        ValueError: for no nodes, no hop, or a fan-out that is neither positive nor -1.
    """

    batch_size: int
    fan_out: tuple[int, ...]
    seed: int = 0
    inference: bool = False

    def __post_init__(self):
        check_sizes(batch_size=self.batch_size)
        if not self.fan_out or any(number < 1 and number != -1 for number in self.fan_out):
            raise ValueError(f"fan_out must be positive numbers, or -1 for all neighbours, not {self.fan_out}")

    def order(self, number: int, epoch: int) -> Iterator[Tensor]:
        """Positions out of ``number`` ones in random order, batch by batch.

        Args:
            number: of nodes or links.
            epoch: each has its own order.
        """
        yield from torch.randperm(number, generator=generator_of(self.seed, epoch, 1)).split(self.batch_size)


class Surroundings:
    """The neighbours of nodes in one graph.

    Args:
        x: node features ``[N, F]``, dense or sparse.
        edge_index: ``[2, E]``.
        settings: what is drawn.
        edge_weight: ``[E]``, or ``None``.
    """

    def __init__(self, x: Tensor, edge_index: Tensor, settings: MiniBatches, edge_weight: Tensor | None = None):
        self.x, self.settings, self.edge_weight = x, settings, edge_weight
        self.data = Data(x=x, edge_index=edge_index, edge_weight=edge_weight, num_nodes=x.size(0))
        self.sampler = NeighborSampler(self.data, settings.fan_out, seed=settings.seed)
        self._sparse = None if x.layout == torch.strided else SparseMatrix.from_tensor(x)

    @cached_property
    def everything(self) -> NodeLoader:
        """All nodes with all neighbours of one hop, for inference."""
        sampler = NeighborSampler(self.data, [-1], seed=0)  # draws nothing from the training's random numbers
        data = self.data
        if self._sparse is not None:  # of sparse layouts PyG's loaders take rows of this one alone
            data = copy(data).update({"x": self.x.to_sparse_coo()})
        return NodeLoader(data, sampler, batch_size=self.settings.batch_size, generator=torch.Generator())

    def around(self, seeds: Tensor, epoch: int) -> dict[str, Any]:
        """Features, edges and numbers of a sample, as :class:`~msg.training.Batch` names them.

        Args:
            seeds: nodes.
            epoch: the same seeds have other neighbours in another one.
        """
        self.sampler.set_epoch(epoch)
        out: Any = self.sampler.sample_from_nodes(NodeSamplerInput(None, seeds.cpu()))
        device = self.x.device
        nodes = out.node.to(device)
        return {
            "x": self.x[nodes] if self._sparse is None else self._sparse.take(nodes).csr,
            "edge_index": torch.stack([out.row, out.col]).to(device),
            "batch_size": len(seeds),
            "num_sampled_nodes_per_hop": out.num_sampled_nodes,
            "num_sampled_edges_per_hop": out.num_sampled_edges,
            "edge_weight": self._weights(out.edge),
        }

    def _weights(self, edge: Tensor) -> Tensor | None:
        """Weights of edges that are numbered as the sampler does."""
        if self.edge_weight is None:
            return None
        order = self.sampler.edge_permutation
        return self.edge_weight[(edge if order is None else order[edge]).to(self.edge_weight.device)]
