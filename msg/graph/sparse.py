"""Sparse matrices that are multiplied many times: CSR, with the transpose at hand for the backward pass."""

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from msg.calls import aside, full_precision
from msg.kernels import choice
from msg.kernels.signatures import looked_up
from msg.kernels.tracing import traced

_CHUNK = 2**20
"""Entries that are looked at together where all of them would take too much memory."""

_LONG_ROW = 512
"""Bytes of an operand's row from which torch's own loop is faster than the product it has of MKL."""

_CACHED = 2**24
"""Bytes of an operand from which, where rows have ``_MANY`` entries in the mean, ``_ABREAST`` columns at a time are
multiplied: rows that are read once an entry are then found in a cache, at the price of a copy."""

_MANY, _ABREAST = 16, 128


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which products along edges are summed: float32 for half precision, which has too few digits to add up
    many neighbours, and no sparse product of torch's own.
    """
    return torch.float32 if dtype.itemsize < 4 else dtype


class _MatMul(torch.autograd.Function):
    r""":math:`A x` or :math:`A^\top x`: each is the derivative of the other, so that there are all of them."""

    @staticmethod
    @looked_up
    def forward(dense: Tensor, matrix: "SparseMatrix", product: Tensor | None, transposed: bool) -> Tensor:
        if product is not None:
            return product.view_as(product)
        return matrix.back(dense.contiguous()) if transposed else matrix.product(dense)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        _, ctx.matrix, _, ctx.transposed = inputs

    @staticmethod
    def backward(ctx, *grads: Tensor):
        return _MatMul.apply(grads[0], ctx.matrix, None, not ctx.transposed), None, None, None

    @staticmethod
    def vmap(info, in_dims: tuple, *args: Any):
        """Many operands are more columns of one."""
        dims, (dense, matrix, product, transposed) = in_dims, args
        if product is not None and dims[2] is not None:
            return product.clone(), dims[2]
        return _MatMul.apply(dense.movedim(dims[0], 1), matrix, None, transposed), 1


class SparseMatrix:
    r"""A constant sparse matrix whose products with its transpose, :math:`A^\top g`, are as fast as :math:`A x`.

    Time is folded into columns: one product serves all steps of a chunk, which reads the indices once instead of once
    per step.

    An entry is :math:`a_{ij} = l_i w_{ij}`. Where all weights are one, or all factors, none is stored; torch's own
    products need weights, and make them when they are first run. The transpose is made when it is first asked for,
    and never of a symmetric matrix, which is its own.

    Args:
        row: row indices of the entries, ``[E]``; duplicates add up.
        col: column indices, ``[E]``.
        value: weights, ``[E]``; or their type alone, where all are one.
        shape: of the matrix.
        left: factors of the rows, ``[N]``.

    Attributes:
        pointers: where each row begins and the last one ends, ``[N + 1]``.
        columns: column of each entry, row by row, ``[E]``.
        weight: of each entry, row by row, ``[E]``, or ``None``: one.
        left: factor of each row, ``[N]``, or ``None``: one.
        dtype: of the entries.
    """

    def __init__(
        self,
        row: Tensor,
        col: Tensor,
        value: Tensor | torch.dtype,
        shape: tuple[int, int],
        left: Tensor | None = None,
    ):
        pointers, columns, order = _sorted(row, col, shape)
        self._keep(pointers, columns, value if isinstance(value, torch.dtype) else value[order], shape, left)

    def _keep(
        self,
        pointers: Tensor,
        columns: Tensor,
        value: Tensor | torch.dtype,
        shape: tuple[int, int],
        left: Tensor | None = None,
    ) -> "SparseMatrix":
        self.pointers, self.columns, self.shape, self.left = pointers, columns, shape, left
        self._pattern: SparseMatrix | None = None
        if isinstance(value, torch.dtype):
            self.dtype, self.weight = value, None
        else:
            self.dtype, self.weight = value.dtype, value.detach()
            # beside the parts, since torch.compile does not see into a sparse tensor
            self.unscaled = _new_csr(pointers, columns, value, shape)
        return self

    @classmethod
    def from_tensor(cls, x: Tensor) -> "SparseMatrix":
        """Take over a ``torch.sparse`` tensor of any layout."""
        coo = x.to_sparse_coo().coalesce()
        row, col = coo.indices()
        return cls(row, col, coo.values().to(wide(x.dtype)), (x.size(0), x.size(1)))

    @cached_property
    def unscaled(self) -> Tensor:
        """The weights as torch's own CSR matrix, without the factors of rows."""
        with torch.inference_mode(False), aside():
            ones = torch.ones(self.nnz, dtype=self.dtype, device=self.columns.device)
            return _new_csr(self.pointers, self.columns, ones, self.shape)

    @cached_property
    def csr(self) -> Tensor:
        """The matrix as torch's own."""
        if self.left is None:
            return self.unscaled
        with torch.inference_mode(False), aside():
            return _like(self.unscaled, self.unscaled.values() * self.left[self._rows()])

    @property
    def values(self) -> Tensor:
        """The entries, row by row, ``[E]``."""
        return self.csr.values().detach()

    @cached_property
    def transposed(self) -> Tensor:
        """The transpose of :attr:`unscaled`, made when first asked for."""
        with torch.inference_mode(False), aside():
            if self._pattern is not None:
                return _like(self._pattern.transposed, self.unscaled.values()[self._pattern.transposed_order])
            if self._symmetric():
                return self.unscaled
            pointers, columns, order = _sorted(self.columns.long(), self._rows(), (self.shape[1], self.shape[0]))
            return _new_csr(pointers, columns, self.unscaled.values()[order], (self.shape[1], self.shape[0]))

    def _symmetric(self) -> bool:
        """Whether the transpose of :attr:`unscaled` is the same, entry by entry.

        Read row by row, the entries of column ``j`` come in the order of row ``j``'s. Their number and weight are
        compared chunk by chunk, so that nothing of the size of the matrix is made.
        """
        if self.shape[0] != self.shape[1] or not torch.equal(
            torch.bincount(self.columns, minlength=self.shape[1]), self.pointers.diff().long()
        ):
            return False
        begin = self.pointers[:-1].long()  # where the next entry of a column would stand in its row
        for start in range(0, self.nnz, _CHUNK):
            entry = torch.arange(start, min(start + _CHUNK, self.nnz), device=self.columns.device)
            row = torch.searchsorted(self.pointers, entry, right=True) - 1
            col, order = torch.sort(self.columns[start : start + _CHUNK].long(), stable=True)
            found, length = torch.unique_consecutive(col, return_counts=True)
            first = torch.repeat_interleave(length.cumsum(0) - length, length)
            there = begin[col] + entry - start - first
            if not torch.equal(self.columns[there].long(), row[order]):
                return False
            if self.weight is not None and not torch.equal(self.weight[there], self.weight[entry[order]]):
                return False
            begin[found] += length
        return True

    def _rows(self) -> Tensor:
        row = torch.arange(self.shape[0], device=self.pointers.device)
        return torch.repeat_interleave(row, self.pointers.diff().long())

    @cached_property
    def transposed_order(self) -> Tensor:
        """Where the entries of the transpose come from."""
        with torch.inference_mode(False), aside():
            return torch.sort(self.columns.long() * self.shape[0] + self._rows(), stable=True).indices

    def with_values(self, values: Tensor) -> "SparseMatrix":
        """A matrix with other values ``[E]`` at the same entries, for little more than the copy.

        Args:
            values: in the order of :meth:`entries`.
        """
        other = SparseMatrix.__new__(SparseMatrix)._keep(self.pointers, self.columns, values, self.shape)
        other._pattern = self
        return other

    def indices(self) -> tuple[Tensor, Tensor]:
        """Row and column of every stored entry, ``[E]`` each; kept, since attention asks in every step."""
        return self._indices

    @cached_property
    def _indices(self) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), aside():
            return self._rows(), self.columns.long()

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of every stored entry, ``[E]`` each."""
        return self._rows(), self.columns.long(), self.csr.values()

    @property
    def T(self) -> "SparseMatrix":
        """The transpose as a matrix of its own; the two share their entries."""
        back, value = self.transposed, self.transposed.values()
        if self.left is not None:
            value = value * self.left[back.col_indices()]
        elif back is self.unscaled:
            return self
        other = SparseMatrix.__new__(SparseMatrix)
        other._keep(back.crow_indices(), back.col_indices(), value, (self.shape[1], self.shape[0]))
        other.transposed = self.csr
        return other

    def first(self, rows: int, columns: int) -> "SparseMatrix":
        """The first rows as a matrix with so many columns; no entry is copied.

        Raises:
            ValueError: if they have an entry in a column beyond.
        """
        if (rows, columns) == self.shape:
            return self
        end = int(self.pointers[rows])
        if end and int(self.columns[:end].max()) >= columns:
            raise ValueError(
                f"the first {rows} of {self.shape[0]} rows have entries beyond the first {columns} columns"
            )
        weight, left = (
            None if self.weight is None else self.weight[:end],
            None if self.left is None else self.left[:rows],
        )
        return self._with(self.pointers[: rows + 1], self.columns[:end], weight, (rows, columns), left)

    def take(self, rows: Tensor, place: Tensor | None = None, columns: int | None = None) -> "SparseMatrix":
        """Some rows in a given order, each with its entries in the order they had.

        Args:
            rows: which, ``[M]``.
            place: the new number of each column, ``[K]``; ``None`` leaves them as they are.
            columns: how many there are then.
        """
        begin, count = self.pointers[rows].long(), self.pointers.diff()[rows].long()
        pointers = torch.zeros(len(rows) + 1, dtype=torch.long, device=rows.device)
        torch.cumsum(count, 0, out=pointers[1:])
        where = torch.repeat_interleave(begin - pointers[:-1], count) + torch.arange(
            int(pointers[-1]), device=rows.device
        )
        col = self.columns[where]
        col = col if place is None else place[col].to(col.dtype)
        shape = len(rows), self.shape[1] if columns is None else columns
        weight = None if self.weight is None else self.weight[where]
        left = None if self.left is None else self.left[rows]
        return self._with(pointers.to(col.dtype), col, weight, shape, left)

    def to(self, device: torch.device | str | None) -> "SparseMatrix":
        """The matrix on another device; itself where it is there."""
        if device is None or self.columns.device == torch.device(device):
            return self
        weight, left = (None if part is None else part.to(device) for part in (self.weight, self.left))
        return self._with(self.pointers.to(device), self.columns.to(device), weight, self.shape, left)

    def _with(
        self, pointers: Tensor, columns: Tensor, weight: Tensor | None, shape: tuple[int, int], left: Tensor | None
    ) -> "SparseMatrix":
        value = self.dtype if weight is None else weight
        return SparseMatrix.__new__(SparseMatrix)._keep(pointers, columns, value, shape, left)

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.columns.numel()

    def size(self, dim: int) -> int:
        """Size of one dimension, like a tensor's."""
        return self.shape[dim]

    def matmul(self, dense: Tensor, product: Tensor | None = None) -> Tensor:
        r""":math:`A x`, differentiable in ``x``.

        Args:
            dense: ``x``; in half precision the product is summed in the type of the matrix and returned in its own.
            product: the result, where it is known: only its derivative is then left to do.

        Shapes:
            ``dense``: ``[M, ..., K]``; returns ``[N, ..., K]`` for a matrix of shape ``(N, M)``.
        """
        if product is not None and not dense.requires_grad:
            return product
        out: Tensor = _MatMul.apply(dense.to(wide(dense.dtype)), self, product, False)  # pyright: ignore
        return out.to(dense.dtype)

    def product(self, dense: Tensor) -> Tensor:
        r""":math:`A x` for ``x`` of shape ``[M, ..., K]``, without gradient."""
        out = _mm(self.unscaled, dense)
        return out if self.left is None else out.mul_(_of_rows(self.left, out))

    def back(self, grad: Tensor) -> Tensor:
        r""":math:`A^\top g` for ``g`` of shape ``[N, ..., K]``."""
        return _mm(self.transposed, grad if self.left is None else _of_rows(self.left, grad) * grad)


