"""Two doors to all graphs: single ones, and sets."""

import copy
import os
from pathlib import Path
from typing import Any, get_args

from torch_geometric.data import Batch, Data

from msg.datasets.archives import MAX_BYTES
from msg.datasets.arguments import MASKS, seeded
from msg.datasets.canonical import to_data
from msg.datasets.cards import Card, available, get_card
from msg.datasets.errors import file_errors
from msg.datasets.graph_sets import RawGraphs, to_batch, validate_graphs
from msg.datasets.npz import read_npz
from msg.datasets.open_graph_benchmark import refuse_stored
from msg.datasets.raw_graph import validate
from msg.datasets.registration import GENERATORS
from msg.datasets.splits import apply_split
from msg.datasets.store import check_content, obtain
from msg.names import Features
from msg.report.text import one_line

DEFAULT_ROOT = Path("datasets")
"""The dataset root taken when none is given, relative to the working directory."""


def load_graph(
    name: str | Path,
    root: str | Path | None = None,
    split: str | None = None,
    seed: int = 0,
    features: str = "dense",
    max_bytes: int = MAX_BYTES,
    simplify: bool = False,
) -> Data:
    """Load a graph for node classification.

    Files may come from strangers: nothing in them is unpickled unless its checksum is the card's, and only the files
    that the card lists are opened.

    Args:
        name: A key such as ``"photo"`` (:func:`~msg.datasets.available` lists them, and
            :func:`~msg.datasets.register` adds one), or the path of a ``.npz`` file, see
            ``msg.datasets.npz.read_npz``.
        root: The folder of the raw files; missing ones are downloaded into it. ``datasets`` if ``None``.
        split: A split, see :func:`~msg.datasets.apply_split`. If ``None``, the card's; for a file of your own
            ``fixed:0`` where it holds masks, ``random:60/20/20`` where not; where no node has a class, for links and
            predictions, all parts are empty and ``data.split`` is ``"none"``.
        seed: The seed of a random split, from 0 to 4,294,967,295.
        features: ``"dense"``, which PyG's loaders and transforms need; ``"sparse"`` (CSR), which models here read
            faster where most entries are zero; or ``"auto"``: sparse if fewer than 10 % of the entries are non-zero.
        max_bytes: How many bytes a file of your own may unpack to (2 GiB, or a hundred times its size where that is
            more), and sparse features may need when they are made dense.
        simplify: Take a file of your own whose adjacency matrix has weights or directions as an undirected graph
            without weights, which is what ``msg train`` trains on; otherwise such a file is refused.

    Shapes:
        ``x [N, F]`` float32; ``edge_index [2, E]`` int64 with both directions of each edge, sorted, without duplicates
        and self-loops; ``y [N]`` int64; ``train_mask``, ``val_mask``, ``test_mask [N]`` bool. Besides: ``name``,
        ``num_classes``, ``metric`` (``"accuracy"`` or ``"roc_auc"``), ``split`` and ``content_hash``
        (:func:`~msg.datasets.content_hash`).

    Raises:
        ValueError: If the name, the split or ``features`` is unknown, the seed is out of range, or the split leaves a
            part without nodes.
        DatasetError: If files are damaged, or missing and cannot be downloaded, or a file of your own has weights or
            directions of edges and ``simplify`` is off. The message says what to do.
    """
    seeded(seed)  # before a long download
    data, default = read_graph(name, root, features, max_bytes, simplify)
    if split is None and not data.num_classes:
        data.update(dict.fromkeys(MASKS, data["y"] >= 0))
        data.split = "none"
        return data
    return apply_split(data, split or default, seed)


