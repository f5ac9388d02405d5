"""Cards: what is known of each graph, from the one manifest ``datasets/manifest.toml`` or from who registers one."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Card:
    """What is known of one graph, or of one set of graphs, before it is loaded.

    Attributes:
        key: The name given to :func:`~msg.datasets.load_graph`.
        title: The name used in papers.
        folder: The graph's folder under a dataset root, as PyTorch Geometric or OGB names it; empty if generated.
        source: Where the graph comes from.
        licence: The licence its origin states.
        format: ``"generated"``, ``"npz"``, ``"planetoid"``, ``"ogb"`` or ``"tu"``.
        split: The split taken when none is asked for, see :func:`~msg.datasets.apply_split`.
        metric: ``"accuracy"``, or ``"roc_auc"`` for two unbalanced classes.
        nodes: The number of nodes. Numbers are compared with what is loaded, where they are known.
        features: The number of features of a node.
        classes: The number of classes.
        graphs: The number of graphs of a set; ``None`` for a single graph. Nodes and edges are then those of all.
        edges: The number of undirected edges without duplicates and self-loops, where known.
        raw_edges: The number of edges listed in the raw files, given instead of ``edges`` where only that is published.
        content_hash: SHA-256 of the canonical graph, see :func:`~msg.datasets.content_hash`; empty if not known.
        binary_features: Whether positive features become 1, as PyTorch Geometric reads these files.
        download: The PyTorch Geometric class whose ``url`` serves the files, or the address of an archive; empty if
            the files can only be imported.
        files: The raw files relative to ``folder``, each with its SHA-256, or an empty string where not known.
    """

    key: str
    title: str
    source: str = ""
    licence: str = "none stated"
    format: str = "generated"
    split: str = "random:60/20/20"
    metric: str = "accuracy"
    nodes: int | None = None
    features: int | None = None
    classes: int | None = None
    graphs: int | None = None
    folder: str = ""
    edges: int | None = None
    raw_edges: int | None = None
    content_hash: str = ""
    binary_features: bool = False
    download: str = ""
    files: Mapping[str, str] = field(default_factory=dict, hash=False)


_registered: dict[str, Card] = {}


def _normalise(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def manifest_path() -> Path:
    """Return the path of ``manifest.toml``: beside this module in a wheel, in ``datasets/`` in a source checkout."""
    packaged = Path(__file__).with_name("manifest.toml")
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "datasets" / "manifest.toml"


@functools.cache
def _cards() -> tuple[Card, ...]:
    manifest = tomllib.loads(manifest_path().read_text(encoding="utf-8"))
    return tuple(Card(key=key, **fields) for key, fields in manifest.items())


def available() -> list[Card]:
    """Return the cards of all graphs: the manifest's, in its order, then those that were registered."""
    return [*_cards(), *_registered.values()]


def add_card(card: Card) -> None:
    """Make a card known until the process ends, see :func:`~msg.datasets.register`.

    Raises:
        ValueError: If there is a graph of that name already.
    """
    if any(_normalise(known.key) == _normalise(card.key) for known in available()):
        raise ValueError(f"graph {card.key!r} exists already: choose another name, or remove it first")
    _registered[card.key] = card


def remove_card(key: str) -> None:
    """Forget a card that was added.

    Raises:
        ValueError: If there is none of that name.
    """
    if key not in _registered:
        raise ValueError(f"no graph {key!r} was registered: {', '.join(_registered) or 'none was'}")
    del _registered[key]


def get_card(name: str) -> Card:
    """Return the card of a graph.

    Args:
        name: A key such as ``"photo"``; upper and lower case, and ``-`` and ``_``, are the same.

    Raises:
        ValueError: If there is no such graph; the message lists all keys.
    """
    for card in available():
        if _normalise(card.key) == _normalise(name):
            return card
    keys = ", ".join(card.key for card in available())
    raise ValueError(f"unknown graph {name!r}: choose one of {keys}, or give the path of a .npz file")


def find_folder(name: str) -> Card | None:
    """Return the card whose folder or key is ``name``, whatever its case, or ``None``."""
    wanted = _normalise(name)
    return next((card for card in _cards() if card.folder and wanted in map(_normalise, (card.folder, card.key))), None)


def _number(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def markdown_table() -> str:
    """Return the cards as the Markdown table of ``datasets/README.md``.

    To write it anew: ``python -c "from msg.datasets.cards import markdown_table; print(markdown_table())"``.
    """
    from msg.report.tables import render  # pandas, which reading a card does not need

    rows = [
        {
            "key": f"`{card.key}`",
            "graph": card.title,
            "graphs": f"{card.graphs or 1:,}",
            "nodes": _number(card.nodes),
            "edges": _number(card.edges) if card.raw_edges is None else f"{card.raw_edges:,} (as listed)",
            "features": f"{card.features:,}",
            "classes": f"{card.classes}",
            "default split": f"`{card.split}`",
            "metric": card.metric,
            "licence": card.licence,
            "source": card.source,
        }
        for card in _cards()
    ]
    return render(rows, "markdown")