def linear(x: Tensor | SparseMatrix, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r""":math:`x W^\top + b` for dense or sparse features, differentiable in ``W`` and ``b``, and in ``x`` where that is
    dense.

    Args:
        x: ``[N, ..., F]``.
        weight: ``W``, ``[K, F]``.
        bias: ``b``, ``[K]``.
    """
    if not isinstance(x, SparseMatrix):
        return F.linear(x, weight, bias)
    out = x.matmul(weight.t())
    return out if bias is None else out + bias


def taken(x: Tensor, rows: Tensor | None) -> Tensor:
    """Some rows of a dense tensor, by their numbers; ``None``: itself."""
    return x if rows is None else x.index_select(0, rows)


def to_tensor(x: Tensor | SparseMatrix) -> Tensor:
    """Features as torch's own, dense or CSR."""
    return x.csr if isinstance(x, SparseMatrix) else x


def to_dense(x: Tensor | SparseMatrix) -> Tensor:
    """Features as a dense tensor, for what reads no others."""
    return x.csr.to_dense() if isinstance(x, SparseMatrix) else x


def _of_rows(factors: Tensor, dense: Tensor) -> Tensor:
    """Factors of rows, as they multiply ``[N, ..., K]``."""
    return factors.view(-1, *[1] * (dense.dim() - 1))


def _mm(csr: Tensor, dense: Tensor) -> Tensor:
    """A product in the precision of its operands, which autocast would narrow to one that has no sparse product.

    Which loop adds up, and so how sums are rounded, depends on the last dimension alone: on the width of a layer, and
    not on how many steps are folded into columns.
    """
    flat = dense.flatten(1)
    long = flat.device.type == "cpu" and dense.size(-1) * flat.element_size() >= _LONG_ROW

    def product(columns: Tensor) -> Tensor:
        return torch.sparse.mm(csr, columns, "sum") if long else torch.mm(csr, columns)

    with full_precision(flat):
        out = _by_columns(csr, flat, product) if _is_large(csr, flat) else product(flat)
    return out.view(csr.size(0), *dense.shape[1:])


def _is_large(csr: Tensor, flat: Tensor) -> bool:
    large = flat.size(1) > _ABREAST and flat.numel() * flat.element_size() > _CACHED
    return large and csr.values().numel() >= _MANY * csr.size(0) and choice.unseen(flat)


def _by_columns(csr: Tensor, flat: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
    out = flat.new_empty(csr.size(0), flat.size(1))
    for columns, found in zip(flat.split(_ABREAST, 1), out.split(_ABREAST, 1)):
        found.copy_(product(columns.contiguous()))
    return out


class _WeightedMatMul(torch.autograd.Function):
    """:math:`A x` with gradients of ``x`` and of the entries of ``A``, in a fixed order of additions."""

    @staticmethod
    def forward(ctx, value: Tensor, dense: Tensor, edges: "WeightedEdges") -> Tensor:
        ctx.save_for_backward(value, dense)
        ctx.edges = edges
        return edges.matrix(value).product(dense)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        value, dense = ctx.saved_tensors
        edges: WeightedEdges = ctx.edges
        to_value = to_dense = None
        if torch.is_grad_enabled():  # what is to be differentiated again
            if ctx.needs_input_grad[0]:
                to_value = torch.linalg.vecdot(grads[0].flatten(1)[edges.row], dense.flatten(1)[edges.col])
            if ctx.needs_input_grad[1]:
                to_dense = WeightedEdges(edges.row, edges.col, value, edges.shape).T.matmul(grads[0])
            return to_value, to_dense, None
        grad, order, matrix = grads[0].contiguous(), edges.order, edges.matrix(value)
        if ctx.needs_input_grad[0]:
            row, col, _ = matrix.entries()
            # entry by entry the inner product of two rows, written once each: nothing is added up out of order
            to_value = torch.empty_like(value)
            to_value[order] = torch.linalg.vecdot(grad.flatten(1)[row], dense.flatten(1)[col])
        if ctx.needs_input_grad[1]:
            to_dense = matrix.back(grad)
        return to_value, to_dense, None


class WeightedEdges:
    """A sparse matrix that is differentiable in its entries too; otherwise the same product.

    Args:
        row: row indices of the entries, ``[E]``; duplicates add up.
        col: column indices, ``[E]``.
        value: entries, ``[E]``, possibly attached to autograd.
        shape: of the matrix.
    """

    def __init__(self, row: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]):
        self.row, self.col, self.value, self.shape = row, col, value, shape

    @cached_property
    def order(self) -> Tensor:
        """Where each entry of :meth:`matrix`, row by row, comes from."""
        return torch.sort(self.row * self.shape[1] + self.col, stable=True).indices

    @cached_property
    def _pattern(self) -> SparseMatrix:
        return SparseMatrix(self.row, self.col, self.value.detach(), self.shape)

    def matrix(self, value: Tensor) -> SparseMatrix:
        """The matrix with entries ``value``, without gradient."""
        return self._pattern.with_values(value[self.order])

    def indices(self) -> tuple[Tensor, Tensor]:
        """See :meth:`SparseMatrix.indices`."""
        return self.row, self.col

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`SparseMatrix.entries`."""
        return self.row, self.col, self.value

    def first(self, rows: int, columns: int) -> "WeightedEdges":
        """See :meth:`SparseMatrix.first`; entries are copied here."""
        if (rows, columns) == self.shape:
            return self
        kept = (self.row < rows).nonzero()[:, 0]
        row, col = self.row[kept], self.col[kept]
        if not traced() and len(kept) and int(col.max()) >= columns:
            raise ValueError(
                f"the first {rows} of {self.shape[0]} rows have entries beyond the first {columns} columns"
            )
        return type(self)(row, col, self.value[kept], (rows, columns))

    @property
    def T(self) -> "WeightedEdges":
        """See :attr:`SparseMatrix.T`."""
        return type(self)(self.col, self.row, self.value, (self.shape[1], self.shape[0]))

    def matmul(self, dense: Tensor, product: Tensor | None = None) -> Tensor:
        """See :meth:`SparseMatrix.matmul`; a known ``product`` has no derivative in the entries, so it is not used."""
        return self._product(dense.to(wide(dense.dtype))).to(dense.dtype)

    def _product(self, dense: Tensor) -> Tensor:
        return _WeightedMatMul.apply(self.value, dense, self)  # pyright: ignore[reportReturnType]


class TracedEdges(WeightedEdges):
    """The same by gathering rows and adding them up, which compilers, exporters and ``torch.func`` see through."""

    def _product(self, dense: Tensor) -> Tensor:
        sent = dense.flatten(1).index_select(0, self.col) * self.value[:, None]
        out = sent.new_zeros(self.shape[0], sent.size(1)).index_add(0, self.row, sent)
        return out.view(self.shape[0], *dense.shape[1:])


def _like(csr: Tensor, values: Tensor) -> Tensor:
    """Other values at the entries of a CSR tensor."""
    return _new_csr(csr.crow_indices(), csr.col_indices(), values, csr.shape)


def _new_csr(crow: Tensor, col: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state", category=UserWarning)
        return torch.sparse_csr_tensor(crow, col, values, tuple(shape), check_invariants=False)


def _sorted(row: Tensor, col: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Pointers and columns of CSR, and where its entries come from."""
    row, order = torch.sort(row * shape[1] + col, stable=True)
    col, row = row % shape[1], row // shape[1]
    crow = torch.zeros(shape[0] + 1, dtype=torch.int64, device=row.device)
    crow[1:] = torch.bincount(row, minlength=shape[0]).cumsum(0)
    # half-size indices halve the traffic that bounds a sparse product
    index = torch.int32 if max(row.numel(), *shape) < 2**31 else torch.int64
    return crow.to(index), col.to(index), order
