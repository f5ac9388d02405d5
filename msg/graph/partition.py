"""Cutting a graph into parts, one for each process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from msg.graph.exchange import Border
from msg.graph.graph import Graph
from msg.graph.partitioned import PartitionedGraph
from msg.sizes import check_sizes


def _range(edge_index: Tensor, nodes: int, parts: int) -> Tensor:
    return torch.arange(nodes) * parts // max(nodes, 1)


def _pymetis() -> Any:
    try:
        import pymetis
    except ModuleNotFoundError as error:
        raise ImportError(
            "a partition by METIS needs pymetis: pip install \"msg-graph[distributed]\", or choose 'range'"
        ) from error
    return pymetis


def _metis(edge_index: Tensor, nodes: int, parts: int) -> Tensor:
    pymetis = _pymetis()
    if parts == 1 or nodes <= parts:
        return torch.arange(nodes) % parts  # METIS has nothing to choose here, and fails
    # METIS wants both directions of every edge once, and no loops
    source, target = edge_index.cpu()
    keys = torch.cat([source * nodes + target, target * nodes + source])[(source != target).repeat(2)].unique()
    pointers = torch.zeros(nodes + 1, dtype=torch.int64)
    pointers[1:] = torch.bincount(keys // nodes, minlength=nodes).cumsum(0)
    neighbours = pymetis.CSRAdjacency(pointers.numpy().astype(np.int32), (keys % nodes).numpy().astype(np.int32))
    _, found = pymetis.part_graph(parts, neighbours)
    if len(set(found)) < parts:  # METIS's default for many parts leaves some empty where each has few nodes
        _, found = pymetis.part_graph(parts, neighbours, recursive=True)
    return torch.as_tensor(np.asarray(found), dtype=torch.int64)


METHODS: dict[str, Callable[[Tensor, int, int], Tensor]] = {"metis": _metis, "range": _range}
"""Ways of choosing parts: ``(edge_index, num_nodes, parts) -> part of each node``."""


def check_method(method: str) -> None:
    """Refuse a way of cutting that there is not.

    Raises:
        ValueError: for an unknown one.
        ImportError: for METIS without pymetis.
    """
    if method not in METHODS:
        raise ValueError(f"unknown partition {method!r}: use {', '.join(map(repr, METHODS))}")
    if method == "metis":
        _pymetis()


def assign(edge_index: Tensor, num_nodes: int, parts: int, method: str = "metis") -> Tensor:
    """The part of each node ``[N]``; arguments and errors are those of :func:`partition`."""
    check_sizes(parts=parts)
    check_method(method)
    return METHODS[method](edge_index, num_nodes, parts)


@dataclass(frozen=True)
class Partition:
    """A graph cut into parts: ``partition[r]`` is what the process of rank ``r`` holds.

    Attributes:
        data: the whole graph.
        assignment: the part of each node, ``[N]``.
        parts: how many.
    """

    data: Data
    assignment: Tensor
    parts: int

    def __len__(self) -> int:
        return self.parts

    @cached_property
    def _edges(self) -> Graph:
        data = self.data
        return Graph(data["edge_index"], data.get("edge_weight"), int(data.num_nodes or 0))

    @property
    def cut(self) -> int:
        """Edges between two parts."""
        source, target = self._edges.edge_index
        return int((self.assignment[source] != self.assignment[target]).sum())

    def __getitem__(self, part: int) -> Data:
        """One part.

        Returns:
            ``nodes``, its nodes' numbers in the whole graph, ``[n]``, ascending; ``graph``, its
            :class:`PartitionedGraph`; and of ``x`` (made dense), ``y`` and masks the rows of these nodes.

        Raises:
            IndexError: if there is no such part.
        """
        if not 0 <= part < self.parts:
            raise IndexError(f"part {part} of a graph in {self.parts} parts")
        whole, owner = self._edges, self.assignment
        (source, target), count = whole.edge_index, whole.num_nodes
        nodes = (owner == part).nonzero().flatten()
        here = (owner[target] == part).nonzero().flatten()
        edges = whole.edge_index[:, here]
        weight = None if whole.edge_weight is None else whole.edge_weight[here]
        sources = edges[0].unique()
        halo = sources[owner[sources] != part]
        halo = halo[torch.argsort(owner[halo], stable=True)]
        leaving = (owner[source] == part) & (owner[target] != part)
        # by the part that needs them and then ascending, as their halo stands there
        sent = (owner[target[leaving]] * count + source[leaving]).unique()
        place = torch.zeros(count, dtype=torch.int64)
        place[nodes], place[halo] = torch.arange(len(nodes)), torch.arange(len(nodes), len(nodes) + len(halo))
        border = Border(
            place[sent % max(count, 1)],
            torch.bincount(sent // max(count, 1), minlength=self.parts).tolist(),
            torch.bincount(owner[halo], minlength=self.parts).tolist(),
        )
        most = int(torch.bincount(owner, minlength=self.parts).max())
        graph = PartitionedGraph(place[edges], weight, nodes, halo, border, most)
        return Data(nodes=nodes, graph=graph, **_rows(self.data, nodes))


def _rows(data: Data, nodes: Tensor) -> dict[str, Tensor]:
    """What a graph knows of some nodes."""
    names = ("x", "y", "train_mask", "val_mask", "test_mask")
    found = {name: data[name] for name in names if data.get(name) is not None}
    if "x" in found and found["x"].layout != torch.strided:
        found["x"] = found["x"].to_sparse_coo()
    # features may be a train [T, N, F]
    rows = {name: value.index_select(-2 if name == "x" else 0, nodes) for name, value in found.items()}
    return {name: value.to_dense() if value.is_sparse else value for name, value in rows.items()}


def partition(data: Data, parts: int, method: str = "metis") -> Partition:
    """Cut a graph into parts, each with about as many nodes as another.

    Args:
        data: with ``edge_index`` and ``num_nodes``; ``edge_weight``, ``x``, ``y`` and masks if there are any.
        parts: how many: one for each process.
        method: ``"metis"``, which cuts few edges (pymetis, the extra ``distributed``), or ``"range"``, which takes
            nodes as they are numbered.

    Raises:
        ValueError: for an unknown method, an impossible number of parts, features that are not ``[N, F]`` or
            ``[T, N, F]``, or as :class:`Graph`.
        ImportError: for METIS without pymetis.
    """
    x, nodes = data.get("x"), int(data.num_nodes or 0)
    if x is not None and (x.dim() < 2 or x.size(-2) != nodes):
        raise ValueError(f"x must be [N, F] or a train [T, N, F] of {nodes} nodes, not {list(x.shape)}")
    edges = Graph(data["edge_index"], data.get("edge_weight"), nodes).edge_index
    return Partition(data, assign(edges, nodes, parts, method), parts)
