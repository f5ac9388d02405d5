"""Dynamic graphs in the folders of SpikeNet's data sets: edges with times, labels, and features for every step."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from msg.datasets.errors import DatasetError, file_errors, reason
from msg.sizes import check_sizes

_SPARSE_IDS = 10
"""A list of edges may leave out so many numbers of nodes for each one that it uses."""


def load_snapshots(folder: Path | str, merge: int = 1, normalize: bool = True, name: str | None = None) -> list[Data]:
    """Read a dynamic graph: one snapshot for every time that occurs among its edges, in the order of times.

    Either of two layouts, where ``NAME`` is that of the folder:

    - as DBLP and Tmall: ``NAME.txt``, lines ``source target time``; ``node2label.txt``, lines ``node label``;
    - as Patent: ``NAME_edges.json``, lines ``[source, target, yyyymmdd, ...]``, of which the year counts;
      ``NAME_nodes.json``, lines ``[node, ..., class]`` with nodes 0, 1, 2, ... and classes from 1;

    and in both ``NAME.npy``, features ``[T, N, F]`` or ``[N, F]`` for all steps; without it, snapshots have none. Text
    is read as numbers, JSON as JSON, and the array without pickles.

    Nodes that have a label come first, in the order of their file, then the others by their number: so the authors'
    code numbers them, and with them the rows of its features. Where all have one, in order, nothing changes.

    Source: `Li et al. 2023, Scaling Up Dynamic Graph Representation Learning via Spiking Neural Networks
    <https://arxiv.org/abs/2208.10364>`_, whose released code merges the 186 steps of Tmall by 10 and the 25 of Patent
    by 2. It orders the times of DBLP and Tmall as text, here they are numbers.

    Args:
        folder: Where the files are.
        merge: How many times in a row become one snapshot.
        normalize: Whether features of each step get mean 0 and variance 1, over all nodes and channels, as there.
        name: Of the files, if it is not the folder's.

    Returns:
        One :class:`torch_geometric.data.Data` a step: ``x`` ``[N, F]``; ``edge_index`` ``[2, E]``, the *new* edges,
        undirected, each once; ``y`` ``[N]``, -1 without a label; ``n_id`` ``[N]``, the nodes' numbers in the files.

    Raises:
        ValueError: If ``merge`` is below 1.
        DatasetError: If files are missing or damaged, or do not fit together.
    """
    check_sizes(merge=merge)
    folder = Path(folder)
    name = folder.resolve().name if name is None else name
    read, files = _text, (f"{name}.txt", "node2label.txt")
    if (folder / f"{name}_edges.json").exists():
        read, files = _patent, (f"{name}_edges.json", f"{name}_nodes.json")
    for file in files:
        if not (folder / file).is_file():
            raise DatasetError(f"{folder} has no file {file}: give the folder of a dynamic graph, and its name")
    edges, times, nodes, labels = read(folder, name)
    n_id, edges = _renumber(folder, edges, nodes)
    y = torch.full((len(n_id),), -1)
    y[: len(nodes)] = torch.from_numpy(np.unique(_in_order(labels), return_inverse=True)[1].astype(np.int64))
    steps = np.unique(times, return_inverse=True)[1] // merge
    number = int(steps.max()) + 1
    x = _features(folder / f"{name}.npy", number, len(n_id), normalize)
    ids = torch.from_numpy(n_id)
    snapshots = []
    order = np.argsort(steps, kind="stable")
    parts = np.split(edges[:, order], np.searchsorted(steps[order], np.arange(1, number)), axis=1)
    for step, part in enumerate(parts):
        new = to_undirected(torch.from_numpy(part), num_nodes=len(n_id))
        snapshots.append(Data(x=None if x is None else x[step], edge_index=new, y=y, n_id=ids, num_nodes=len(n_id)))
    return snapshots


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Labels as they are sorted: numbers where all are written as such, so that 10 comes after 2."""
    numbers = all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", str(label)) for label in labels)
    return labels.astype(np.int64) if numbers else labels


def _table(path: Path, kinds: Sequence[Any], what: str) -> list[np.ndarray]:
    """Columns of a text file."""
    try:
        with file_errors(path):
            frame = pd.read_csv(
                path, sep=r"\s+", header=None, dtype=dict(enumerate(kinds)), na_filter=False, quoting=csv.QUOTE_NONE
            )
    except DatasetError:
        raise
    except Exception as error:  # pandas has its own, and Python's, for what is no number or no text
        raise DatasetError(f"{path} cannot be read ({reason(error)}): its lines must be '{what}'") from error
    if frame.shape[1] != len(kinds):
        raise DatasetError(f"{path} has {frame.shape[1]} columns: its lines must be '{what}'")
    columns = [frame[column].to_numpy() for column in frame]
    if any((column == "").any() for column, kind in zip(columns, kinds) if kind is str):
        raise DatasetError(f"{path} has a line that ends too early: its lines must be '{what}'")
    return columns


