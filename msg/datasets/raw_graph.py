"""A graph as files and generators give it, and what must hold of it before it is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from msg.datasets.arguments import as_edge_index, boolean_masks
from msg.datasets.errors import DatasetError
from msg.datasets.matrices import Matrix, as_scipy

Array: TypeAlias = Any
"""A tensor, a NumPy array or nested lists."""

MAX_FEATURES = 2**24
"""The largest number of features: the first layer of a model needs a row of weights for each."""


@dataclass
class RawGraph:
    """A graph as its files or its generator give it, before it becomes a :class:`torch_geometric.data.Data`.

    Arrays may be NumPy's, tensors on the CPU or nested lists; features also sparse, of PyTorch or SciPy.

    Attributes:
        features: ``[N, F]`` numbers.
        edge_index: ``[2, E]``, in any order, with or without reverse edges, duplicates and self-loops.
        labels: ``[N]`` class indices, -1 of a node that has none.
        masks: The given ``train_mask``, ``val_mask`` and ``test_mask``, each ``[N]`` or ``[N, K]``, or nothing.
    """

    features: Matrix
    edge_index: Array
    labels: Array
    masks: Mapping[str, Array] = field(default_factory=dict)


def validate(raw: RawGraph, place: Path | str) -> RawGraph:
    """Return the graph with float32 features (dense or CSR), int64 edges and labels, and boolean masks.

    Args:
        raw: The graph.
        place: What messages name, such as the file.

    Raises:
        DatasetError: If features, edges, labels or masks are malformed, do not fit together or lose their meaning in
            these types: features that float32 cannot hold, labels that are no class of so few nodes, masks that share
            a node or have one without a class.
    """
    try:
        features = as_features(raw.features)
        num_nodes = features.shape[0]
        labels = as_labels(raw.labels, num_nodes, missing=True)
        edge_index, masks = as_edge_index(raw.edge_index, num_nodes), boolean_masks(raw.masks, num_nodes)
        for name, mask in masks.items():
            if mask[torch.from_numpy(labels < 0)].any():
                raise ValueError(f"nodes without a class (-1) in {name}: take them out of it")
        return RawGraph(features, edge_index, labels, masks)
    except (ValueError, TypeError) as problem:
        raise DatasetError(f"{place} has {problem}; mend or replace it") from problem


def as_features(given: Matrix) -> Matrix:
    """Return features as float32, dense or CSR.

    Raises:
        ValueError: If they are not finite numbers ``[N, F]`` that float32 can hold.
    """
    if isinstance(given, Tensor):
        given = given.numpy() if given.layout == torch.strided else as_scipy(given)
    features: Matrix = sp.csr_matrix(given) if sp.issparse(given) else np.asarray(given)
    values: Any = features.data if sp.issparse(features) else features
    if features.ndim != 2 or values.dtype.kind not in "buif":
        raise ValueError(f"features of shape {features.shape} and type {values.dtype}, not numbers of shape [N, F]")
    if features.shape[1] > MAX_FEATURES:
        raise ValueError(f"{features.shape[1]:,} features, more than {MAX_FEATURES:,}: leave out those no node has")
    if not np.isfinite(values).all():
        raise ValueError("features that are not finite numbers")
    with np.errstate(over="ignore"):
        narrow = np.require(values, np.float32, ["C", "W"])
    if not np.isfinite(narrow).all():
        raise ValueError("features beyond the range of float32 (3.4e38): scale them")
    if not sp.issparse(features):
        return narrow
    # a copy, since it is tidied in place
    return sp.csr_matrix((narrow, features.indices, features.indptr), features.shape, copy=True)


def as_labels(given: Array, count: int, of: str = "nodes", missing: bool = False) -> np.ndarray:
    """Return class indices as int64.

    Args:
        given: The indices.
        count: How many there must be.
        of: What has them, for messages.
        missing: Whether some may have none, -1.

    Raises:
        ValueError: If they are no class indices, one for each.
    """
    labels = np.asarray(given)
    if labels.shape != (count,) or count == 0:
        one_each = ", not one class each: take the argmax of one-hot rows" if labels.ndim == 2 else ""
        raise ValueError(f"labels of shape {labels.shape} for {count} {of}{one_each}")
    if labels.dtype.kind not in "biu" or labels.min() < (-1 if missing else 0):
        without = f", and -1 for {of} without a class" if missing else ""
        raise ValueError(f"labels that are not class indices 0, 1, 2, ...: number the classes, as integers{without}")
    if int(labels.max()) >= count:
        raise ValueError(f"label {labels.max():,}, but only {count:,} {of}: number the classes 0, 1, 2, ...")
    return labels.astype(np.int64)
