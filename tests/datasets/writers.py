"""One graph written in every layout that can be read, and its card, for tests of what happens to the files."""

import gzip
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from torch_geometric.data import Data

from msg.datasets import Card
from msg.datasets.generators import disease

NODES, TRAIN, VAL, TEST = 640, 20, 500, 100
"""Planetoid's layout has no fewer than 500 validation nodes, and the test nodes come last."""

_OLD_NAMES = {
    b"scipy.sparse._csr": b"scipy.sparse.csr",
    b"numpy._core.multiarray": b"numpy.core.multiarray",
}


class Payload:
    """What makes a folder when it is unpickled."""

    def __init__(self, made: Path):
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


def graph() -> Data:
    """The graph: x, edge_index, y and masks as arrays."""
    raw = disease(num_nodes=NODES)
    nodes = np.arange(NODES)
    masks = {"train_mask": nodes < TRAIN, "val_mask": (nodes >= TRAIN) & (nodes < TRAIN + VAL)}
    return Data(
        x=np.abs(raw.features).round(3),
        edge_index=raw.edge_index.numpy(),
        y=raw.labels,
        test_mask=nodes >= NODES - TEST,
        **masks,
    )


def write_npz(folder: Path, packed: bool = True) -> Card:
    """Heterophilous keys, with masks."""
    data, path = graph(), folder / "Tiny" / "raw" / "tiny.npz"
    path.parent.mkdir(parents=True)
    masks = {f"{part}_masks": data[f"{part}_mask"][None] for part in ("train", "val", "test")}
    save = np.savez_compressed if packed else np.savez
    save(path, node_features=data.x, node_labels=data.y, edges=data.edge_index.T, **masks)
    return _card("npz", "Tiny", ["raw/tiny.npz"])


def write_gnn_benchmark(folder: Path) -> Card:
    """The keys of gnn-benchmark."""
    data, path = graph(), folder / "Tiny" / "raw" / "tiny.npz"
    path.parent.mkdir(parents=True)
    adjacency = sp.csr_matrix((np.ones(NODES - 1, np.float32), tuple(data.edge_index)), shape=(NODES, NODES))
    arrays = {"labels": data.y}
    for prefix, matrix in (("adj", adjacency), ("attr", sp.csr_matrix(data.x))):
        for part in ("data", "indices", "indptr", "shape"):
            arrays[f"{prefix}_{part}"] = np.asarray(getattr(matrix, part))
    np.savez_compressed(path, **arrays)
    return _card("npz", "Tiny", ["raw/tiny.npz"])


def write_planetoid(folder: Path) -> Card:
    """Eight files ``ind.tiny.*``, spelt as the pickles of 2016 are; their checksums are on the card."""
    data, raw = graph(), folder / "Tiny" / "raw"
    raw.mkdir(parents=True)
    x, y = sp.csr_matrix(data.x), np.eye(2, dtype=np.int32)[data.y]
    known, tests = NODES - TEST, np.random.default_rng(0).permutation(np.arange(NODES - TEST, NODES))
    neighbours: dict[int, list[int]] = {node: [] for node in range(NODES)}
    for source, target in data.edge_index.T.tolist():
        neighbours[source].append(target)
    parts = {"x": x[:TRAIN], "tx": x[tests], "allx": x[:known], "graph": neighbours}
    parts |= {"y": y[:TRAIN], "ty": y[tests], "ally": y[:known]}
    for name, part in parts.items():
        content = pickle.dumps(part, protocol=3)
        for new, old in _OLD_NAMES.items():
            content = content.replace(new, old)
        (raw / f"ind.tiny.{name}").write_bytes(content)
    (raw / "ind.tiny.test.index").write_text("".join(f"{node}\n" for node in tests))
    files = sorted(path for path in raw.iterdir())
    return _card(
        "planetoid", "Tiny", {f"raw/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    )


def write_ogb(folder: Path) -> Card:
    """The CSV files of an OGB archive."""
    data = graph()
    tables = {
        "raw/edge.csv.gz": data.edge_index.T,
        "raw/node-feat.csv.gz": data.x,
        "raw/node-label.csv.gz": data.y,
        "raw/num-node-list.csv.gz": [NODES],
        "raw/num-edge-list.csv.gz": [NODES - 1],
        "split/time/train.csv.gz": np.flatnonzero(data.train_mask),
        "split/time/valid.csv.gz": np.flatnonzero(data.val_mask),
        "split/time/test.csv.gz": np.flatnonzero(data.test_mask),
    }
    for name, table in tables.items():
        path = folder / "tiny_ogb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.atleast_2d(np.asarray(table).T).T.tolist()
        path.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode()))
    (folder / "tiny_ogb" / "RELEASE_v1.txt").touch()
    return _card("ogb", "tiny_ogb", ["RELEASE_v1.txt", *tables])


def _card(kind: str, folder: str, files) -> Card:
    digests = files if isinstance(files, dict) else dict.fromkeys(files, "")
    return Card(key="tiny", title="Tiny", format=kind, folder=folder, files=digests, nodes=NODES)


WRITERS = {"npz": write_npz, "gnn-benchmark": write_gnn_benchmark, "planetoid": write_planetoid, "ogb": write_ogb}
