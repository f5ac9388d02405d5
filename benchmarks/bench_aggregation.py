"""Time of one aggregation: our cached CSR, PyG's EdgeIndex, and PyG's message passing.

    python benchmarks/bench_aggregation.py --root DIR

One product of width 32 with the GCN-normalised adjacency, one of width 256, and one of 15 steps of width 32 folded into
columns; median of 60, taken in turns, in random order, after a warm-up. Forward only.
"""

import argparse
import random
import statistics
import time

import torch
from torch_geometric import EdgeIndex
from torch_geometric.nn import SimpleConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from msg.datasets import load_graph
from msg.nn import SparseMatrix
from msg.process import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dataset", default="photo")
    args = parser.parse_args()
    keep_freed_memory()

    data = load_graph(args.dataset, root=args.root, features="dense")
    nodes = data.num_nodes
    (source, target), weight = gcn_norm(data.edge_index, None, nodes)
    ours = SparseMatrix(target, source, weight, (nodes, nodes))
    order = torch.argsort(target, stable=True)
    index = EdgeIndex(torch.stack([target, source])[:, order], sparse_size=(nodes, nodes), sort_order="row")
    index.fill_cache_()
    ordered = weight[order]
    conv, edges = SimpleConv(aggr="sum"), torch.stack([source, target])
    for steps, width in ((1, 32), (1, 256), (15, 32)):
        x = (torch.rand(nodes, width * steps) > 0.7).float()
        ways = {
            "SparseMatrix": lambda x=x, shape=(nodes, steps, width): ours.matmul(x.view(shape)).flatten(1),
            "EdgeIndex": lambda x=x: index.matmul(x, ordered),
            "message passing": lambda x=x: conv(x, edges, weight),
        }
        assert torch.allclose(ways["SparseMatrix"](), ways["EdgeIndex"](), atol=1e-4)
        assert torch.allclose(ways["SparseMatrix"](), ways["message passing"](), atol=1e-4)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(65):
            names = list(ways)
            random.shuffle(names)  # who comes second finds the operand in the cache
            for name in names:
                start = time.perf_counter()
                ways[name]()
                if turn >= 5:
                    times[name].append(time.perf_counter() - start)
        for name, values in times.items():
            milliseconds = 1e3 * statistics.median(values)
            print(f"{args.dataset}, {steps:2} steps of width {width:3}, {name:16} {milliseconds:8.2f} ms")


if __name__ == "__main__":
    main()
