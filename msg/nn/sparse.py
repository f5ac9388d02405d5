"""Sparse matrices that are multiplied many times: cached CSR and transpose, and the graph they come from."""

import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class _MatMul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense: Tensor, matrix: "SparseMatrix") -> Tensor:
        ctx.matrix = matrix
        return torch.mm(matrix.csr, dense)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        return torch.mm(ctx.matrix.transposed, grads[0].contiguous()), None


class SparseMatrix:
    r"""A constant sparse matrix with its transpose at hand: :math:`A^\top g` in backward is as fast as :math:`A x`.

    Time is folded into columns: one product serves all steps of a chunk, which reads the indices once instead of once
    per step.

    Args:
        row: row indices of the entries, ``[E]``; duplicates add up.
        col: column indices, ``[E]``.
        value: entries, ``[E]``.
        shape: of the matrix.
    """

    def __init__(self, row: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]):
        self.shape = shape
        self.csr = _csr(row, col, value, shape)
        self._transposed: Tensor | None = None
        self._pattern: SparseMatrix | None = None

    @classmethod
    def from_tensor(cls, x: Tensor) -> "SparseMatrix":
        """Take over a ``torch.sparse`` tensor of any layout."""
        coo = x.to_sparse_coo().coalesce()
        row, col = coo.indices()
        return cls(row, col, coo.values(), (x.size(0), x.size(1)))

    @property
    def transposed(self) -> Tensor:
        """CSR of the transpose, made when first asked for."""
        if self._transposed is None and self._pattern is not None:
            values = self.csr.values()[self._pattern._order]
            self._transposed = _like(self._pattern.transposed, values)
        elif self._transposed is None:
            row, col, value = self.entries()
            self._transposed = _csr(col, row, value, (self.shape[1], self.shape[0]))
        return self._transposed

    @cached_property
    def _order(self) -> Tensor:
        """Where the entries of the transpose come from."""
        row, col, _ = self.entries()
        return torch.sort(col * self.shape[0] + row, stable=True).indices

    def with_values(self, values: Tensor) -> "SparseMatrix":
        """A matrix with other values ``[E]`` at the same entries, for little more than the copy.

        Args:
            values: in the order of :meth:`entries`.
        """
        other = SparseMatrix.__new__(SparseMatrix)
        other.shape, other.csr, other._transposed = self.shape, _like(self.csr, values), None
        other._pattern = self
        return other

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of every stored entry, ``[E]`` each."""
        crow, col = self.csr.crow_indices(), self.csr.col_indices()
        row = torch.repeat_interleave(torch.arange(self.shape[0], device=crow.device), crow.diff().long())
        return row, col.long(), self.csr.values()

    @property
    def T(self) -> "SparseMatrix":
        """The transpose as a matrix of its own; the two share their entries."""
        other = SparseMatrix.__new__(SparseMatrix)
        other.shape, other.csr, other._transposed = (self.shape[1], self.shape[0]), self.transposed, self.csr
        other._pattern = None
        return other

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.csr.values().numel()

    @property
    def dtype(self) -> torch.dtype:
        """Of the entries."""
        return self.csr.dtype

    def size(self, dim: int) -> int:
        """Size of one dimension, like a tensor's."""
        return self.shape[dim]

    def matmul(self, dense: Tensor) -> Tensor:
        r""":math:`A x`, differentiable in ``x``.

        Shapes:
            ``dense``: ``[M, ..., K]``; returns ``[N, ..., K]`` for a matrix of shape ``(N, M)``.
        """
        flat = _MatMul.apply(dense.flatten(1), self)
        return flat.view(self.shape[0], *dense.shape[1:])  # pyright: ignore[reportOptionalMemberAccess]


