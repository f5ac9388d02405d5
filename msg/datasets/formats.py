"""Raw files and their one canonical form: undirected edges, float32 features, integer labels and a content hash."""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.io import read_planetoid_data
from torch_geometric.utils import remove_self_loops, to_undirected

from msg.datasets.cards import DatasetError

SPARSE_BELOW = 0.1
"""Features with a smaller share of non-zeros are returned as sparse CSR under ``features="auto"``."""

Matrix: TypeAlias = Any
"""A dense array or a SciPy CSR matrix. SciPy ships no types, and what checkers guess of it is wrong."""

_MASKS = ("train_mask", "val_mask", "test_mask")
_ROWS_PER_CHUNK = 65_536


@dataclass
class RawGraph:
    """A graph as its files give it, before it becomes a :class:`torch_geometric.data.Data`.

    Attributes:
        features: ``[N, F]``, dense or CSR.
        edge_index: ``[2, E]``, in any order, with or without reverse edges, duplicates and self-loops.
        labels: ``[N]`` class indices.
        masks: The given ``train_mask``, ``val_mask`` and ``test_mask``, each ``[N]`` or ``[N, K]``, or nothing.
    """

    features: Matrix
    edge_index: Tensor
    labels: np.ndarray
    masks: dict[str, Tensor] = field(default_factory=dict)


