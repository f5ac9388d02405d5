"""Node-prediction graphs of the Open Graph Benchmark (Hu et al. 2020), read from the raw files of their archives.

Most are tables of text; ogbn-papers100M is arrays. Both are read part by part, so that a graph larger than memory can
be stored anew (:mod:`msg.datasets.stored`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msg.datasets.archives import MAX_BYTES, open_gzip, open_npz
from msg.datasets.cards import Card
from msg.datasets.errors import MEND, DatasetError, reason
from msg.datasets.raw_graph import RawGraph, validate

_PARTS = {"train_mask": "train.csv.gz", "val_mask": "valid.csv.gz", "test_mask": "test.csv.gz"}
_ARRAYS, _LABELS = "data.npz", "node-label.npz"
_ROWS = 1_000_000


def in_memory(card: Card) -> bool:
    """Whether a graph of any format is one that is read into memory: not if its raw files are arrays of OGB's."""
    return not any(Path(name).name == _ARRAYS for name in card.files)


def refuse_stored(card: Card) -> None:
    """Refuse a graph that is not read into memory.

    Raises:
        DatasetError: saying how it is opened.
    """
    if not in_memory(card):
        raise DatasetError(f"{card.title} is not read into memory: open it with msg.datasets.open_graph({card.key!r})")


