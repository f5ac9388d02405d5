"""Sampled edges a second, beside PyG's sampler where torch-sparse or pyg-lib is installed.

    python benchmarks/bench_sampling.py [--scale 0.1] [--fanouts 15,10 10,10,10] [--threads 1,2] [--kinds plain]

The graph is drawn, as in ``bench_large_graph.py``; a batch is 1024 seeds that are drawn alike. All samplers get the
same batches and take turns, ``--batches`` each; printed are medians over turns with quartiles. torch-sparse samples on
one thread, however many there are. Kinds are ``plain``, ``replace``, ``disjoint`` and ``weighted``, the last with
weights that are drawn alike.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch_geometric.sampler
from bench_large_graph import EDGES, NODES, draw_edges
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.sampler import NodeSamplerInput
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

from msg.graph import NeighborSampler
from msg.kernels import status

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "replace": {"replace": True},
    "disjoint": {"disjoint": True},
    "weighted": {"weight_attr": "weight"},
}


def ours(data: Data, fanouts: list[int], kind: str, kernels: str, threads: int) -> Callable[[Tensor], int]:
    os.environ["MSG_KERNELS"] = kernels
    sampler = NeighborSampler(data, fanouts, seed=0, **KINDS[kind])

    def sample(seeds: Tensor) -> int:
        os.environ["MSG_KERNELS"] = kernels
        torch.set_num_threads(threads)
        return sampler.sample_from_nodes(NodeSamplerInput(None, seeds)).row.numel()

    return sample


def theirs(data: Data, fanouts: list[int], kind: str) -> Callable[[Tensor], int]:
    """PyG's sampler, on pyg-lib where there is one, else on torch-sparse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = torch_geometric.sampler.NeighborSampler(data, fanouts, **KINDS[kind])

    def sample(seeds: Tensor) -> int:
        torch.set_num_threads(1)
        return sampler.sample_from_nodes(NodeSamplerInput(None, seeds)).row.numel()

    return sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--fanouts", nargs="+", default=["15,10", "10,10,10"])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["plain"])
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    nodes, edges = int(NODES * args.scale), int(EDGES * args.scale)
    data = Data(edge_index=draw_edges(nodes, edges), num_nodes=nodes)
    torch.manual_seed(0)
    if "weighted" in args.kinds:
        data.weight = torch.rand(data.num_edges)
    batches = torch.stack([torch.randperm(nodes)[: args.batch_size] for _ in range(args.batches)])
    print(f"{nodes:,} nodes, {edges:,} edges, {args.batch_size} seeds a batch; kernels: {status()}")
    backends = ["numba", "torch"] if status().backend == "numba" else ["torch"]
    threads, other = [int(n) for n in args.threads.split(",")], "pyg-lib" if WITH_PYG_LIB else "torch-sparse"
    for kind in args.kinds:
        for words in args.fanouts:
            fanouts = [int(k) for k in words.split(",")]
            samplers = {
                f"{kernels}, {n} thread{'s' * (n > 1)}": ours(data, fanouts, kind, kernels, n)
                for kernels in backends
                for n in threads
            }
            # torch-sparse has neither of these
            if WITH_PYG_LIB or (WITH_TORCH_SPARSE and kind not in ("disjoint", "weighted")):
                samplers[other] = theirs(data, fanouts, kind)
            speeds: dict[str, list[float]] = {name: [] for name in samplers}
            for turn in range(1 + args.rounds):
                for name, sample in samplers.items():
                    start = time.perf_counter()
                    drawn = sum(sample(seeds) for seeds in batches)
                    if turn:
                        speeds[name].append(drawn / (time.perf_counter() - start) / 1e6)
            print(
                f"{kind}, fan-outs {words}, million sampled edges a second; {drawn / len(batches):,.0f} edges a batch"
            )
            for name, values in speeds.items():
                low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
                print(f"  {name:18} {middle:6.2f} ({low:.2f}-{high:.2f})")


if __name__ == "__main__":
    main()