@file_errors()
def read_graph(
    name: str | Path,
    root: str | Path | None = None,
    features: str = "dense",
    max_bytes: int = MAX_BYTES,
    simplify: bool = False,
) -> tuple[Data, str]:
    """A graph that is not split, and the split taken where none is asked for; see :func:`load_graph`."""
    if features not in get_args(Features):  # before a long download
        raise ValueError(f"features must be 'auto', 'dense' or 'sparse', not {features!r}")
    if not isinstance(name, str) or name.endswith(".npz"):
        return _load_own(Path(os.fspath(name)).expanduser(), features, max_bytes, simplify)
    card = get_card(name)
    if card.graphs is not None:
        raise ValueError(
            f"{card.key!r} is a set of {card.graphs:,} graphs: use load_graphs, or --task graph-classification"
        )
    refuse_stored(card)  # before a download of many gigabytes
    return _load_known(card, root, features, max_bytes), card.split


def load_graphs(name: str, root: str | Path | None = None, split: str | None = None, seed: int = 0) -> Batch:
    """Load a set of graphs for graph classification, as PyG's :class:`~torch_geometric.data.Batch`.

    ``batch[i]`` is a graph, ``batch.to_data_list()`` all of them, and
    ``DataLoader(batch.index_select(batch.train_mask), batch_size=32, shuffle=True)`` trains on them.

    Args:
        name: A key such as ``"mutag"``; :func:`~msg.datasets.available` lists them, ``graphs`` is on the cards of sets.
        root: The folder of the raw files; missing ones are downloaded into it. ``datasets`` if ``None``.
        split: A split, see :func:`~msg.datasets.apply_split`, here of graphs. If ``None``, the card's.
        seed: The seed of the split, from 0 to 4,294,967,295.

    Shapes:
        ``x [N, F]`` float32; ``edge_index [2, E]`` int64 with both directions of each edge, without duplicates and
        self-loops; ``batch [N]``, the graph of each node; ``ptr [G + 1]``; ``y [G]`` int64; ``train_mask``,
        ``val_mask``, ``test_mask [G]`` bool. Besides: ``name``, ``num_classes``, ``metric``, ``split`` and
        ``content_hash``.

    Raises:
        ValueError: If the name is unknown or that of a single graph, or the split is unknown or impossible.
        DatasetError: If files are damaged, or missing and cannot be downloaded. The message says what to do.
    """
    seeded(seed)
    batch, default = read_graphs(name, root)
    divided: Any = apply_split(batch, split or default, seed)
    return divided


@file_errors()
def read_graphs(name: str, root: str | Path | None = None) -> tuple[Any, str]:
    """A set of graphs that is not split, and the split taken where none is asked for; see :func:`load_graphs`."""
    if str(name).endswith(".npz"):
        raise ValueError(f"{name} holds one graph, but a set of them is needed: {_sets()}, or one that you register")
    card = get_card(name)
    if card.graphs is None:
        raise ValueError(f"{card.key!r} is a single graph: use load_graph, or one of the sets {_sets()}")
    return _load_known(card, root, "dense", MAX_BYTES), card.split


def _sets() -> str:
    return ", ".join(known.key for known in available() if known.graphs is not None)


def _load_own(path: Path, features: str, max_bytes: int, simplify: bool) -> tuple[Data, str]:
    data = to_data(read_npz(path, max_bytes=max_bytes, simplify=simplify), features, max_bytes)
    data.name, data.metric = one_line(path.stem), "accuracy"
    return data, "fixed:0" if "train_mask" in data else "random:60/20/20"


def _load_known(card: Card, root: str | Path | None, features: str, max_bytes: int) -> Any:
    if card.format == "generated":
        # what a generator keeps is not what a user changes
        place, made = f"graph {card.key!r}", copy.deepcopy(GENERATORS[card.key]())
        if isinstance(made, RawGraphs) != (card.graphs is not None):
            raise ValueError(f"{place} is a set if its card has a number of graphs: mend its card or its generator")
        if isinstance(made, RawGraphs):
            data = to_batch(validate_graphs(made, place), max_bytes)
        else:
            data = to_data(validate(made, place), features, max_bytes)
        check_content(card, data, card.key, "mend its card or its generator")
    else:
        data = obtain(card, Path(DEFAULT_ROOT if root is None else root).expanduser(), features, max_bytes)
    data.name, data.metric = card.key, card.metric
    return data
