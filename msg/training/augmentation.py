"""What is random about a graph in training, so that a network does not rely on single features or edges."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import HalfHop
from torch_geometric.utils import dropout_edge

from msg.graph import Memo, SparseMatrix
from msg.layers import dropout
from msg.models.network import GraphNetwork
from msg.training.batches import Batch, MiniBatches, check_uncached


@dataclass(frozen=True)
class Augmentation:
    """A graph drawn anew for every update in training; what is measured is always the graph itself.

    Attributes:
        input_dropout: probability of dropping each feature of each node; the others are scaled.
        drop_edge: probability of dropping each edge, both of its directions apart. `Rong et al. 2020, DropEdge
            <https://arxiv.org/abs/1907.10903>`_.
        half_hop: probability that a node gets its messages through slow nodes halfway along its edges,
            :class:`torch_geometric.transforms.HalfHop` with ``alpha=0.5``. `Azabou et al. 2023, Half-Hop
            <https://arxiv.org/abs/2308.09198>`_.

    Raises:
        ValueError: for probabilities that are none, or of 1.
    """

    input_dropout: float = 0.0
    drop_edge: float = 0.0
    half_hop: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be a probability below 1, not {getattr(self, field.name)}")

    @property
    def changes_graph(self) -> bool:
        """Whether edges or nodes are not those of the graph."""
        return self.drop_edge > 0 or self.half_hop > 0


class Augmenting:
    """An augmentation at work on the batches of one task.

    Args:
        settings: what is random.
        batches: how the graph is divided, ``None``: it is not.

    Raises:
        ValueError: for edges that are drawn twice: those of a mini-batch are drawn already.
    """

    def __init__(self, settings: Augmentation, batches: MiniBatches | None = None):
        if settings.changes_graph and batches is not None:
            raise ValueError("drop_edge and half_hop are for whole graphs: mini-batches draw their edges already")
        self.settings = settings
        self._patterns = Memo()

    def __call__(self, batch: Batch, model: nn.Module) -> tuple[Batch, Tensor | None]:
        """A batch drawn anew with torch's generator, and which rows of the output are the graph's (``None``: all).

        Args:
            batch: of a task.
            model: that reads it; the library's own keep sparse features as they are.
        """
        settings, nodes = self.settings, None
        if settings.changes_graph:
            check_uncached(model)
        x, edge_index, weight = batch.x, batch.edge_index, batch.edge_weight
        if settings.drop_edge:
            edge_index, kept = dropout_edge(edge_index, settings.drop_edge)
            weight = None if weight is None else weight[kept]
        if settings.half_hop:
            if weight is not None:
                raise ValueError("half_hop makes edges that have no weight: use drop_edge, or leave edge_weight out")
            dense = x if x.layout == torch.strided else x.to_dense()
            slowed: Any = HalfHop(alpha=0.5, p=settings.half_hop)(Data(x=dense, edge_index=edge_index))
            x, edge_index, nodes = slowed.x, slowed.edge_index, ~slowed.slow_node_mask
        if settings.input_dropout:
            x = self._dropped(x, isinstance(model, GraphNetwork))
        return batch._replace(x=x, edge_index=edge_index, edge_weight=weight), nodes

    def _dropped(self, x: Tensor, ours: bool) -> Any:
        """``x`` under dropout, as sparse as it was: a matrix where the model is ``ours``; its pattern is made once."""
        probability = self.settings.input_dropout
        if x.layout == torch.strided:
            return dropout(x, probability)
        pattern = self._patterns.recall((x,), (), lambda: SparseMatrix.from_tensor(x))
        matrix = dropout(pattern, probability)
        return matrix if ours else matrix.csr