def _text(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Edges ``[2, E]``, their times, labelled nodes and their labels."""
    source, target, time = _table(folder / f"{name}.txt", (np.int64, np.int64, np.float64), "source target time")
    if not np.isfinite(time).all():
        raise DatasetError(f"{folder / name}.txt has times that are not finite numbers: leave those lines out")
    nodes, labels = _table(folder / "node2label.txt", (np.int64, str), "node label")
    return np.stack([source, target]), time, nodes, labels.astype(str)


def _rows(path: Path, columns: tuple[int, ...], what: str) -> np.ndarray:
    """Some columns of a file with a list in each line."""
    rows = []
    with file_errors(path), path.open(encoding="utf-8") as lines:
        try:
            for line in lines:
                row = json.loads(line)
                rows.append([row[column] for column in columns])
            found = np.array(rows)
            if found.ndim != 2 or found.dtype.kind not in "iu":
                raise ValueError("not whole numbers")
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            where = f"line {len(rows) + 1}: {reason(error)}"
            raise DatasetError(f"{path} cannot be read ({where}): its lines must be '{what}'") from error
    return found.astype(np.int64)


def _patent(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    edges = _rows(folder / f"{name}_edges.json", (0, 1, 2), "[source, target, yyyymmdd, ...]")
    nodes = _rows(folder / f"{name}_nodes.json", (0, -1), "[node, ..., class]")
    if not np.array_equal(nodes[:, 0], np.arange(len(nodes))):
        raise DatasetError(f"{folder / name}_nodes.json must have the nodes 0, 1, 2, ... in this order")
    return edges[:, :2].T, edges[:, 2] // 10_000, nodes[:, 0], nodes[:, 1]


def _renumber(folder: Path, edges: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the nodes in the files, labelled ones first; edges between their places in this list."""
    if not edges.size or not len(nodes):
        raise DatasetError(f"{folder} has no edges or no labels: a dynamic graph needs both")
    if min(edges.min(), nodes.min()) < 0:
        raise DatasetError(f"{folder} has negative numbers of nodes: number them 0, 1, 2, ...")
    if len(np.unique(nodes)) < len(nodes):
        raise DatasetError(f"{folder} has a node with two labels: leave one of its lines out")
    largest, used = int(max(edges.max(), nodes.max())), len(np.union1d(edges, nodes))
    if largest >= _SPARSE_IDS * used:
        raise DatasetError(f"{folder} has a node {largest}, but only {used} of them: number them 0, 1, 2, ...")
    others = np.ones(largest + 1, dtype=bool)
    others[nodes] = False
    n_id = np.concatenate([nodes, others.nonzero()[0]])
    place = np.empty(largest + 1, dtype=np.int64)
    place[n_id] = np.arange(largest + 1)
    return n_id, place[edges]


def _features(path: Path, steps: int, num_nodes: int, normalize: bool) -> torch.Tensor | None:
    """``[T, N, F]``; ``None`` if there is no file."""
    if not path.exists():
        return None
    if not path.is_file():
        raise DatasetError(f"{path} is a folder or device, not a file: move it away")
    try:
        with file_errors(path):
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            kind, shape = found.dtype.kind, found.shape
    except DatasetError:
        raise
    except Exception as error:  # NumPy has its own for damaged headers; archives have no dtype
        raise DatasetError(f"{path} is no array of numbers ({reason(error)}): save it by numpy.save") from error
    if kind not in "iuf" or found.ndim not in (2, 3):
        raise DatasetError(f"{path} has shape {list(shape)} and type {found.dtype}, not numbers [T, N, F] or [N, F]")
    if shape[-2] != num_nodes:
        raise DatasetError(f"{path} has features of {shape[-2]} nodes, but the graph has {num_nodes}")
    if found.ndim == 3 and shape[0] != steps:
        raise DatasetError(f"{path} has features of {shape[0]} steps, edges have {steps}: merge joins them")
    x = torch.from_numpy(np.array(found, dtype=np.float32))
    if not bool(x.isfinite().all()):
        raise DatasetError(f"{path} has features that are not finite numbers of float32")
    x = x if x.dim() == 3 else x[None]
    if normalize and x.numel():
        for step in x:
            step -= step.double().mean().float()
            spread = step.double().square().mean().sqrt().float()
            step /= spread if spread > 0 else 1
    return x.expand(steps, -1, -1)
