"""A graph of the size of ogbn-products (or a part of it) converted to the form that is mapped from disk, and opened.

    python benchmarks/bench_stored.py [--scale 0.1] [--folder DIR]

The graph of ``bench_large_graph.py`` is written in the layout of ogbn-papers100M, arrays in a ``.npz``. Printed are the
seconds and the peak memory of the conversion, the seconds of opening it (edges checked, and not), and the sampled edges
a second of batches whose features are read from disk, all in fresh processes.
"""

import argparse
import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_large_graph import CLASSES, EDGES, FEATURES, NODES, TRAINING, draw_edges
from torch_geometric.loader import NodeLoader

from msg.datasets import Card, open_graph
from msg.datasets.cards import add_card
from msg.datasets.store import STORED
from msg.datasets.stored import convert
from msg.graph import NeighborSampler
from msg.training import peak_memory

FILES = ("raw/data.npz", "raw/node-label.npz", *(f"split/{name}.csv.gz" for name in ("train", "valid", "test")))


def card() -> Card:
    return Card("drawn", "a drawn graph", folder="drawn", format="ogb", split="public", files=dict.fromkeys(FILES, ""))


def write(folder: Path, scale: float) -> None:
    """The raw files: each edge listed once, one way."""
    nodes, edges = int(NODES * scale), int(EDGES * scale)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    once = draw_edges(nodes, edges)[:, : edges // 2].numpy()
    counts = {"num_nodes_list": np.array([nodes]), "num_edges_list": np.array([once.shape[1]])}
    features = draw.random((nodes, FEATURES), np.float32)
    np.savez(folder / FILES[0], edge_index=once, node_feat=features, **counts)
    np.savez(folder / FILES[1], node_label=draw.integers(0, CLASSES, (nodes, 1)).astype(np.float32))
    order = draw.permutation(nodes)
    ends = int(nodes * TRAINING), int(nodes * 2 * TRAINING)
    for name, part in zip(FILES[2:], np.split(order, ends)):
        (folder / name).write_bytes(gzip.compress("\n".join(map(str, part.tolist())).encode(), 1))


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def converting(root: Path) -> Callable[[], object]:
    return lambda: print(f"converted in {seconds(lambda: convert(card(), root / 'drawn')):.1f} s", flush=True)


def sampling(root: Path) -> Callable[[], object]:
    add_card(card())

    def work() -> None:
        for check in (True, False):
            took = seconds(lambda check=check: open_graph("drawn", root, check=check))
            print(f"opened in {took:.2f} s, {'edges checked' if check else 'unchecked'}", flush=True)
        graph = open_graph("drawn", root, check=False)
        loader = NodeLoader(
            graph.nodes, NeighborSampler(graph, [15, 10]), graph.nodes.train_mask, batch_size=1024, shuffle=True
        )
        start, drawn = time.perf_counter(), 0
        for number, batch in enumerate(loader, 1):
            drawn += batch.edge_index.size(1)
            if number == 20:
                break
        took = time.perf_counter() - start
        print(f"{drawn / took / 1e6:.1f} million sampled edges a second, their nodes' features read", flush=True)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if not given")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as root:
        folder = Path(root) / "drawn"
        print(f"raw files written in {seconds(lambda: write(folder, args.scale)):.0f} s", flush=True)
        for begin in (converting, sampling):
            peak = peak_memory(begin, Path(root), times=1) or float("nan")
            print(f"peak memory {peak:.0f} MB", flush=True)
        size = sum(path.stat().st_size for path in (folder / STORED).iterdir())
        print(f"{size / 1e9:.2f} GB on disk")


if __name__ == "__main__":
    main()
