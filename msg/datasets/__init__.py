"""Graphs to train on: loading, splits, negatives, and the dataset root on disk."""

from msg.datasets.cards import Card, DatasetError, available, get_card
from msg.datasets.formats import content_hash
from msg.datasets.importing import Verification, import_folder, verify
from msg.datasets.links import LinkSplit, link_split, pair_codes, sample_negatives
from msg.datasets.load import load_graph
from msg.datasets.selection import top_features
from msg.datasets.splits import apply_split

__all__ = [
    "Card",
    "DatasetError",
    "LinkSplit",
    "Verification",
    "apply_split",
    "available",
    "content_hash",
    "get_card",
    "import_folder",
    "link_split",
    "load_graph",
    "pair_codes",
    "sample_negatives",
    "top_features",
    "verify",
]
