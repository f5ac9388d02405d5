"""Graphs to train on: loading, splits, negatives, and the dataset root on disk."""

from msg.datasets.canonical import content_hash
from msg.datasets.cards import Card, available, get_card
from msg.datasets.dynamic import pulses
from msg.datasets.errors import DatasetError
from msg.datasets.graph_sets import RawGraphs
from msg.datasets.importing import Verification, import_folder, verify
from msg.datasets.links import LinkSplit, link_split, pair_codes, ranking_negatives, sample_negatives
from msg.datasets.load import load_graph, load_graphs
from msg.datasets.raw_graph import RawGraph
from msg.datasets.registration import register, remove
from msg.datasets.selection import normalize_features, top_features
from msg.datasets.snapshots import load_snapshots
from msg.datasets.splits import apply_split
from msg.datasets.stored import StoredGraph, open_graph

__all__ = [
    "Card",
    "DatasetError",
    "LinkSplit",
    "RawGraph",
    "RawGraphs",
    "StoredGraph",
    "Verification",
    "apply_split",
    "available",
    "content_hash",
    "get_card",
    "import_folder",
    "link_split",
    "load_graph",
    "load_graphs",
    "load_snapshots",
    "normalize_features",
    "open_graph",
    "pair_codes",
    "pulses",
    "ranking_negatives",
    "register",
    "remove",
    "sample_negatives",
    "top_features",
    "verify",
]
