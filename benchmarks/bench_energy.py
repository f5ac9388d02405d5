"""Time of a counted forward as a multiple of a plain one.

    python benchmarks/bench_energy.py --root DIR

Evaluation mode, no gradient; median of 15, taken in turns after a warm-up. SpikingGCN keeps what it propagates, so its
plain forward is a single product: its row says what counting adds to that, and to a forward on a new graph.
"""

import argparse
import statistics
import time

import torch
from torch_geometric.nn import GAT, GCN

from msg.datasets import load_graph
from msg.energy import count
from msg.nn import MSG, SpikingGCN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dataset", default="photo")
    args = parser.parse_args()

    data = load_graph(args.dataset, root=args.root, features="dense")
    x, edges, classes = data["x"], data["edge_index"], data.num_classes
    models = {
        "GCN": GCN(x.size(1), 32, 2, classes, cached=True),
        "GAT": GAT(x.size(1), 32, 2, classes, heads=4),
        "MSG, 2 convolutions": MSG(x.size(1), classes, "H32", num_layers=2),
        "MSG, 3 convolutions": MSG(x.size(1), classes, "H32", num_layers=3),
        "SpikingGCN": SpikingGCN(x.size(1), classes),
        "SpikingGCN, new graph": SpikingGCN(x.size(1), classes),
    }
    for name, model in models.items():
        model.eval()
        plain, counted = [], []
        for turn in range(18):
            features = x.clone() if "new" in name else x
            for times, counting in ((plain, False), (counted, True)):
                features = features.clone() if "new" in name else features
                start = time.perf_counter()
                with torch.no_grad():
                    if counting:
                        with count(model):
                            model(features, edges)
                    else:
                        model(features, edges)
                if turn >= 3:
                    times.append(time.perf_counter() - start)
        before, after = statistics.median(plain), statistics.median(counted)
        print(f"{args.dataset}, {name:22} {1e3 * before:8.1f} ms, counted {1e3 * after:8.1f} ms: {after / before:.2f}x")


if __name__ == "__main__":
    main()
