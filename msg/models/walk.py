"""A whole graph, one hop at a time and batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.loader import NodeLoader
from tqdm import tqdm

from msg.graph import Graph, GraphPart, SparseMatrix
from msg.graph.sparse import to_dense

Rows = Tensor | SparseMatrix
Step = Callable[[Any, Graph, Tensor], Sequence[Tensor]]
"""From the rows of a batch's nodes, the batch's part of the graph and its seeds to new rows of the seeds."""


class Walk:
    """Computes for all nodes, from what is kept of all nodes, while holding one batch.

    Args:
        loader: of batches with all neighbours of one hop.
        graph: the whole one.
        device: where batches are computed.
        progress_bar: whether to show one.

    Raises:
        ValueError: if ``loader`` samples more than a hop, or not all neighbours.
    """

    def __init__(self, loader: NodeLoader, graph: Graph, device: torch.device | str, progress_bar: bool = False):
        hops: Any = getattr(loader.node_sampler, "num_neighbors", [-1])
        hops = getattr(hops, "values", hops)
        if list(hops) != [-1]:
            raise ValueError(f"loader must give all neighbours of one hop, num_neighbors=[-1], not {list(hops)}")
        self.loader, self.graph, self.device = loader, graph, torch.device(device)
        self._edges = torch.bincount(graph.edge_index[1].cpu(), minlength=graph.num_nodes)
        self._place = torch.full((graph.num_nodes,), -1)
        self._bar = tqdm(desc="Inference", unit="batch", disable=not progress_bar)

    def __enter__(self) -> "Walk":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def over(self, step: Step, rows: Rows, hops: int = 1) -> list[Tensor]:
        """Apply a step to all nodes; returns what it does, on the CPU.

        Args:
            step: done for each batch.
            rows: of all nodes.
            hops: 0 for a step that reads the seeds alone, or 1.
        """
        out: list[Tensor] = []
        reached = torch.zeros(self.graph.num_nodes, dtype=torch.bool)
        for nodes, seeds, graph in self._hop() if hops else self._apart():
            found = step(self._taken(rows, nodes), graph, seeds)
            out = out or [torch.empty(self.graph.num_nodes, *new.shape[1:], dtype=new.dtype) for new in found]
            for kept, new in zip(out, found):
                kept[seeds] = new.cpu()
            reached[seeds] = True
            self._bar.update()
        if not bool(reached.all()):
            raise ValueError(f"loader leaves out {int((~reached).sum())} nodes: make it without input_nodes")
        return out

    def propagated(self, rows: Rows, hops: int) -> Rows:
        """Features after some hops of the normalised adjacency."""
        for _ in range(hops):
            (rows,) = self.over(lambda x, graph, _: (graph.normalized(x.dtype).matmul(to_dense(x)),), rows)
        return rows

    def _taken(self, rows: Rows, nodes: Tensor) -> Rows:
        if isinstance(rows, SparseMatrix):
            return rows.take(nodes.to(rows.values.device)).to(self.device)
        return rows[nodes.to(rows.device)].to(self.device)

    def _hop(self) -> Iterator[tuple[Tensor, Tensor, Graph]]:
        """For each batch its nodes, seeds first, the seeds, and what they receive."""
        for batch in self.loader:
            nodes, size = batch.n_id.cpu(), batch.batch_size
            seeds, edge_index = nodes[:size], batch.edge_index
            if int((edge_index[1] < size).sum()) != int(self._edges[seeds].sum()):
                raise ValueError("loader must give all neighbours of one hop, num_neighbors=[-1]: some are missing")
            weight = batch.get("edge_weight")
            weight = None if weight is None else weight.detach().to(self.device)
            self._place[nodes] = torch.arange(len(nodes))
            rows = self._rows(seeds, len(nodes))
            yield nodes, seeds, GraphPart(self.graph, edge_index.to(self.device), weight, len(nodes), size, rows)

    def _rows(self, seeds: Tensor, number: int) -> Callable[[SparseMatrix], SparseMatrix]:
        def rows(matrix: SparseMatrix) -> SparseMatrix:
            where = matrix.values.device
            return matrix.take(seeds.to(where), self._place.to(where), number).to(self.device)

        return rows

    def _apart(self) -> Iterator[tuple[Tensor, Tensor, Graph]]:
        """Nodes without their edges, as many at once as the loader has seeds."""
        none = torch.empty(2, 0, dtype=torch.long, device=self.device)
        for nodes in torch.arange(self.graph.num_nodes).split(self.loader.batch_size or 1):
            yield nodes, nodes, Graph(none, None, len(nodes))
