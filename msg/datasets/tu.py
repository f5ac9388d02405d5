"""Sets of graphs of TU Dortmund: text files of numbers, in which nothing can be unpickled.

Source: `Morris et al. 2020, TUDataset: A collection of benchmark datasets for learning with graphs
<https://arxiv.org/abs/2007.08663>`_.
"""

import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from msg.datasets.archives import MAX_BYTES, too_large
from msg.datasets.cards import Card
from msg.datasets.errors import MEND, DatasetError, reason
from msg.datasets.graph_sets import RawGraphs, validate_graphs
from msg.datasets.raw_graph import MAX_FEATURES


def read_tu(card: Card, folder: Path) -> RawGraphs:
    """Read graphs as :class:`torch_geometric.datasets.TUDataset` does by default.

    Features are the node labels, one-hot; attributes of nodes, and whatever edges have, are not read. Classes are the
    graphs' labels in ascending order.

    Args:
        card: The card, whose folder names the files.
        folder: The folder that holds ``raw/NAME_A.txt`` and the others.

    Raises:
        DatasetError: If a file is damaged, or they do not fit together.
    """
    raw, name = folder / "raw", card.folder
    edges = _integers(raw / f"{name}_A.txt", 2)
    graph = _integers(raw / f"{name}_graph_indicator.txt", 1)
    labels = _integers(raw / f"{name}_graph_labels.txt", 1)
    kinds = _integers(raw / f"{name}_node_labels.txt")
    _, classes = np.unique(labels, return_inverse=True)
    features = _one_hot(kinds, raw / f"{name}_node_labels.txt")
    return validate_graphs(RawGraphs(features, edges.T - 1, graph[:, 0] - 1, classes.reshape(-1)), folder)


def _integers(path: Path, columns: int | None = None) -> np.ndarray:
    """Whole numbers, a row a line, separated by commas."""
    if path.stat().st_size > MAX_BYTES // 8:  # two characters may become eight bytes
        raise too_large(path, f"up to {8 * path.stat().st_size:,} bytes", MAX_BYTES)
    try:
        with path.open(encoding="ascii") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # no lines, or numbers that are not whole
            found = np.loadtxt(file, np.int64, delimiter=",", comments=None, ndmin=2)
    except OSError:
        raise
    except Exception as error:
        raise DatasetError(f"{path} is damaged ({reason(error)}); {MEND}") from error
    if columns not in (None, found.shape[1]):
        raise DatasetError(f"{path} has {found.shape[1]} numbers a line, not {columns}; {MEND}")
    return found


def _one_hot(labels: np.ndarray, path: Path) -> sp.csr_matrix:
    """Each column of labels as 0 and 1, counted from its smallest, side by side."""
    # in Python's integers: a difference may be beyond those of 64 bits
    if sum(int(high) - int(low) + 1 for low, high in zip(labels.min(axis=0), labels.max(axis=0))) > MAX_FEATURES:
        raise DatasetError(f"{path} has labels up to {labels.max():,}, more than {MAX_FEATURES:,}; {MEND}")
    positions = labels - labels.min(axis=0)
    widths = positions.max(axis=0) + 1
    columns = positions + np.cumsum(widths) - widths
    rows = np.repeat(np.arange(len(labels)), labels.shape[1])
    ones = np.ones(columns.size, np.float32)
    return sp.csr_matrix((ones, (rows, columns.reshape(-1))), shape=(len(labels), int(widths.sum())))
