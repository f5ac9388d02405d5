"""Sparse matrices that are multiplied many times: CSR, with the transpose at hand for the backward pass."""

import warnings
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _MatMul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense: Tensor, matrix: "SparseMatrix", product: Tensor | None) -> Tensor:
        ctx.matrix = matrix
        return torch.mm(matrix.csr, dense) if product is None else product.view_as(product)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None]:
        return torch.mm(ctx.matrix.transposed, grads[0].contiguous()), None, None


class SparseMatrix:
    r"""A constant sparse matrix with its transpose at hand: :math:`A^\top g` in backward is as fast as :math:`A x`.

    Time is folded into columns: one product serves all steps of a chunk, which reads the indices once instead of once
    per step.

    Args:
        row: row indices of the entries, ``[E]``; duplicates add up.
        col: column indices, ``[E]``.
        value: entries, ``[E]``.
        shape: of the matrix.

    Attributes:
        csr: the matrix as torch's own.
        pointers: where each row begins and the last one ends, ``[N + 1]``.
        columns: column of each entry, row by row, ``[E]``.
        values: the entries, row by row, ``[E]``.
    """

    def __init__(self, row: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]):
        self.shape = shape
        self._keep(_csr(row, col, value, shape))
        self._transposed: Tensor | None = None
        self._pattern: SparseMatrix | None = None

    def _keep(self, csr: Tensor) -> None:
        self.csr = csr
        # beside it, since torch.compile does not see into a sparse tensor
        self.pointers, self.columns = csr.crow_indices().detach(), csr.col_indices().detach()
        self.values = csr.values().detach()

    @classmethod
    def from_tensor(cls, x: Tensor) -> "SparseMatrix":
        """Take over a ``torch.sparse`` tensor of any layout."""
        coo = x.to_sparse_coo().coalesce()
        row, col = coo.indices()
        return cls(row, col, coo.values(), (x.size(0), x.size(1)))

    @property
    def transposed(self) -> Tensor:
        """CSR of the transpose, made when first asked for."""
        if self._transposed is None:
            with torch.inference_mode(False):
                if self._pattern is not None:
                    values = self.csr.values()[self._pattern._order]
                    self._transposed = _like(self._pattern.transposed, values)
                else:
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
        other.shape, other._transposed = self.shape, None
        other._keep(_like(self.csr, values))
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
        other.shape, other._transposed = (self.shape[1], self.shape[0]), self.csr
        other._keep(self.transposed)
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

    def matmul(self, dense: Tensor, product: Tensor | None = None) -> Tensor:
        r""":math:`A x`, differentiable in ``x``.

        Args:
            dense: ``x``.
            product: the result, where it is known: only its derivative is then left to do.

        Shapes:
            ``dense``: ``[M, ..., K]``; returns ``[N, ..., K]`` for a matrix of shape ``(N, M)``.
        """
        if product is not None and not dense.requires_grad:
            return product
        flat = _MatMul.apply(dense.flatten(1), self, None if product is None else product.flatten(1))
        return flat.view(self.shape[0], *dense.shape[1:])  # pyright: ignore[reportOptionalMemberAccess]


class _WeightedMatMul(torch.autograd.Function):
    """:math:`A x` with gradients of ``x`` and of the entries of ``A``, in a fixed order of additions."""

    @staticmethod
    def forward(ctx, value: Tensor, dense: Tensor, pattern: SparseMatrix, order: Tensor) -> Tensor:
        ctx.save_for_backward(value, dense)
        ctx.pattern, ctx.order = pattern, order
        return torch.mm(pattern.with_values(value[order]).csr, dense)

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        value, dense = ctx.saved_tensors
        grad, order = grads[0].contiguous(), ctx.order
        matrix = ctx.pattern.with_values(value[order])
        to_value = to_dense = None
        if ctx.needs_input_grad[0]:
            row, col, _ = matrix.entries()
            # entry by entry the inner product of two rows, written once each: nothing is added up out of order
            to_value = torch.empty_like(value)
            to_value[order] = torch.linalg.vecdot(grad[row], dense[col])
        if ctx.needs_input_grad[1]:
            to_dense = torch.mm(matrix.transposed, grad)
        return to_value, to_dense, None, None


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
    def _pattern(self) -> tuple[SparseMatrix, Tensor]:
        """The matrix whose entries are replaced, and where each of them comes from."""
        order = torch.sort(self.row * self.shape[1] + self.col, stable=True).indices
        return SparseMatrix(self.row, self.col, self.value.detach(), self.shape), order

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`SparseMatrix.entries`."""
        return self.row, self.col, self.value

    @property
    def T(self) -> "WeightedEdges":
        """See :attr:`SparseMatrix.T`."""
        return WeightedEdges(self.col, self.row, self.value, (self.shape[1], self.shape[0]))

    def matmul(self, dense: Tensor, product: Tensor | None = None) -> Tensor:
        """See :meth:`SparseMatrix.matmul`; a known ``product`` has no derivative in the entries, so it is not used."""
        flat: Tensor = _WeightedMatMul.apply(self.value, dense.flatten(1), *self._pattern)  # pyright: ignore
        return flat.view(self.shape[0], *dense.shape[1:])


def _like(csr: Tensor, values: Tensor) -> Tensor:
    """Other values at the entries of a CSR tensor."""
    return _new_csr(csr.crow_indices(), csr.col_indices(), values, csr.shape)


def with_columns(csr: Tensor, new: Tensor) -> Tensor:
    """Other names of the columns of a CSR tensor, ``new[old]``; entries stay where they are."""
    col = csr.col_indices()
    return _new_csr(csr.crow_indices(), new.to(col.dtype)[col.long()], csr.values(), csr.shape)


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