class OGBFiles:
    """The raw files of one graph, part by part.

    Nothing else in the folder is opened, in particular not what other programs keep in ``processed``.

    Args:
        card: The graph's card.
        folder: The unpacked archive, with the name OGB gives it, such as ``ogbn_arxiv``.
        max_bytes: How many bytes each file may unpack to, see :data:`~msg.datasets.archives.MAX_BYTES`.

    Attributes:
        num_nodes: The number of nodes that the files tell.
        num_edges: The number of edges that they tell, as listed.

    Raises:
        DatasetError: If the files are of another release than the card's, cannot be read, do not fit together, or hold
            another number of edges than the card says. So do the methods.
    """

    def __init__(self, card: Card, folder: Path, max_bytes: int = MAX_BYTES):
        self._folder, self._max_bytes = folder, max_bytes
        self._paths = {Path(name).name: folder / name for name in card.files}
        for name, path in self._paths.items():
            if name.startswith("RELEASE") and not path.is_file():
                raise DatasetError(f"{path} is missing: {folder} is of another release, move it away and load again")
        self.num_nodes, self.num_edges = self._sizes()
        if card.raw_edges not in (None, self.num_edges):
            raise DatasetError(
                f"{self._edges} lists {self.num_edges:,} edges, {card.title} has {card.raw_edges:,}; {MEND}"
            )

    @property
    def binary(self) -> bool:
        """Whether the graph is arrays."""
        return _ARRAYS in self._paths

    @property
    def _edges(self) -> Path:
        return self._paths[_ARRAYS if self.binary else "edge.csv.gz"]

    def _sizes(self) -> tuple[int, int]:
        if self.binary:
            counts = [self._array(name) for name in ("num_nodes_list", "num_edges_list")]
        else:
            counts = [self._table(f"num-{what}-list.csv.gz", np.int64, 1) for what in ("node", "edge")]
        if any(count.size != 1 or count.dtype.kind not in "iu" for count in counts):
            raise DatasetError(f"{self._edges} does not tell one number of nodes and one of edges; {MEND}")
        nodes, edges = (int(count.item()) for count in counts)
        return nodes, edges

    def edges(self) -> Iterator[np.ndarray]:
        """Edges as int64 ``[2, some]``, as they are listed."""
        if not self.binary:
            yield from (part.T for part in self._parts("edge.csv.gz", np.int64, self.num_edges, 2))
            return
        seen, path = 0, self._paths[_ARRAYS]
        with self._damage_named(_ARRAYS), self._open(_ARRAYS) as arrays:
            halves = (arrays.stream("edge_index", _ROWS, start) for start in (0, 1))
            for source, target in zip(*halves):
                if source.dtype.kind not in "iu":
                    raise DatasetError(f"{path} has edges that are no whole numbers; {MEND}")
                seen += len(source)
                yield np.stack([source, target]).astype(np.int64)
        if seen != self.num_edges:
            raise DatasetError(f"{path} lists {seen:,} edges, not {self.num_edges:,} as it says; {MEND}")

    def features(self) -> Iterator[np.ndarray]:
        """Rows of features, float32."""
        if not self.binary:
            yield from self._parts("node-feat.csv.gz", np.float32, self.num_nodes, None)
            return
        with self._damage_named(_ARRAYS), self._open(_ARRAYS) as arrays:
            yield from (part.astype(np.float32) for part in arrays.stream("node_feat", _ROWS))

    def labels(self) -> np.ndarray:
        """Classes, int64 ``[N]``; -1 where there is none."""
        if not self.binary:
            return self._table("node-label.csv.gz", np.int64, self.num_nodes)[:, 0]
        given = self._array("node_label", _LABELS).reshape(-1)
        known = given[~np.isnan(given)] if given.dtype.kind in "iuf" else np.array([np.inf])
        if not np.isfinite(known).all() or (known != np.floor(known)).any():
            raise DatasetError(f"{self._paths[_LABELS]} has labels that are no whole numbers; {MEND}")
        return np.where(np.isnan(given), -1, given).astype(np.int64)

    def masks(self) -> dict[str, np.ndarray]:
        """The given split."""
        return {mask: self._mask(name) for mask, name in _PARTS.items()}

    def _mask(self, name: str) -> np.ndarray:
        nodes = self._table(name, np.int64)[:, 0]
        if nodes.min() < 0 or nodes.max() >= self.num_nodes:
            raise DatasetError(f"{self._paths[name]} lists nodes outside 0..{self.num_nodes - 1}; {MEND}")
        mask = np.zeros(self.num_nodes, dtype=bool)
        mask[nodes] = True
        return mask

    def _open(self, name: str) -> Any:
        return open_npz(self._paths[name], self._max_bytes)

    def _array(self, array: str, name: str = _ARRAYS) -> np.ndarray:
        with self._damage_named(name), self._open(name) as arrays:
            return arrays[array]

    @contextmanager
    def _damage_named(self, name: str) -> Iterator[None]:
        """Say of what a damaged archive raises, which may be anything, which file it is."""
        try:
            yield
        except DatasetError:
            raise
        except Exception as error:
            raise DatasetError(f"{self._paths[name]} cannot be read ({reason(error)}); {MEND}") from error

    def _table(self, name: str, dtype: type, rows: int | None = None, columns: int | None = 1) -> np.ndarray:
        return np.concatenate(list(self._parts(name, dtype, rows, columns)))

    def _parts(self, name: str, dtype: type, rows: int | None, columns: int | None) -> Iterator[np.ndarray]:
        path, seen, shape = self._paths[name], 0, [0, 0]
        try:
            # a number beyond the type becomes infinite, which is refused with all that is not finite
            with open_gzip(path, self._max_bytes) as file, np.errstate(over="ignore"):
                for part in pd.read_csv(file, header=None, dtype=dtype, chunksize=_ROWS):
                    seen += len(part)
                    shape = [seen, part.shape[1]]
                    if columns in (None, part.shape[1]) and (rows is None or seen <= rows):
                        yield part.to_numpy()
        except DatasetError:
            raise
        except Exception as error:  # pandas, gzip and zlib each raise their own
            raise DatasetError(f"{path} cannot be read ({reason(error)}); {MEND}") from error
        if rows not in (None, shape[0]) or columns not in (None, shape[1]):
            wanted = f"[{'any' if rows is None else rows}, {'any' if columns is None else columns}]"
            raise DatasetError(f"{path} has a table of shape {shape} instead of {wanted}; {MEND}")


def read_ogb(card: Card, folder: Path, max_bytes: int = MAX_BYTES) -> RawGraph:
    """Read an OGB node-prediction graph from the raw files that its archive holds.

    Args:
        card: The graph's card.
        folder: See :class:`OGBFiles`.
        max_bytes: See :class:`OGBFiles`.

    Raises:
        DatasetError: As :class:`OGBFiles`; and if the graph is one of arrays, which is made to be stored anew.
    """
    refuse_stored(card)
    files = OGBFiles(card, folder, max_bytes)
    edges = np.concatenate(list(files.edges()), axis=1)
    features = np.concatenate(list(files.features()))
    return validate(RawGraph(features, edges, files.labels(), files.masks()), folder)