class WeightedEdges:
    """The same product by gather and scatter: slower, but differentiable in the entries too.

    Args:
        row: row indices of the entries, ``[E]``; duplicates add up.
        col: column indices, ``[E]``.
        value: entries, ``[E]``, possibly attached to autograd.
        shape: of the matrix.
    """

    def __init__(self, row: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]):
        self.row, self.col, self.value, self.shape = row, col, value, shape

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`SparseMatrix.entries`."""
        return self.row, self.col, self.value

    @property
    def T(self) -> "WeightedEdges":
        """See :attr:`SparseMatrix.T`."""
        return WeightedEdges(self.col, self.row, self.value, (self.shape[1], self.shape[0]))

    def matmul(self, dense: Tensor) -> Tensor:
        """See :meth:`SparseMatrix.matmul`."""
        value = self.value.view(-1, *[1] * (dense.dim() - 1))
        out = dense.new_zeros(self.shape[0], *dense.shape[1:])
        return out.index_add(0, self.row, value * dense[self.col])


def _like(csr: Tensor, values: Tensor) -> Tensor:
    """Other values at the entries of a CSR tensor."""
    return _new_csr(csr.crow_indices(), csr.col_indices(), values, csr.shape)


def _new_csr(crow: Tensor, col: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state", category=UserWarning)
        return torch.sparse_csr_tensor(crow, col, values, tuple(shape), check_invariants=False)


def _csr(row: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    row, order = torch.sort(row * shape[1] + col, stable=True)
    col, row = row % shape[1], row // shape[1]
    crow = torch.zeros(shape[0] + 1, dtype=torch.int64, device=row.device)
    crow[1:] = torch.bincount(row, minlength=shape[0]).cumsum(0)
    # half-size indices halve the traffic that bounds a sparse product
    index = torch.int32 if max(row.numel(), *shape) < 2**31 else torch.int64
    return _new_csr(crow.to(index), col.to(index), value[order], shape)


class Graph:
    """One graph as the layers see it: edges, weights, and the matrices they asked for, each built once.

    Args:
        edge_index: ``[2, E]``, row 0 sources, row 1 targets.
        edge_weight: ``[E]`` or ``None``.
        num_nodes: number of nodes ``N``.

    Raises:
        ValueError: if the shapes are not these, or an index is outside ``0..N-1``.
    """

    def __init__(self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int):
        if edge_index.layout != torch.strided:
            raise ValueError(
                "edge_index must be a dense [2, num_edges] tensor: convert a sparse adjacency matrix with "
                "torch_geometric.utils.to_edge_index"
            )
        if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.is_floating_point():
            raise ValueError(f"edge_index must be integer of shape [2, num_edges], not {list(edge_index.shape)}")
        if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
            raise ValueError(
                f"edge_index refers to node {int(edge_index.max())} (smallest: {int(edge_index.min())}), but x has "
                f"{num_nodes} nodes; a bipartite graph is not supported: use one node set, or one model per node type"
            )
        if edge_weight is not None and edge_weight.shape != edge_index.shape[1:]:
            raise ValueError(
                f"edge_weight has shape {list(edge_weight.shape)}, but there are {edge_index.size(1)} edges"
            )
        self.edge_index = edge_index.as_subclass(Tensor)
        self.edge_weight = edge_weight
        self.num_nodes = num_nodes
        self._matrices: dict[Any, SparseMatrix | WeightedEdges] = {}

    def matrix(self, key: Any, entries: Callable[[], tuple[Tensor, Tensor]]) -> "SparseMatrix | WeightedEdges":
        """The matrix known under ``key``, built from ``entries() -> (edge_index, value)`` when first asked for."""
        if key not in self._matrices:
            (source, target), value = entries()
            kind = WeightedEdges if value.requires_grad else SparseMatrix
            self._matrices[key] = kind(target, source, value, (self.num_nodes, self.num_nodes))
        return self._matrices[key]


class Memo:
    """Remembers the last thing made from given tensors, for as long as they are the same, unmodified objects.

    Never part of a copy, a pickle or a ``state_dict``.
    """

    def __init__(self):
        self._key: tuple | None = None
        self._refs: tuple = ()
        self._value: Any = None

    def recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        """Return ``build()``, or what it returned last time for these tensors and ``extra``."""
        return _recall(self, tensors, extra, build)  # pyright: ignore[reportCallIssue]

    def _recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        if any(t is not None and (t.is_inference() or t.requires_grad) for t in tensors):
            return build()
        key = (tuple(None if t is None else t._version for t in tensors), extra)
        same = len(self._refs) == len(tensors) and all(
            (ref is None and t is None) or (ref is not None and ref() is t) for ref, t in zip(self._refs, tensors)
        )
        if not same or key != self._key:
            self._value = build()
            self._refs = tuple(None if t is None else weakref.ref(t) for t in tensors)
            self._key = key
        return self._value

    def __deepcopy__(self, memo: dict) -> "Memo":
        return Memo()

    def __reduce__(self) -> tuple:
        return Memo, ()


# object identity means nothing to a compiler's symbolic tensors
_recall = torch.compiler.disable(Memo._recall)
