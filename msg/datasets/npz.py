"""Graphs in ``.npz`` files, with the keys of gnn-benchmark or of the heterophilous graphs."""

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from msg.datasets.archives import MAX_BYTES, Arrays, open_npz
from msg.datasets.arguments import MASKS
from msg.datasets.errors import DatasetError, file_errors, reason
from msg.datasets.matrices import Matrix
from msg.datasets.raw_graph import RawGraph, validate


def read_npz(path: Path, binary_features: bool = False, max_bytes: int = MAX_BYTES, simplify: bool = True) -> RawGraph:
    """Read a ``.npz`` with gnn-benchmark keys (``adj_*``, ``attr_*`` or ``attr_matrix``, ``labels``) or heterophilous
    keys (``node_features``, ``node_labels``, ``edges``); in either there may be given splits, ``train_masks``,
    ``val_masks``, ``test_masks`` of shape ``[K, N]``, or ``train_mask`` and so on ``[N]``.

    Features stay sparse where the file keeps them sparse. Nothing in the file is ever unpickled, no memory is taken for
    more than it may unpack to, and SciPy sees only pointers and indices that are in range.

    Args:
        path: The file.
        binary_features: Replace positive features by 1.
        max_bytes: How many bytes the file may unpack to, see :data:`~msg.datasets.archives.MAX_BYTES`.
        simplify: Whether weights and directions of an adjacency matrix may be left out, as for a graph with a card. A
            list of ``edges`` has neither: each pair is an undirected edge.

    Raises:
        DatasetError: If the file is missing, truncated, damaged, too large when unpacked or has other keys; or has
            weights or directions that may not be left out.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file" + (" (it is a folder or device)" if path.exists() else ""))
    try:
        with file_errors(path), open_npz(path, max_bytes) as arrays:
            raw = _read_heterophilous(arrays) if "node_features" in arrays else _read_gnn_benchmark(arrays)
            lost = [] if simplify else _lost(arrays)
    except DatasetError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib each raise their own on a damaged file
        raise DatasetError(
            f"{path} cannot be read as a graph ({reason(error)}). It is damaged or not a .npz with gnn-benchmark keys "
            "(adj_data, adj_indices, adj_indptr, adj_shape, attr_*, labels) or heterophilous keys "
            "(node_features, node_labels, edges): fetch the file again or save it with these keys"
        ) from error
    if lost:
        raise DatasetError(
            f"{path} has {' and '.join(lost)}, which would be lost: load_graph(path, simplify=True) takes it as an "
            "undirected graph without weights (for msg train, save it as one); to keep them make a "
            "torch_geometric.data.Data, whose edge_index and edge_weight models read"
        )
    if binary_features:
        values = raw.features.data if sp.issparse(raw.features) else raw.features
        values[values > 0] = 1
    return validate(raw, path)


def _lost(arrays: Arrays) -> list[str]:
    """What an undirected graph without weights would not keep of an adjacency matrix."""
    if "node_features" in arrays:
        names = {"edge_weight": "weights", "edge_weights": "weights", "edge_attr": "features"}
        return [f"{what} of edges ({name})" for name, what in names.items() if name in arrays]
    adjacency = _csr(arrays, "adj")
    adjacency.eliminate_zeros()
    known, reverse = adjacency != 0, adjacency.T.tocsr() != 0
    return ["weights of edges"] * bool((adjacency.data != 1).any()) + ["directed edges"] * bool((known != reverse).nnz)


def _read_gnn_benchmark(arrays: Arrays) -> RawGraph:
    adjacency = _csr(arrays, "adj")
    if adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"adj_shape {adjacency.shape} is not square")
    adjacency.eliminate_zeros()
    edges = adjacency.tocoo()
    features = arrays["attr_matrix"] if "attr_matrix" in arrays else _csr(arrays, "attr")
    if features.shape[0] != adjacency.shape[0]:
        raise ValueError(f"{features.shape[0]} rows of features for {adjacency.shape[0]} nodes")
    return RawGraph(features, np.stack([edges.row, edges.col]), arrays["labels"], _masks(arrays))


def _csr(arrays: Arrays, prefix: str) -> Matrix:
    data, indices, indptr, shape = (arrays[f"{prefix}_{part}"] for part in ("data", "indices", "indptr", "shape"))
    matrix = checked_csr(data, indices, indptr, shape, prefix)
    matrix.sum_duplicates()
    return matrix


def checked_csr(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: np.ndarray, name: str) -> Matrix:
    """Return the SciPy CSR matrix of these parts.

    SciPy skips its own checks where ``indptr[-1]`` is 0, and its loops then read and write out of bounds.

    Args:
        data: ``[E]`` numbers.
        indices: ``[E]`` columns.
        indptr: ``[N + 1]``, the row pointers.
        shape: ``[2]``, N and the number of columns.
        name: What the matrix is, for messages.

    Raises:
        ValueError: If the parts do not fit together.
    """
    for part, array in (("indices", indices), ("indptr", indptr), ("shape", shape)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"{name}_{part} has shape {array.shape} and type {array.dtype}, not a list of integers")
    if data.ndim != 1 or data.dtype.kind not in "buif":
        raise ValueError(f"{name}_data has shape {data.shape} and type {data.dtype}, not a list of numbers")
    if len(shape) != 2 or min(rows_columns := [int(size) for size in shape]) < 0 or max(rows_columns) >= 2**63:
        raise ValueError(f"{name}_shape is not a number of rows and one of columns")
    rows, columns = rows_columns
    indices, indptr = indices.astype(np.int64), indptr.astype(np.int64)
    if len(indptr) != rows + 1 or indptr[0] != 0 or indptr[-1] != len(indices) or len(indices) != len(data):
        raise ValueError(f"{name}_indptr does not lead from 0 to the {len(indices):,} indices of {rows:,} rows")
    if (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"{name}_indptr runs backwards")
    if len(indices) and not (0 <= indices.min() <= indices.max() < columns):
        raise ValueError(f"{name}_indices leave 0..{columns - 1}")
    # duplicates are summed in a type in which small integers do not wrap
    return sp.csr_matrix((data.astype(np.result_type(data, np.float32)), indices, indptr), shape=(rows, columns))


def _read_heterophilous(arrays: Arrays) -> RawGraph:
    masks, features, edges = _masks(arrays), arrays["node_features"], arrays["edges"]
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise ValueError(f"edges has shape {edges.shape} and type {edges.dtype} instead of integers [E, 2]")
    return RawGraph(features, edges.T, arrays["node_labels"], masks)


def _masks(arrays: Arrays) -> dict[str, np.ndarray]:
    """Given splits, a column each; one alone may be called ``train_mask`` too, and have one dimension."""
    given = {name: arrays[key] for name in MASKS for key in (f"{name}s", name) if key in arrays}
    if given and len(given) < len(MASKS):
        raise KeyError(f"only {', '.join(given)} of the three masks")
    return {name: np.atleast_2d(mask).T for name, mask in given.items()}
