"""Graphs on disk that need not fit memory: converted once, opened in a second, read where they are needed.

A graph of the Open Graph Benchmark is stored beside its raw files, in the folder ``stored``, as arrays of NumPy that
are mapped into memory: ``pointers [N + 1]`` and ``columns [E]``, the neighbours of each node (undirected, sorted,
without duplicates and self-loops), ``x [N, F]``, ``y [N]`` and the masks; and ``about.json`` with the raw files they
were made from and the content hash.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from msg.datasets.archives import MAX_BYTES
from msg.datasets.arguments import MASKS
from msg.datasets.canonical import hash_of_parts
from msg.datasets.cards import Card, get_card
from msg.datasets.errors import DatasetError, file_errors, reason
from msg.datasets.load import DEFAULT_ROOT
from msg.datasets.open_graph_benchmark import OGBFiles
from msg.datasets.store import STORED, check_counts, fetch, refuse_links, staging

VERSION = 1
_ABOUT = "about.json"
_BUCKET = 20_000_000
"""Directed edges that are sorted in memory at once."""
_ROWS = 65_536


class StoredGraph(NamedTuple):
    """A graph whose arrays are mapped from disk.

    Attributes:
        pointers: where the neighbours of each node begin, and the last ones end, int64 ``[N + 1]``.
        columns: the neighbours, node by node, ascending, int32 ``[E]`` (int64 for more than 2^31 nodes).
        nodes: features ``x [N, F]``, labels ``y [N]`` (-1 where there is none), ``train_mask``, ``val_mask``,
            ``test_mask``, ``num_classes``, ``name``, ``content_hash``. Its ``edge_index`` is empty, and loaders give
            each batch its own: ``NodeLoader(graph.nodes, msg.graph.NeighborSampler(graph, [15, 10]), ...)``.
    """

    pointers: Tensor
    columns: Tensor
    nodes: Data

    @property
    def num_nodes(self) -> int:
        """``N``."""
        return self.pointers.numel() - 1

    @property
    def num_edges(self) -> int:
        """``E``, each direction counted."""
        return self.columns.numel()

    @property
    def edge_index(self) -> Tensor:
        """Edges as PyG has them, int64 ``[2, E]`` in memory: 16 bytes each."""
        source = torch.repeat_interleave(torch.arange(self.num_nodes), self.pointers.diff())
        return torch.stack([source, self.columns.long()])


@file_errors()
def open_graph(
    name: str, root: str | Path | None = None, check: bool = True, max_bytes: int = MAX_BYTES
) -> StoredGraph:
    r"""Open a graph of the Open Graph Benchmark where it is stored; the first time it is downloaded and converted.

    Converting reads the raw files part by part and needs, beside them, twice the disk of the stored edges; memory for
    some ten numbers a node and :math:`2\cdot10^7` edges.

    Args:
        name: such as ``"ogbn-products"`` or ``"ogbn-papers100M"``.
        root: the dataset root; ``datasets`` if ``None``.
        check: read the edges once to see that each leads to a node. Without it opening takes no longer for a larger
            graph, but a damaged file can crash what reads it.
        max_bytes: how many bytes each raw file may unpack to (2 GiB, or a hundred times its size where that is more).

    Raises:
        ValueError: if the graph is none of these.
        DatasetError: if files are damaged, or missing and cannot be downloaded, or there is no place to write to.
    """
    card = get_card(name)
    if card.format != "ogb":
        raise ValueError(f"{card.title} is small: use load_graph({card.key!r}); stored are graphs of OGB")
    root = Path(DEFAULT_ROOT if root is None else root).expanduser()
    fetch(card, root)
    folder = root / card.folder
    if not _current(card, folder):
        convert(card, folder, max_bytes)
    return _open(card, folder / STORED, check)


def stored(folder: Path) -> bool:
    """Whether a graph was converted."""
    return (folder / STORED / _ABOUT).is_file()


def verify_stored(card: Card, folder: Path) -> None:
    """Read all of a stored graph and compare it with the hash it was stored with, and with its card.

    Raises:
        DatasetError: if it was made from other raw files, or is damaged, or another graph.
    """
    place = folder / STORED
    if not _current(card, folder):
        raise DatasetError(f"{place} was made from other raw files than are there; {_MEND}")
    graph = _open(card, place, check=True)
    if _hash(graph) != graph.nodes.content_hash:
        raise DatasetError(f"{place} is damaged or altered (content hash); {_MEND}")


_MEND = "delete it, and it is made anew from the raw files when the graph is opened"


def _raw(card: Card, folder: Path) -> dict[str, list[int]]:
    """Sizes and times of the raw files, by which a conversion knows them again: hashing them takes minutes."""
    stats = {name: (folder / name).stat() for name in card.files}
    return {name: [stat.st_size, int(stat.st_mtime)] for name, stat in stats.items()}


def _current(card: Card, folder: Path) -> bool:
    if not stored(folder):
        return False
    about = _about(folder / STORED)
    return about.get("version") == VERSION and about.get("raw") == _raw(card, folder)


def _about(place: Path) -> dict[str, Any]:
    try:
        about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{place / _ABOUT} is damaged ({reason(error)}); {_MEND}") from error
    if not isinstance(about, dict):
        raise DatasetError(f"{place / _ABOUT} is damaged; {_MEND}")
    return about


def convert(card: Card, folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Store a graph beside its raw files, all of it or nothing.

    Args:
        card: the graph's card.
        folder: of its raw files.
        max_bytes: see :func:`open_graph`.

    Raises:
        DatasetError: as :class:`~msg.datasets.open_graph_benchmark.OGBFiles`, and if nothing can be written there.
    """
    refuse_links(card, folder.parent)
    files = OGBFiles(card, folder, max_bytes)
    with file_errors(folder), staging(folder) as temporary:
        place = temporary / STORED
        place.mkdir()
        # nodes first: their rows are counted before memory is taken by their number
        _write_nodes(card, files, place, folder)
        _write_edges(files, place, folder)
        graph = _map(card, place, {})
        check_counts(card, graph.nodes, graph.num_edges, folder)
        about = {"version": VERSION, "raw": _raw(card, folder), "content_hash": _hash(graph)}
        if card.content_hash and about["content_hash"] != card.content_hash:
            raise DatasetError(f"{folder} is not {card.title} as on its card: the content hash differs")
        (place / _ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
        shutil.rmtree(folder / STORED, ignore_errors=True)
        os.replace(place, folder / STORED)


def _write_edges(files: OGBFiles, place: Path, shown: Path) -> None:
    """Both directions of every edge, sorted: by parts of the nodes whose edges fit memory, then within each."""
    nodes = files.num_nodes
    parts = max(1, -(-2 * files.num_edges // _BUCKET))
    width = max(1, -(-nodes // parts))
    buckets = [place / f"bucket-{part}" for part in range(-(-nodes // width))]
    handles = [path.open("wb") for path in buckets]
    try:
        for chunk in files.edges():
            if chunk.size and (chunk.min() < 0 or chunk.max() >= nodes):
                raise DatasetError(f"{shown} has edges to nodes outside 0..{nodes - 1}; mend or replace it")
            chunk = chunk[:, chunk[0] != chunk[1]]
            for source, target in (chunk, chunk[::-1]):
                codes, where = source * nodes + target, source // width
                order = np.argsort(where, kind="stable")
                ends = np.searchsorted(where[order], np.arange(len(buckets) + 1))
                for handle, start, stop in zip(handles, ends, ends[1:]):
                    handle.write(codes[order[start:stop]].data)
    finally:
        for handle in handles:
            handle.close()
    degrees = np.zeros(nodes, np.int64)
    with _Writer(place / "columns.npy", np.int32 if nodes < 2**31 else np.int64) as columns:
        for part, path in enumerate(buckets):
            codes = np.fromfile(path, np.int64)
            path.unlink()
            codes.sort()  # np.unique hashes, which takes three times as long
            codes = codes[np.diff(codes, prepend=-1) != 0]
            rows, first = codes // nodes, part * width
            here = degrees[first : first + width]
            here[:] = np.bincount(rows - first, minlength=len(here))
            columns.write(codes - rows * nodes)
    pointers = np.zeros(nodes + 1, np.int64)
    np.cumsum(degrees, out=pointers[1:])
    np.save(place / "pointers.npy", pointers)


def _write_nodes(card: Card, files: OGBFiles, place: Path, shown: Path) -> None:
    seen = 0
    with _Writer(place / "x.npy", np.float32) as writer:
        for rows in files.features():
            if not np.isfinite(rows).all():
                raise DatasetError(f"{shown} has features that are not finite numbers; mend or replace it")
            seen += len(rows)
            writer.write(rows)
    labels = files.labels()
    if seen != files.num_nodes or len(labels) != seen:  # before memory is taken by the number that is told
        raise DatasetError(
            f"{shown} has {seen:,} rows of features and {len(labels):,} labels for {files.num_nodes:,} nodes"
        )
    masks = files.masks()
    known = labels[np.any(list(masks.values()), axis=0)]
    if labels.min() < -1 or (card.classes and labels.max() >= card.classes) or (known < 0).any():
        raise DatasetError(f"{shown} has labels that are no class, or none for a node of the split; mend or replace it")
    if sum(int(mask.sum()) for mask in masks.values()) != len(known):
        raise DatasetError(f"{shown} has nodes in two parts of its split; mend or replace it")
    np.save(place / "y.npy", labels)
    for name, mask in masks.items():
        np.save(place / f"{name}.npy", mask)


class _Writer:
    """An array of NumPy's that is written part by part, its first dimension known at the end."""

    HEADER = 128

    def __init__(self, path: Path, dtype: Any):
        self._path, self._dtype, self._rows, self._tail = path, np.dtype(dtype), 0, ()

    def __enter__(self) -> "_Writer":
        self._file = self._path.open("wb")
        self._file.write(bytes(self.HEADER))
        return self

    def write(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self._rows, self._tail = self._rows + len(rows), rows.shape[1:]

    def __exit__(self, *error: object) -> None:
        shape = (self._rows, *self._tail)
        text = f"{{'descr': {np.lib.format.dtype_to_descr(self._dtype)!r}, 'fortran_order': False, 'shape': {shape}, }}"
        header = np.lib.format.magic(1, 0) + (self.HEADER - 10).to_bytes(2, "little")
        self._file.seek(0)
        self._file.write(header + text.encode().ljust(self.HEADER - 11) + b"\n")
        self._file.close()


def _map(card: Card, place: Path, about: dict[str, Any]) -> StoredGraph:
    def array(name: str, kinds: str, dims: int) -> Tensor:
        path = place / f"{name}.npy"
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise DatasetError(f"{path} is no file; {_MEND}")
        try:
            # mapped for reading and writing in memory alone, since torch knows no read-only tensors
            mapped = np.load(path, mmap_mode="c", allow_pickle=False)
        except OSError:
            raise
        except Exception as error:
            raise DatasetError(f"{path} is damaged ({reason(error)}); {_MEND}") from error
        if not isinstance(mapped, np.ndarray) or mapped.ndim != dims or mapped.dtype.str[1:] not in kinds.split():
            raise DatasetError(f"{path} is no array of {dims} dimensions of {kinds}; {_MEND}")
        return torch.from_numpy(mapped)

    pointers, columns = array("pointers", "i8", 1), array("columns", "i4 i8", 1)
    nodes = Data(x=array("x", "f4", 2), y=array("y", "i8", 1), **{name: array(name, "b1", 1) for name in MASKS})
    nodes.edge_index = torch.empty(2, 0, dtype=torch.long)
    nodes.name, nodes.num_classes = card.key, card.classes or int(nodes["y"].max()) + 1
    nodes.content_hash = about.get("content_hash", "")
    return StoredGraph(pointers, columns, nodes)


def _open(card: Card, place: Path, check: bool) -> StoredGraph:
    graph = _map(card, place, _about(place))
    count = graph.num_nodes
    ends = graph.pointers[[0, -1]].tolist() if count >= 0 else []
    sizes = {len(graph.nodes[name]) for name in ("x", "y", *MASKS)}
    whole = ends == [0, graph.num_edges] and sizes == {count} and bool((graph.pointers.diff() >= 0).all())
    if not whole or (check and graph.num_edges and not _within(graph.columns, count)):
        raise DatasetError(f"{place} holds arrays that do not fit together; {_MEND}")
    check_counts(card, graph.nodes, graph.num_edges, place, _MEND)
    return graph


def _within(columns: Tensor, count: int) -> bool:
    ends = (part.aminmax() for part in columns.split(_BUCKET))
    return all(int(low) >= 0 and int(high) < count for low, high in ends)


def _hash(graph: StoredGraph) -> str:
    """The content hash, as of the same graph in memory, read part by part."""

    def sources() -> Iterator[np.ndarray]:
        for start in range(0, graph.num_nodes, _ROWS):
            part = graph.pointers[start : start + _ROWS + 1].numpy()
            yield np.repeat(np.arange(start, start + len(part) - 1), np.diff(part))

    def targets() -> Iterator[np.ndarray]:
        for part in graph.columns.split(_BUCKET):
            yield part.numpy()

    def edges() -> Iterator[np.ndarray]:
        yield from sources()
        yield from targets()

    return hash_of_parts(edges(), graph.nodes["x"], graph.nodes["y"])
