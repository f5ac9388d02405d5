"""The files of Planetoid (Yang et al. 2016): pickles, of which nothing but numbers, lists and arrays is ever made."""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from msg.datasets.errors import MEND, DatasetError, reason
from msg.datasets.matrices import Matrix
from msg.datasets.npz import checked_csr
from msg.datasets.raw_graph import RawGraph, validate

_NUM_VAL = 500


class _Parts:
    """What a pickled SciPy matrix holds: its parts as attributes, which are checked before SciPy sees them."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    _shape: tuple[int, int]


def _dtype(name: str, *_: Any) -> np.dtype:
    # NumPy deprecates how old pickles spell the other arguments; a copy, since unpickling goes on to set its state
    return np.dtype(name, align=False, copy=True)


_KNOWN = {
    "__builtin__.list": list,
    "builtins.list": list,
    "collections.defaultdict": defaultdict,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": np.zeros(0).__reduce__()[0],
    "scipy.sparse.csr.csr_matrix": _Parts,
}


class _Unpickler(pickle.Unpickler):
    """Makes what these files are made of, and refuses to look up anything else that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no such file holds")
        return _KNOWN[f"{module}.{name}"]


def read_planetoid(folder: Path, name: str) -> RawGraph:
    """Read the ``ind.NAME.*`` files of a Planetoid graph.

    The training nodes come first, the next 500 validate; test nodes are listed in ``test.index``, in the order of the
    rows of ``tx`` and ``ty``. A node that no file describes (in CiteSeer) has no features and class 0.

    Args:
        folder: The folder of the files.
        name: The graph's name, such as ``"Cora"``.

    Raises:
        DatasetError: If a file is missing or cannot be parsed, or asks for anything but numbers, lists and arrays.
    """
    try:
        return validate(_read(folder, name.lower()), folder)
    except DatasetError:
        raise
    except Exception as error:  # unpickling can raise anything
        raise DatasetError(f"{folder}: cannot read the Planetoid files ({reason(error)}); {MEND}") from error


def _read(folder: Path, name: str) -> RawGraph:
    known, tests = (_features(folder, name, part) for part in ("allx", "tx"))
    trained, classes, test_classes = (np.asarray(_load(folder, name, part)) for part in ("y", "ally", "ty"))
    lines = (folder / f"ind.{name}.test.index").read_text(encoding="ascii").split()
    test_nodes = np.array([int(line) for line in lines])
    num_nodes = known.shape[0] + int(test_nodes.max() - test_nodes.min()) + 1
    if test_nodes.min() != known.shape[0] or len(np.unique(test_nodes)) != tests.shape[0]:
        raise ValueError(f"test.index does not number the {tests.shape[0]} rows of tx from {known.shape[0]} on")
    labels = np.zeros(num_nodes, np.int64)
    labels[: len(classes)], labels[test_nodes] = classes.argmax(axis=1), test_classes.argmax(axis=1)
    graph = _load(folder, name, "graph")
    sources = np.repeat(np.array(list(graph)), [len(targets) for targets in graph.values()])
    targets = np.array([target for targets in graph.values() for target in targets])
    features, masks = _stack(known, tests, test_nodes, num_nodes), _masks(len(trained), test_nodes, num_nodes)
    return RawGraph(features, np.stack([sources, targets]), labels, masks)


def _load(folder: Path, name: str, part: str) -> Any:
    with (folder / f"ind.{name}.{part}").open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()


def _features(folder: Path, name: str, part: str) -> Matrix:
    parts = _load(folder, name, part)
    return checked_csr(parts.data, parts.indices, parts.indptr, np.array(parts._shape), part).tocoo()


def _stack(known: Matrix, tests: Matrix, test_nodes: np.ndarray, num_nodes: int) -> Matrix:
    values, columns = (np.concatenate([getattr(known, part), getattr(tests, part)]) for part in ("data", "col"))
    rows = np.concatenate([known.row, test_nodes[tests.row]])
    return sp.csr_matrix((values, (rows, columns)), shape=(num_nodes, max(known.shape[1], tests.shape[1])))


def _masks(num_train: int, test_nodes: np.ndarray, num_nodes: int) -> dict[str, np.ndarray]:
    nodes = np.arange(num_nodes)
    train, known = nodes < num_train, nodes < num_train + _NUM_VAL
    return {"train_mask": train, "val_mask": known & ~train, "test_mask": np.isin(nodes, test_nodes)}