def read_npz(path: Path, binary_features: bool = False) -> RawGraph:
    """Read a ``.npz`` with gnn-benchmark keys (``adj_*``, ``attr_*`` or ``attr_matrix``, ``labels``) or heterophilous
    keys (``node_features``, ``node_labels``, ``edges`` and, if there are given splits, ``train_masks``, ``val_masks``,
    ``test_masks`` of shape ``[K, N]``).

    Features stay sparse where the file keeps them sparse. Nothing in the file is ever unpickled.

    Args:
        path: The file.
        binary_features: Replace positive features by 1.

    Raises:
        DatasetError: If the file is missing, truncated, damaged or has other keys.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            raw = _read_heterophilous(arrays) if "node_features" in arrays else _read_gnn_benchmark(arrays)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except Exception as error:  # NumPy, zipfile, zlib and SciPy each raise their own on a damaged file
        raise DatasetError(
            f"{path} cannot be read as a graph ({error}). It is damaged or not a .npz with gnn-benchmark keys "
            "(adj_data, adj_indices, adj_indptr, adj_shape, attr_*, labels) or heterophilous keys "
            "(node_features, node_labels, edges): fetch the file again or save it with these keys"
        ) from error
    if binary_features:
        values = raw.features.data if isinstance(raw.features, sp.csr_matrix) else raw.features
        values[values > 0] = 1
    return validate(raw, path)


def _csr(arrays: np.lib.npyio.NpzFile, prefix: str) -> Matrix:
    parts = tuple(arrays[f"{prefix}_{part}"] for part in ("data", "indices", "indptr"))
    matrix: Matrix = sp.csr_matrix(parts, shape=tuple(int(size) for size in arrays[f"{prefix}_shape"]))
    matrix.check_format(full_check=True)  # the constructor alone accepts column indices out of range
    matrix.sum_duplicates()
    return matrix


def _read_gnn_benchmark(arrays: np.lib.npyio.NpzFile) -> RawGraph:
    adjacency = _csr(arrays, "adj")
    if adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"adj_shape {adjacency.shape} is not square")
    adjacency.eliminate_zeros()
    edges = adjacency.tocoo()
    features = arrays["attr_matrix"] if "attr_matrix" in arrays else _csr(arrays, "attr")
    if features.shape[0] != adjacency.shape[0]:
        raise ValueError(f"{features.shape[0]} rows of features for {adjacency.shape[0]} nodes")
    return RawGraph(features, torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64)), arrays["labels"])


def _read_heterophilous(arrays: np.lib.npyio.NpzFile) -> RawGraph:
    given = {name: arrays[f"{name}s"] for name in _MASKS if f"{name}s" in arrays}
    if given and len(given) < len(_MASKS):
        raise KeyError(f"only {', '.join(given)} of the three masks")
    features, edges = arrays["node_features"], arrays["edges"]
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise ValueError(f"edges has shape {edges.shape} and type {edges.dtype} instead of integers [E, 2]")
    masks = {name: torch.from_numpy(np.atleast_2d(mask.astype(bool)).T.copy()) for name, mask in given.items()}
    if any(mask.size(0) != features.shape[0] for mask in masks.values()):
        raise ValueError("masks do not have shape [K, N]")
    return RawGraph(features, torch.from_numpy(edges.astype(np.int64).T.copy()), arrays["node_labels"], masks)


def read_planetoid(folder: Path, name: str) -> RawGraph:
    """Read the eight ``ind.NAME.*`` files of a Planetoid graph; they are pickles, so check their SHA-256 before.

    Raises:
        DatasetError: If a file is missing or cannot be parsed.
    """
    try:
        with warnings.catch_warnings():  # PyTorch Geometric adds a filter of its own and leaves it installed
            # NumPy and SciPy find the pickles' modules and dtypes outdated; nobody can mend the pickles.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=np.exceptions.VisibleDeprecationWarning)
            data = read_planetoid_data(str(folder), name)
    except Exception as error:  # unpickling can raise anything
        raise DatasetError(f"{folder}: cannot read the Planetoid files ({error}); fetch them again") from error
    features = sp.csr_matrix(data["x"].numpy())
    return validate(
        RawGraph(features, data["edge_index"], data["y"].numpy(), {name: data[name] for name in _MASKS}), folder
    )


def validate(raw: RawGraph, path: Path) -> RawGraph:
    """Return the graph with float32 features and int64 labels.

    Raises:
        DatasetError: If features, labels or edges are malformed or do not fit together; the message names ``path``.
    """
    problem = None
    num_nodes = raw.features.shape[0]
    values = raw.features.data if sp.issparse(raw.features) else raw.features
    labels = np.asarray(raw.labels)
    if raw.features.ndim != 2 or values.dtype.kind not in "buif":
        problem = f"features of shape {raw.features.shape} and type {values.dtype}, not numbers of shape [N, F]"
    elif not np.isfinite(values).all():
        problem = "features that are not finite numbers"
    elif labels.shape != (num_nodes,) or num_nodes == 0:
        problem = f"labels of shape {labels.shape} for {num_nodes} nodes"
    elif labels.dtype.kind not in "biu" or labels.min() < 0:
        problem = "labels that are not class indices 0, 1, 2, ..."
    elif raw.edge_index.numel() and not (0 <= int(raw.edge_index.min()) <= int(raw.edge_index.max()) < num_nodes):
        problem = f"edges to nodes outside 0..{num_nodes - 1}"
    if problem:
        raise DatasetError(f"{path} has {problem}; mend or fetch the file again")
    raw.features, raw.labels = raw.features.astype(np.float32, copy=False), labels.astype(np.int64)
    return raw


def to_data(raw: RawGraph, features: str = "auto") -> Data:
    """Turn a raw graph into :class:`~torch_geometric.data.Data`.

    Args:
        raw: The graph.
        features: ``"dense"``, ``"sparse"`` (CSR) or ``"auto"``: sparse if fewer than 10 % of the entries are non-zero.

    Shapes:
        ``x [N, F]`` float32; ``edge_index [2, E]`` int64 with both directions of each edge, sorted, without duplicates
        and self-loops; ``y [N]`` int64; ``num_classes``; ``content_hash``; the given masks as they are.

    Raises:
        ValueError: If ``features`` is another word.
    """
    if features not in ("auto", "dense", "sparse"):
        raise ValueError(f"features must be 'auto', 'dense' or 'sparse', not {features!r}")
    num_nodes, num_features = raw.features.shape
    filled = raw.features.nnz if isinstance(raw.features, sp.csr_matrix) else int(np.count_nonzero(raw.features))
    sparse = features == "sparse" or (features == "auto" and filled < SPARSE_BELOW * num_nodes * num_features)
    if sparse:
        x = sparse_tensor(sp.csr_matrix(raw.features))
    else:
        x = torch.from_numpy(raw.features.toarray() if isinstance(raw.features, sp.csr_matrix) else raw.features)
    edge_index = to_undirected(remove_self_loops(raw.edge_index)[0], num_nodes=num_nodes)
    data = Data(x=x, edge_index=edge_index, y=torch.from_numpy(raw.labels), **raw.masks)
    data.num_classes = int(data["y"].max()) + 1
    data.content_hash = content_hash(data)
    return data


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


def content_hash(data: Data) -> str:
    """Return the SHA-256 of a graph's content, whatever file, container or layout it came from.

    The digest covers ``N``, ``F``; the edges as int64 sorted by source, then target; the features in CSR form (row
    pointers and column indices int64, values float32, no zeros, columns ascending); and the labels as int64, all little
    endian. So sparse and dense features give the same hash, and masks do not matter.
    """
    parts = {name: hashlib.sha256() for name in ("edges", "indptr", "indices", "values", "labels")}

    def add(name: str, array: np.ndarray, dtype: str = "<i8") -> None:
        parts[name].update(np.ascontiguousarray(array, dtype).data)

    x, edge_index = data["x"].cpu(), data["edge_index"].cpu().numpy()
    codes = edge_index[0] * x.size(0) + edge_index[1]
    if (codes[1:] < codes[:-1]).any():  # a loaded graph is sorted already, and sorting a large one is slow
        edge_index = edge_index[:, np.argsort(codes)]
    add("edges", edge_index)
    add("labels", data["y"].cpu().numpy())
    add("indptr", np.zeros(1))
    seen = 0
    for rows in _csr_chunks(x):
        add("indptr", rows.indptr[1:].astype(np.int64) + seen)
        add("indices", rows.indices)
        add("values", rows.data, "<f4")
        seen += rows.nnz
    whole = hashlib.sha256(np.array(x.shape, "<i8").data)
    for part in parts.values():
        whole.update(part.digest())
    return whole.hexdigest()


def _csr_chunks(x: Tensor) -> Iterator[Matrix]:
    # In chunks, so that a dense matrix of gigabytes is never held a second time.
    if x.layout == torch.sparse_csr:
        arrays = (x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy())
        matrix: Matrix = sp.csr_matrix(arrays, shape=tuple(x.shape), copy=True)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        yield matrix
    else:
        for start in range(0, x.size(0), _ROWS_PER_CHUNK):
            yield sp.csr_matrix(x[start : start + _ROWS_PER_CHUNK].numpy())
