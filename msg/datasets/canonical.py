"""The one canonical form of a graph: undirected edges, float32 features, integer labels and a content hash."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_undirected

from msg.datasets.archives import MAX_BYTES
from msg.datasets.arguments import as_edge_index, as_int64
from msg.datasets.matrices import Matrix, as_scipy, sparse_tensor
from msg.datasets.raw_graph import RawGraph
from msg.names import Features

SPARSE_BELOW = 0.1
"""Features with a smaller share of non-zeros are returned as sparse CSR under ``features="auto"``."""

_ROWS_PER_CHUNK = 65_536


def to_data(raw: RawGraph, features: str = "auto", max_bytes: int = MAX_BYTES) -> Data:
    """Turn a raw graph into :class:`~torch_geometric.data.Data`.

    Args:
        raw: The graph, as :func:`~msg.datasets.raw_graph.validate` returns it.
        features: ``"dense"``, ``"sparse"`` (CSR) or ``"auto"``: sparse if fewer than 10 % of the entries are non-zero.
        max_bytes: How large sparse features may become when they are made dense.

    Shapes:
        ``x [N, F]`` float32; ``edge_index [2, E]`` int64 with both directions of each edge, sorted, without duplicates
        and self-loops; ``y [N]`` int64; ``num_classes``; ``content_hash``; the given masks as they are.

    Raises:
        ValueError: If ``features`` is another word, or dense features would be too large.
    """
    if features not in get_args(Features):
        raise ValueError(f"features must be 'auto', 'dense' or 'sparse', not {features!r}")
    num_nodes, num_features = raw.features.shape
    filled = raw.features.nnz if sp.issparse(raw.features) else int(np.count_nonzero(raw.features))
    if features == "sparse" or (features == "auto" and filled < SPARSE_BELOW * num_nodes * num_features):
        x = sparse_tensor(sp.csr_matrix(raw.features))
    else:
        x = _dense(raw.features, max_bytes)
    edge_index = to_undirected(remove_self_loops(as_edge_index(raw.edge_index, num_nodes))[0], num_nodes=num_nodes)
    data = Data(x=x, edge_index=edge_index, y=torch.from_numpy(raw.labels), **raw.masks)
    data.num_classes = int(data["y"].max()) + 1
    data.content_hash = content_hash(data)
    return data


def _dense(features: Matrix, max_bytes: int) -> Tensor:
    if not sp.issparse(features):
        return torch.from_numpy(features)
    size = features.shape[0] * features.shape[1] * features.dtype.itemsize
    if size > max_bytes:
        raise ValueError(
            f"dense features of shape {features.shape} need {size:,} bytes, more than {max_bytes:,}: choose "
            "features='sparse', or pass a larger max_bytes to load_graph"
        )
    return torch.from_numpy(features.toarray())


def content_hash(data: Data) -> str:
    """Return the SHA-256 of a graph's content, whatever file, container or layout it came from.

    The digest covers ``N``, ``F``; the edges as int64 sorted by source, then target; the features in CSR form (row
    pointers and column indices int64, values float32, no zeros, columns ascending); and the labels as int64, all little
    endian. So sparse and dense features give the same hash, and masks do not matter.

    Args:
        data: A graph with ``x [N, F]`` of any layout, ``edge_index [2, E]`` and ``y [N]`` of any integer types.

    Raises:
        ValueError: If edges or labels are no integers, or edges lead outside the graph.
    """
    x = torch.as_tensor(data["x"])
    edge_index = as_edge_index(data["edge_index"], x.size(0)).cpu().numpy()
    codes = edge_index[0] * x.size(0) + edge_index[1]
    if (codes[1:] < codes[:-1]).any():  # a loaded graph is sorted already, and sorting a large one is slow
        edge_index = edge_index[:, np.argsort(codes)]
    return hash_of_parts([edge_index], x, as_int64(data["y"], "labels").cpu())


def hash_of_parts(edges: Iterable[np.ndarray], x: Tensor, labels: Tensor) -> str:
    """The same of a graph whose sorted edges come in parts: all sources, then all targets.

    Args:
        edges: integers, part by part.
        x: ``[N, F]`` of any layout.
        labels: ``[N]``.
    """
    parts = {name: hashlib.sha256() for name in ("edges", "indptr", "indices", "values", "labels")}

    def add(name: str, array: np.ndarray, dtype: str = "<i8") -> None:
        parts[name].update(np.ascontiguousarray(array, dtype).data)

    for part in edges:
        add("edges", part)
    add("labels", labels.numpy())
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
    if x.layout != torch.strided:
        matrix = as_scipy(x).copy()  # it is tidied in place
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        yield matrix
    else:  # in chunks, so that a dense matrix of gigabytes is never held a second time
        for start in range(0, x.size(0), _ROWS_PER_CHUNK):
            yield as_scipy(x[start : start + _ROWS_PER_CHUNK])
