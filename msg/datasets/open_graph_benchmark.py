"""Node-prediction graphs of the Open Graph Benchmark (Hu et al. 2020), read from the CSV files of their archives."""

from pathlib import Path

import numpy as np
import pandas as pd

from msg.datasets.archives import MAX_BYTES, open_gzip
from msg.datasets.cards import Card
from msg.datasets.errors import MEND, DatasetError, reason
from msg.datasets.raw_graph import RawGraph, validate

_PARTS = {"train_mask": "train.csv.gz", "val_mask": "valid.csv.gz", "test_mask": "test.csv.gz"}


def read_ogb(card: Card, folder: Path, max_bytes: int = MAX_BYTES) -> RawGraph:
    """Read an OGB node-prediction graph from the raw files that its archive holds.

    Nothing else in the folder is opened, in particular not what other programs keep in ``processed``.

    Args:
        card: The graph's card.
        folder: The unpacked archive, with the name OGB gives it, such as ``ogbn_arxiv``.
        max_bytes: How many bytes each file may unpack to, see :data:`~msg.datasets.archives.MAX_BYTES`.

    Raises:
        DatasetError: If the files are of another release than the card's, cannot be read, do not fit together, or hold
            another number of edges than the card says.
    """
    paths = {Path(name).name: folder / name for name in card.files}
    for name, path in paths.items():
        if name.startswith("RELEASE") and not path.is_file():
            raise DatasetError(f"{path} is missing: {folder} is of another release, move it away and load again")

    def table(name: str, dtype: type, rows: int | None = None, columns: int | None = 1) -> np.ndarray:
        return _read_table(paths[name], dtype, rows, columns, max_bytes)

    num_nodes, num_edges = (int(table(f"num-{what}-list.csv.gz", np.int64, 1)[0, 0]) for what in ("node", "edge"))
    if card.raw_edges not in (None, num_edges):
        raise DatasetError(
            f"{paths['edge.csv.gz']} lists {num_edges:,} edges, {card.title} has {card.raw_edges:,}; {MEND}"
        )
    edges = table("edge.csv.gz", np.int64, num_edges, 2)
    features = table("node-feat.csv.gz", np.float32, num_nodes, None)
    labels = table("node-label.csv.gz", np.int64, num_nodes)[:, 0]
    masks = {mask: _mask(table(name, np.int64)[:, 0], paths[name], num_nodes) for mask, name in _PARTS.items()}
    return validate(RawGraph(features, edges.T, labels, masks), folder)


def _read_table(path: Path, dtype: type, rows: int | None, columns: int | None, max_bytes: int) -> np.ndarray:
    try:
        # a number beyond the type becomes infinite, which is refused with all that is not finite
        with open_gzip(path, max_bytes) as file, np.errstate(over="ignore"):
            table = pd.read_csv(file, header=None, dtype=dtype).to_numpy()
    except DatasetError:
        raise
    except Exception as error:  # pandas, gzip and zlib each raise their own
        raise DatasetError(f"{path} cannot be read ({reason(error)}); {MEND}") from error
    if rows not in (None, table.shape[0]) or columns not in (None, table.shape[1]):
        wanted = f"[{'any' if rows is None else rows}, {'any' if columns is None else columns}]"
        raise DatasetError(f"{path} has a table of shape {list(table.shape)} instead of {wanted}; {MEND}")
    return table


def _mask(nodes: np.ndarray, path: Path, num_nodes: int) -> np.ndarray:
    if nodes.min() < 0 or nodes.max() >= num_nodes:
        raise DatasetError(f"{path} lists nodes outside 0..{num_nodes - 1}; {MEND}")
    mask = np.zeros(num_nodes, dtype=bool)
    mask[nodes] = True
    return mask
