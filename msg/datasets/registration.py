"""Graphs that are made rather than read, by name: the built-in ones, and one's own."""

from collections.abc import Callable

from msg.datasets.cards import Card, add_card, remove_card
from msg.datasets.graph_sets import RawGraphs
from msg.datasets.raw_graph import RawGraph
from msg.registry import Registry

GENERATORS = Registry(
    "generated graph",
    {
        "digits": "msg.datasets.generators:digits",
        "karate": "msg.datasets.generators:karate",
        "disease": "msg.datasets.generators:disease",
        "tree": "msg.datasets.generators:tree",
        "noise-tree": "msg.datasets.generators:noise_tree",
        "blocks": "msg.datasets.generators:blocks",
        "motifs": "msg.datasets.generators:motifs",
    },
)
"""Functions without arguments that make a :class:`~msg.datasets.RawGraph`, or :class:`~msg.datasets.RawGraphs` where
the card has a number of graphs, by the key of the card."""


def register(card: Card, generator: Callable[[], RawGraph | RawGraphs] | str) -> None:
    """Make a graph of your own known by name, so that :func:`~msg.datasets.load_graph` and every command take it.

    For example::

        def ring() -> RawGraph:
            nodes = np.arange(100)
            return RawGraph(np.eye(100), np.stack([nodes, (nodes + 1) % 100]), nodes % 2)

        register(Card(key="ring", title="A ring of 100 nodes"), ring)
        load_graph("ring")

    Args:
        card: What is known of the graph; numbers and a content hash on it are checked whenever the graph is made.
        generator: A function without arguments that makes it, the same each time, or where it is:
            ``"package.module:function"``.

    Raises:
        ValueError: If the key is taken or not one that can be written in a list of names, or the card is that of a
            graph in files: a file needs no name, give ``load_graph`` its path.
    """
    if card.format != "generated" or card.files or card.key.endswith(".npz"):
        raise ValueError(f"{card.key!r} is no generated graph: give load_graph the path of a .npz instead")
    GENERATORS.register(card.key, generator)
    try:
        add_card(card)
    except ValueError:
        GENERATORS.remove(card.key)
        raise


def remove(key: str) -> None:
    """Forget a graph that was registered.

    Raises:
        ValueError: If none of that name was.
    """
    remove_card(key)
    GENERATORS.remove(key)
