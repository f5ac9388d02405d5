"""One graph as the layers see it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops

from msg.calls import aside, given, integral
from msg.graph.sparse import SparseMatrix, TracedEdges, WeightedEdges, wide
from msg.kernels.tracing import traced


def check_tensors(**given: Any) -> None:
    """Raise ``ValueError``, naming the mend, for a list or an array where a tensor is meant; ``None`` passes."""
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, not {type(value).__name__}: use torch.as_tensor({name})")


class Graph:
    """Edges, weights, and the matrices that layers asked for, each built once.

    Args:
        edge_index: ``[2, E]`` of any integer type, row 0 sources, row 1 targets.
        edge_weight: ``[E]`` or ``None``.
        num_nodes: number of nodes ``N``.

    Attributes:
        num_targets: how many of the nodes receive something new, the first ones: all of them in a whole graph.
        edge_values: what else is known of edges, ``edge_attr`` and ``edge_type``, for convolutions that read it.

    Raises:
        ValueError: if the shapes are not these, or an index is outside ``0..N-1``.
    """

    def __init__(self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int):
        check_tensors(edge_index=edge_index, edge_weight=edge_weight)
        if edge_index.layout != torch.strided:
            raise ValueError(
                "edge_index must be a dense [2, num_edges] tensor: convert a sparse adjacency matrix with "
                "msg.graph.as_edges"
            )
        if edge_index.dim() != 2 or edge_index.size(0) != 2 or not integral(edge_index):
            raise ValueError(
                f"edge_index must be integer of shape [2, num_edges], not {edge_index.dtype} of shape "
                f"{list(edge_index.shape)}"
            )
        if not traced() and edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
            raise ValueError(
                f"edge_index refers to node {int(edge_index.max())} (smallest: {int(edge_index.min())}), but x has "
                f"{num_nodes} nodes; a bipartite graph is not supported: use one node set, or one model per node type"
            )
        if edge_weight is not None and edge_weight.shape != edge_index.shape[1:]:
            raise ValueError(
                f"edge_weight has shape {list(edge_weight.shape)}, but there are {edge_index.size(1)} edges"
            )
        if edge_weight is not None and (edge_weight.is_complex() or edge_weight.dtype == torch.bool):
            raise ValueError(f"edge_weight must be real numbers, not {edge_weight.dtype}: use edge_weight.float()")
        plain = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        # products of node numbers overflow anything narrower
        self.edge_index = plain.long()
        self.edge_weight = edge_weight
        self.num_nodes = self.num_targets = num_nodes
        self.edge_values: Mapping[str, Tensor] = {}
        self._matrices: dict[Any, SparseMatrix | WeightedEdges] = {}

    def carrying(self, edge_attr: Tensor | None = None, edge_type: Tensor | None = None) -> "Graph":
        """The same graph, with the matrices that were made of it, and what else is known of its edges.

        Args:
            edge_attr: ``[E]`` or ``[E, D]``, in the order of ``edge_index``.
            edge_type: integers ``[E]``.

        Raises:
            ValueError: for another number of edges, or types that are no integers.
        """
        check_tensors(edge_attr=edge_attr, edge_type=edge_type)
        values = given(edge_attr=edge_attr, edge_type=edge_type)
        for name, value in values.items():
            if value.dim() < 1 or value.size(0) != self.edge_index.size(1):
                raise ValueError(f"{name} has shape {list(value.shape)}, but there are {self.edge_index.size(1)} edges")
        if edge_type is not None and (edge_type.dim() != 1 or edge_type.is_floating_point()):
            raise ValueError(f"edge_type must be integers [num_edges], not {edge_type.dtype}: use edge_type.long()")
        if not values:
            return self
        other = copy.copy(self)
        other.edge_values = values
        return other

    def weights(self, dtype: torch.dtype) -> Tensor | torch.dtype:
        """Weights of the edges ``[E]``; their type alone where none are given: all are one."""
        return dtype if self.edge_weight is None else self.edge_weight.to(dtype)

    def along(self, hops: Sequence[int]) -> list["Graph"]:
        """The graph as each of some layers reads it, one above the other; a whole graph is the same for all.

        Args:
            hops: how far a layer looks along edges, the first layer's first.
        """
        return [self] * len(hops)

    def of_a_pass(self) -> "Graph":
        """Itself; with weights that have a gradient a copy, whose matrices are made anew: they hold the gradient's way
        back, which one backward pass takes.
        """
        if not self._weights_learn:
            return self
        return self._anew(self.edge_weight, self.edge_values)

    def _anew(self, edge_weight: Tensor | None, edge_values: Mapping[str, Tensor]) -> "Graph":
        other = copy.copy(self)
        other.edge_weight, other.edge_values, other._matrices = edge_weight, edge_values, {}
        return other

    @property
    def _weights_learn(self) -> bool:
        return self.edge_weight is not None and self.edge_weight.requires_grad

    @property
    def learned(self) -> list[Tensor]:
        """What is known of edges and has a gradient: weights, then the other values."""
        known = [self.edge_weight, *self.edge_values.values()]
        return [value for value in known if value is not None and value.requires_grad]

    def of_leaves(self) -> "Graph":
        """The same graph cut off from what made its :attr:`learned` values, for a part of a backward pass that finds
        their gradients by itself; itself, with its matrices, where there are none.
        """
        if not self.learned:
            return self

        def leaf(value: Tensor) -> Tensor:
            return value.detach().requires_grad_() if value.requires_grad else value

        weight = None if self.edge_weight is None else leaf(self.edge_weight)
        return self._anew(weight, {name: leaf(value) for name, value in self.edge_values.items()})

    def matrix(self, key: Any, entries: Callable[["Graph"], tuple[Any, ...]]) -> SparseMatrix | WeightedEdges:
        """The matrix known under ``key``, built from ``entries(graph) -> (edge_index, value)`` when first asked for.

        Values are ``[E]``, or their type alone where all are one; then factors of the rows ``[N]`` may follow. It is
        made of ordinary tensors even in inference mode, since a later training may use it.
        """
        if key in self._matrices:
            return self._matrices[key]
        shape = self.num_nodes, self.num_nodes
        if traced():
            (source, target), value, *left = entries(self)
            if isinstance(value, torch.dtype):
                value = torch.ones(source.shape, dtype=value, device=source.device)
            return TracedEdges(target, source, value * left[0][target] if left else value, shape)
        # asked for first where nothing is differentiated, it is kept for where something is
        with torch.inference_mode(False), aside(), torch.set_grad_enabled(self._weights_learn):
            (source, target), value, *left = entries(self)
            learned = isinstance(value, Tensor) and value.requires_grad
            kind = WeightedEdges if learned else SparseMatrix
            matrix = self._matrices[key] = kind(target, source, value, shape, *left)
        return matrix

    def normalized(
        self, dtype: torch.dtype, improved: bool = False, add_self_loops: bool = True
    ) -> SparseMatrix | WeightedEdges:
        r""":math:`\hat A = D^{-1/2}(A + I)D^{-1/2}`, as PyG's ``gcn_norm`` makes it.

        Source: `Kipf & Welling 2017, Semi-Supervised Classification with Graph Convolutional Networks
        <https://arxiv.org/abs/1609.02907>`_.

        Args:
            dtype: of what is multiplied; entries have it too, or float32 where it is a narrower one.
            improved: add :math:`2I` instead, where edges have weights; as in ``gcn_norm``, :math:`I` without.
            add_self_loops: add the identity where a node has no self-loop. Of several at one node, with weights,
                ``gcn_norm`` keeps the last: coalesce such edges first.
        """
        dtype = wide(dtype)
        key = ("normalized", dtype, improved, add_self_loops)
        return self.matrix(key, lambda graph: graph.normalized_entries(dtype, improved, add_self_loops))

    def normalized_entries(
        self, dtype: torch.dtype, improved: bool = False, add_self_loops: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Edges and entries of :meth:`normalized`, computed now: edges in their order, then the self-loops."""
        # without weights gcn_norm weighs a self-loop that is there like one it adds: explicit ones would not
        given = None if self.edge_weight is None else self.edge_weight.to(dtype)
        return gcn_norm(  # pyright: ignore[reportReturnType]
            self.edge_index, given, self.num_nodes, improved, add_self_loops, dtype=dtype
        )

    def row_normalized(self, dtype: torch.dtype) -> SparseMatrix | WeightedEdges:
        r""":math:`D^{-1}(A + I)`: of each node the mean over itself and its neighbours, by weight where edges have one.

        A self-loop that is there is kept, of several with weights the last, as in :meth:`normalized`; a node whose
        weights sum to zero receives nothing.

        Args:
            dtype: as in :meth:`normalized`.
        """
        dtype = wide(dtype)

        def entries(graph: Graph) -> tuple[Tensor, Tensor]:
            given = None if graph.edge_weight is None else graph.edge_weight.to(dtype)
            given = graph.edge_index.new_ones(graph.edge_index.size(1)).to(dtype) if given is None else given
            index, weight = add_remaining_self_loops(graph.edge_index, given, 1.0, graph.num_nodes)
            assert isinstance(weight, Tensor)
            total = weight.new_zeros(graph.num_nodes).index_add(0, index[1], weight)
            return index, weight / total.masked_fill(total == 0, torch.inf)[index[1]]

        return self.matrix(("row normalized", dtype), entries)

    @property
    def most_nodes(self) -> int:
        """Targets of the largest part of the graph, which decides the length of a chunk of steps in all of them."""
        return self.num_targets

    def reading(self, x: Tensor) -> "Graph":
        """The same graph for layers that read constant features ``x``, which need to cross between parts only once."""
        return self

    def sending(self, levels: int | None) -> "Graph":
        """The same graph for layers that read multiples of ``1 / levels`` from 0 to 1: spikes, or rates of so many
        steps; ``None`` for any numbers. Between parts of a graph they cross as so many bits as that takes.
        """
        return self

    def received(self, matrix: Any, x: Any) -> Tensor | None:
        """What ``x`` sends along the edges of a matrix of this graph, where the graph finds that itself."""
        return None

    def spikes(self, words: Tensor, channels: int) -> Tensor:
        """Packed spikes of all columns of this graph's matrices, from those of its nodes."""
        return words

    def counts(self, counts: Tensor, channels: int, levels: int) -> Tensor:
        """The same for counts of spikes from 0 to ``levels``."""
        return counts

    def total(self, numbers: Tensor) -> Tensor:
        """Numbers of this graph's nodes, added up over all processes that have a part of it."""
        return numbers

    def whole_only(self, what: str, instead: str) -> None:
        """Refuse ``what`` on a part of a graph.

        Raises:
            ValueError: naming what to use instead.
        """
