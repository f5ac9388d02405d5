"""ogbn-arxiv and ogbn-products through the ``ogb`` package, without its questions, network calls and unsafe loads."""

import contextlib
import csv
import gzip
import importlib
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage
from torch_geometric.utils import index_to_mask

from msg.datasets.cards import Card, DatasetError
from msg.datasets.formats import RawGraph, validate


def read_ogb(card: Card, folder: Path) -> RawGraph:
    """Read an OGB node-prediction graph from the raw files that its archive holds.

    The ``ogb`` package parses the CSV files once and keeps the result in ``folder/processed``.

    Args:
        card: The graph's card.
        folder: The unpacked archive, with the name OGB gives it, such as ``ogbn_arxiv``.

    Raises:
        ImportError: If ``ogb`` is not installed; the message says how to install it.
        DatasetError: If the files are of another release than ogb expects, cannot be read, or hold another number of
            edges than the card says.
    """
    ogb = _import_ogb()
    meta = _meta(ogb, card.key) | {"dir_path": str(folder)}
    release = folder / f"RELEASE_v{meta['version']}.txt"
    if not release.is_file():  # ogb would ask on standard input whether to delete the folder
        raise DatasetError(f"{release} is missing: {folder} is of another release, move it away and load again")
    safe = torch.serialization.safe_globals([Data, DataEdgeAttr, DataTensorAttr, GlobalStorage])
    try:
        # ogb prints its progress; standard output belongs to the caller's results.
        with safe, _quiet(), contextlib.redirect_stdout(sys.stderr):
            dataset = ogb.PygNodePropPredDataset(card.key, meta_dict=meta)
            data, parts = dataset[0], dataset.get_idx_split()
    except Exception as error:  # pandas, gzip, torch and ogb each raise their own
        place = _damaged_file(card, folder) or folder / "processed"
        reason = str(error).partition(". ")[0]  # PyTorch goes on to recommend an unsafe load
        raise DatasetError(
            f"{place} cannot be read by ogb ({reason}). If it is the processed folder, delete it and load again; else "
            "replace it by a sound copy (in a dataset root: delete it and load again, or import one)"
        ) from error
    raw_edges = data.edge_index.size(1) // (2 if meta["add_inverse_edge"] == "True" else 1)
    if card.raw_edges not in (None, raw_edges):
        raise DatasetError(
            f"{folder / 'raw' / 'edge.csv.gz'} lists {raw_edges:,} edges, {card.title} has {card.raw_edges:,}; "
            "replace it by a sound copy (in a dataset root: delete it and load again, or import one)"
        )
    num_nodes = int(data.num_nodes)
    masks = {
        name: index_to_mask(parts[part], num_nodes)
        for name, part in (("train_mask", "train"), ("val_mask", "valid"), ("test_mask", "test"))
    }
    return validate(RawGraph(data.x.numpy(), data.edge_index, data.y.view(-1).numpy().astype(np.int64), masks), folder)


def _import_ogb() -> ModuleType:
    # On import, ogb starts a thread that asks a package registry for its newest version, unless the package `outdated`
    # cannot be imported: None in sys.modules is Python's documented way to say so.
    before = {name: module for name, module in sys.modules.items() if name == "outdated"}
    sys.modules["outdated"] = None  # type: ignore[assignment]
    try:
        with _quiet():
            return importlib.import_module("ogb.nodeproppred")
    except ImportError as error:
        raise ImportError('OGB graphs need the package ogb: pip install "msg-graph[ogb]"') from error
    finally:
        del sys.modules["outdated"]
        sys.modules.update(before)


def _damaged_file(card: Card, folder: Path) -> Path | None:
    for path in (folder / name for name in card.files if name.endswith(".gz")):
        try:
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        except (OSError, EOFError, zlib.error):
            return path
    return None


def _meta(ogb: ModuleType, key: str) -> dict[str, str]:
    """Return ogb's own description of a graph: one column of the table in its package."""
    with Path(str(ogb.__file__)).with_name("master.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    column = rows[0].index(key)
    return {row[0]: row[column] for row in rows[1:] if row}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what ogb's age causes: deprecations, and tensors of pandas' read-only arrays."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        warnings.filterwarnings("ignore", message="It is not recommended to directly access the internal storage")
        yield
