"""Sets of whole graphs: what files and generators give, what must hold of it, and its one canonical form."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Batch, Data

from msg.datasets.archives import MAX_BYTES
from msg.datasets.arguments import as_edge_index, as_int64
from msg.datasets.canonical import to_data
from msg.datasets.errors import DatasetError
from msg.datasets.matrices import Matrix
from msg.datasets.raw_graph import Array, RawGraph, as_features, as_labels


@dataclass
class RawGraphs:
    """Graphs side by side, as files or a generator give them.

    Arrays may be NumPy's, tensors on the CPU or nested lists; features also sparse, of PyTorch or SciPy.

    Attributes:
        features: ``[N, F]`` numbers, of the nodes of all graphs.
        edge_index: ``[2, E]``, in any order, with or without reverse edges, duplicates and self-loops.
        graph: ``[N]``, the graph of each node, from 0 and in order.
        labels: ``[G]`` class indices, one a graph.
    """

    features: Matrix
    edge_index: Array
    graph: Array
    labels: Array


def validate_graphs(raw: RawGraphs, place: Path | str) -> RawGraphs:
    """Return the graphs with float32 features (dense or CSR) and int64 edges, graphs and labels.

    Args:
        raw: The graphs.
        place: What messages name, such as the folder.

    Raises:
        DatasetError: If features, edges, graphs or labels are malformed or do not fit together.
    """
    try:
        features = as_features(raw.features)
        edges = as_edge_index(raw.edge_index, features.shape[0])
        graph = as_int64(raw.graph, "graphs of nodes").numpy()
        if graph.shape != features.shape[:1]:
            raise ValueError(f"graphs of nodes of shape {graph.shape} for {features.shape[0]} nodes")
        labels = as_labels(raw.labels, int(graph.max(initial=-1)) + 1, "graphs")
        if (np.diff(graph, prepend=0) < 0).any() or not np.bincount(graph, minlength=len(labels)).all():
            raise ValueError("graphs without nodes, or nodes that do not stand graph by graph: put them in order")
        if (graph[edges[0]] != graph[edges[1]]).any():
            raise ValueError("edges between nodes of two graphs: they would be one graph")
        return RawGraphs(features, edges, graph, labels)
    except (ValueError, TypeError) as problem:
        raise DatasetError(f"{place} has {problem}; mend or replace it") from problem


def to_batch(raw: RawGraphs, max_bytes: int = MAX_BYTES) -> Any:
    """Turn raw graphs into PyG's :class:`~torch_geometric.data.Batch`, which is one disconnected graph.

    Args:
        raw: The graphs, as :func:`validate_graphs` returns them.
        max_bytes: How large features may become when they are made dense.

    Shapes:
        As of :func:`msg.datasets.load_graphs`, without its split.

    Raises:
        ValueError: If dense features would be too large.
    """
    whole = to_data(RawGraph(raw.features, raw.edge_index, raw.labels), "dense", max_bytes)
    x, edges, y = whole["x"], whole["edge_index"], whole["y"]
    nodes = np.bincount(raw.graph)
    # edges are sorted by their first node, so they stand graph by graph
    counts = np.bincount(raw.graph[edges[0]], minlength=len(nodes))
    first = np.cumsum(nodes) - nodes
    parts = zip(x.split(nodes.tolist()), edges.split(counts.tolist(), dim=1), first.tolist(), y)
    batch: Any = Batch.from_data_list([Data(x=x, edge_index=e - start, y=label[None]) for x, e, start, label in parts])
    batch.num_classes = whole.num_classes
    content = bytes.fromhex(whole.content_hash) + np.asarray(raw.graph, "<i8").tobytes()
    batch.content_hash = hashlib.sha256(content).hexdigest()
    return batch
