"""The part of a graph that one process holds, as the layers see it."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric.utils import add_remaining_self_loops

from msg.graph.exchange import Border
from msg.graph.graph import Graph
from msg.graph.memo import Memo
from msg.graph.sparse import SparseMatrix, WeightedEdges, wide
from msg.kernels import operators
from msg.kernels.first_order import first_order


class _MatMul(torch.autograd.Function):
    """A product with what other processes hold of the input; backward sends their gradients back to them."""

    @staticmethod
    def forward(ctx, dense: Tensor, matrix: "HaloMatrix", product: Tensor | None) -> Tensor:
        ctx.matrix = matrix
        return (
            matrix.product(torch.cat([dense, matrix.border.halo(dense)]))
            if product is None
            else product.view_as(product)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        matrix: HaloMatrix = ctx.matrix
        whole, own = matrix.back(grads[0].contiguous()), matrix.shape[0]
        return whole[:own].index_add_(0, matrix.border.send, matrix.border.back(whole[own:])), None, None


class HaloMatrix(SparseMatrix):
    r"""Rows of a sparse matrix whose columns are this part's nodes and its halo's; products ask the others for theirs.

    A row's entries stand in the order of the whole graph's columns, so that sums are rounded as in one process.

    Args:
        row: row indices of the entries, ``[E]``.
        col: column indices, own nodes first, then the halo, ``[E]``.
        value: entries, ``[E]``.
        order: where each column stands among all by its number in the whole graph, ``[N + H]``.
        border: asks the others.
        rows: ``N``.
        left: factors of the rows, ``[N]``.
    """

    def __init__(
        self,
        row: Tensor,
        col: Tensor,
        value: Tensor | torch.dtype,
        order: Tensor,
        border: Border,
        rows: int,
        left: Tensor | None = None,
    ):
        super().__init__(row, order[col], value, (rows, len(order)), left)
        columns = torch.argsort(order).to(self.columns.dtype)[self.columns.long()]
        self._keep(self.pointers, columns, self.dtype if self.weight is None else self.weight, self.shape, left)
        self.border = border
        self._constant = Memo()

    def matmul(self, dense: Tensor, product: Tensor | None = None) -> Tensor:
        """See :meth:`SparseMatrix.matmul`; ``dense`` holds this part's rows ``[N, ..., K]`` alone.

        Without ``product`` the border's rows cross as they are; where ``dense`` has a gradient, so does that, back.
        """
        if product is not None and not dense.requires_grad:
            return product
        dtype = wide(dense.dtype)
        if dtype != dense.dtype:
            return self.matmul(dense.to(dtype), None if product is None else product.to(dtype)).to(dense.dtype)
        out: Any = _MatMul.apply(dense, self, product)
        return first_order(out, "a graph that several processes share", "one process")

    def here(self, whole: Tensor) -> Tensor:
        """The product with rows of own nodes and halo ``[N + H, ..., K]``, all of them at hand."""
        return self.product(whole.to(wide(whole.dtype))).to(whole.dtype)

    def constant(self, x: Tensor) -> Tensor:
        """The product with features that do not change, computed once."""
        return self._constant.recall((x,), (), lambda: self.matmul(x))


class PartitionedGraph(Graph):
    r"""The edges that lead to the nodes of one part, and what is needed to hear from the others.

    It goes where a model takes ``edge_index``; the model then reads the features of the part's nodes and returns their
    logits. Every process has to call it, each with its own part. Spikes cross as bits, rates as counts of
    :math:`\lceil\log_2(T+1)\rceil` bits, everything else as it is; features cross once.

    :func:`~msg.graph.partition` makes it.

    Args:
        edge_index: ``[2, E]``, sources among own nodes (first) and halo, targets among own nodes.
        edge_weight: ``[E]`` or ``None``.
        nodes: numbers of the own nodes in the whole graph, ascending, ``[N]``.
        halo: those of the halo, by the part that has them and then ascending, ``[H]``.
        border: between this part and the others.
        most_nodes: own nodes of the largest part.

    Attributes:
        num_nodes: ``N``, own nodes.
        border: what crosses, with ``border.sent``, the bytes that this process has sent.

    Raises:
        ValueError: for weights that have a gradient, which nobody would add up.
    """

    def __init__(
        self,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        nodes: Tensor,
        halo: Tensor,
        border: Border,
        most_nodes: int,
    ):
        if edge_weight is not None and edge_weight.requires_grad:
            raise ValueError("edge weights of a partitioned graph are constant: use edge_weight.detach()")
        super().__init__(edge_index, edge_weight, len(nodes) + len(halo))
        self.num_nodes = self.num_targets = len(nodes)
        self.nodes, self.halo, self.border = nodes, halo, border
        self._most_nodes = most_nodes
        self._levels: int | None = None
        self._features: Tensor | None = None

    def __getstate__(self) -> dict:
        """What it is made of, without what was made of it."""
        return {**vars(self), "_matrices": {}, "_features": None}

    @property
    def most_nodes(self) -> int:
        """See :attr:`Graph.most_nodes`."""
        return self._most_nodes

    def matrix(self, key: Any, entries: Callable[[Graph], tuple[Any, ...]]) -> SparseMatrix | WeightedEdges:
        """See :meth:`Graph.matrix`."""
        if key not in self._matrices:
            with torch.inference_mode(False), torch.no_grad():
                (source, target), value, *left = entries(self)
                order = torch.argsort(torch.argsort(torch.cat([self.nodes, self.halo])))
                self._matrices[key] = HaloMatrix(target, source, value, order, self.border, self.num_nodes, *left)
        return self._matrices[key]

    def normalized(
        self, dtype: torch.dtype, improved: bool = False, add_self_loops: bool = True
    ) -> SparseMatrix | WeightedEdges:
        """See :meth:`Graph.normalized`; degrees are those of the whole graph."""
        dtype = wide(dtype)

        def entries(_: Graph) -> tuple[Tensor, Tensor]:
            edges, weight = self.edge_index, None if self.edge_weight is None else self.edge_weight.to(dtype)
            if add_self_loops:
                edges, weight = add_remaining_self_loops(edges, weight, 2.0 if improved else 1.0, self.num_nodes)
            weight = torch.ones_like(edges[0], dtype=dtype) if weight is None else weight
            source, target = edges
            degree = torch.zeros(self.num_nodes, dtype=dtype, device=weight.device).index_add(0, target, weight)
            scale = degree.pow(-0.5)
            scale = scale.masked_fill(scale == float("inf"), 0.0)
            scale = torch.cat([scale, self.border.halo(scale)])
            return edges, scale[source] * weight * scale[target]

        return self.matrix(("normalized", dtype, improved, add_self_loops), entries)

    def reading(self, x: Tensor) -> "PartitionedGraph":
        """See :meth:`Graph.reading`.

        Raises:
            ValueError: for sparse features.
        """
        if x.layout != torch.strided:
            raise ValueError("features of a partitioned graph are dense: use x.to_dense()")
        return self._view(_features=x)

    def sending(self, levels: int | None) -> "PartitionedGraph":
        """See :meth:`Graph.sending`."""
        return self._view(_levels=levels)

    def _view(self, **changes: Any) -> "PartitionedGraph":
        view = copy.copy(self)
        vars(view).update(vars(self), **changes)  # the matrices are shared
        return view

    def received(self, matrix: Any, x: Any) -> Tensor | None:
        """See :meth:`Graph.received`."""
        if not isinstance(matrix, HaloMatrix):
            return None
        if self._levels is None:
            return matrix.constant(x) if x is self._features and x.dim() == 2 and not x.requires_grad else None
        with torch.no_grad():
            return matrix.here(self._whole(x.detach(), self._levels))

    def _whole(self, x: Tensor, levels: int) -> Tensor:
        """Multiples of ``1 / levels`` of own nodes and halo, from the own ones ``[N, d]`` or, for 0 and 1, a train."""
        channels = x.size(-1)
        if x.dim() == 3:
            halo = operators.unpack(self.border.halo_words(operators.pack(x), channels), channels, x.dtype)
        else:
            halo = self.border.halo_counts((x * levels).round().int(), channels, levels).to(x.dtype) / levels
        return torch.cat([x, halo])

    def spikes(self, words: Tensor, channels: int) -> Tensor:
        """See :meth:`Graph.spikes`."""
        return torch.cat([words, self.border.halo_words(words, channels)])

    def counts(self, counts: Tensor, channels: int, levels: int) -> Tensor:
        """See :meth:`Graph.counts`."""
        return torch.cat([counts, self.border.halo_counts(counts, channels, levels)])

    def total(self, numbers: Tensor) -> Tensor:
        """See :meth:`Graph.total`."""
        return self.border.total(numbers)

    def whole_only(self, what: str, instead: str) -> None:
        """See :meth:`Graph.whole_only`."""
        raise ValueError(f"{what} needs the whole graph in one process, and this is a part of one: use {instead}")
