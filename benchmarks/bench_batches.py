"""Training by neighbour sampling on a graph the size of ogbn-products: seconds an update, and memory.

    python benchmarks/bench_batches.py [--scale 0.1] [--updates 20] [--fan-out 15,10,5] [--manifold H32]

The graph is drawn as in ``bench_large_graph.py`` and sorted by target, so that the sampler need not sort it; edges are
let go when the sampler has its own. Each batch is trained with trimmed layers; ``--untrimmed`` runs all layers on all
nodes. It prints the median of the updates with quartiles, sampling apart, and the largest memory of this process.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from bench_large_graph import CLASSES, EDGES, FEATURES, NODES, draw_edges, resident
from torch_geometric.data import Data
from torch_geometric.sampler import NodeSamplerInput

from msg.graph import NeighborSampler
from msg.kernels import status
from msg.nn import MSG


def draw_sampler(nodes: int, edges: int, fan_out: list[int]) -> NeighborSampler:
    edge_index = draw_edges(nodes, edges)
    key = edge_index[1].numpy() * nodes
    key += edge_index[0].numpy()
    key.sort()
    step = 10_000_000
    for start in range(0, len(key), step):
        part = torch.from_numpy(key[start : start + step])
        edge_index[0, start : start + step], edge_index[1, start : start + step] = part % nodes, part // nodes
    del key
    return NeighborSampler(Data(edge_index=edge_index, num_nodes=nodes), fan_out, seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--timesteps", type=int, default=15)
    parser.add_argument("--fan-out", default="15,10,5")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--untrimmed", action="store_true")
    args = parser.parse_args()

    nodes, edges = int(NODES * args.scale), int(EDGES * args.scale)
    fan_out = [int(number) for number in args.fan_out.split(",")]
    sampler = draw_sampler(nodes, edges, fan_out)
    print(f"{nodes:,} nodes, {edges:,} edges; kernels: {status()}; {resident():.2f} GB at most so far", flush=True)
    torch.manual_seed(0)
    x, y = torch.rand(nodes, FEATURES), torch.randint(0, CLASSES, (nodes,))
    model = MSG(FEATURES, CLASSES, args.manifold, len(fan_out), args.timesteps)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seconds = []
    for _ in range(2 + args.updates):
        seeds, start = torch.randint(nodes, (args.batch_size,)), time.perf_counter()
        out = sampler.sample_from_nodes(NodeSamplerInput(None, seeds))
        edge_index, sampled = torch.stack([out.row, out.col]), time.perf_counter()
        hops = () if args.untrimmed else (None, len(seeds), out.num_sampled_nodes, out.num_sampled_edges)
        optimizer.zero_grad()
        F.cross_entropy(model(x[out.node], edge_index, *hops)[: len(seeds)], y[seeds]).backward()
        optimizer.step()
        seconds.append((sampled - start, time.perf_counter() - sampled))
    for name, values in zip(("sampling", "update"), np.array(seconds[2:]).T):
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        print(f"{name:9} {middle:6.3f} ({low:.3f}-{high:.3f}) s")
    print(f"{len(out.node):,} nodes, {edge_index.size(1):,} edges in the last batch; {resident():.2f} GB at most")


if __name__ == "__main__":
    main()
