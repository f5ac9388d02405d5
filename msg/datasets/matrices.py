"""Features between PyTorch and SciPy, whose statistics and tidying PyTorch lacks."""

import warnings
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

Matrix: TypeAlias = Any
"""A dense array or a SciPy CSR matrix. SciPy ships no types, and what checkers guess of it is wrong."""


def sparse_tensor(matrix: Matrix) -> Tensor:
    """A SciPy matrix as a CSR tensor without duplicates and zeros; ``matrix`` is tidied in place."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    pointers, columns = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    with warnings.catch_warnings():
        # Said once a process, of every CSR tensor; SciPy has checked the invariants already.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
        return torch.sparse_csr_tensor(pointers, columns, torch.from_numpy(matrix.data), size=matrix.shape)


def as_scipy(x: Tensor) -> Matrix:
    """Features ``[N, F]`` of any layout as a float32 CSR matrix of SciPy; it may share memory with a CSR tensor."""
    x = x.detach().cpu().float()
    if x.layout == torch.strided:
        return sp.csr_matrix(x.numpy())
    if x.layout != torch.sparse_csr:
        x = x.to_sparse_coo().coalesce().to_sparse_csr()
    return sp.csr_matrix((x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy()), shape=tuple(x.shape))
