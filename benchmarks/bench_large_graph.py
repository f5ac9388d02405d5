"""One training epoch on a graph the size of ogbn-products, against the fastest GCN that can be had with the same parts.

    python benchmarks/bench_large_graph.py [--scale 0.1] [--threads 2] [--timesteps 4,15] [--memory]

The graph is drawn: 2.45 million nodes, 123 million directed edges (both ways), degrees with a heavy tail, 100 features,
47 classes, 8 % of nodes for training; ``--scale`` draws a part of it with the same mean degree. The features are
propagated once, for both, since that never changes: both models then begin with a linear map. Models take turns, one
epoch each; printed are medians with quartiles, the ratio to the GCN in the same turn, and the memory of this process.

``--memory`` measures instead, in a fresh process each, the peak of an epoch above what graph and features take, for
these models and for PyG's own convolutions; an allocation that would bring a process above ``--limit`` GB fails, as it
does on a machine of that size.
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from msg.gradients import DvM
from msg.graph import Graph
from msg.kernels import status
from msg.layers import ManifoldPath, SpikingLayer, Synapse, TangentHead, current_layer, spiking_layers
from msg.manifolds import resolve
from msg.models import SpikingNetwork, SpikingStack
from msg.neurons import IF
from msg.process import keep_freed_memory
from msg.training import peak_memory

NODES, EDGES, FEATURES, CLASSES, TRAINING = 2_449_029, 123_718_280, 100, 47, 0.08
FAST, PYG, DVM = "fast GCN", "PyG GCN", "DvM T="
TAIL = 2.6
"""Exponent of the distribution of degrees."""


def draw_edges(nodes: int, edges: int, seed: int = 0) -> Tensor:
    """Both directions of ``edges / 2`` edges between nodes drawn in proportion to weights with a heavy tail."""
    draw = np.random.default_rng(seed)
    weights = draw.pareto(TAIL - 1, nodes) + 1
    below = np.cumsum(weights / weights.sum())
    out = torch.empty(2, edges, dtype=torch.int64)
    half, step = edges // 2, 10_000_000
    for start in range(0, half, step):
        count = min(step, half - start)
        ends = torch.from_numpy(np.searchsorted(below, draw.random((2, count))).clip(max=nodes - 1))
        out[:, start : start + count] = ends
        out[:, half + start : half + start + count] = ends.flip(0)
    return out[:, : 2 * half]


class FastGCN(nn.Module):
    """Features that were propagated already, then two convolutions on a cached CSR matrix."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Linear(FEATURES, width)
        self.others = nn.ModuleList([Synapse(GCNConv(width, width)), Synapse(GCNConv(width, CLASSES))])

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        h = self.first(x)
        for layer in self.others:
            h = layer(h.relu(), graph)
        return h


class PyGGCN(nn.Module):
    """The same on PyG's convolutions, each message written out, the normalisation kept."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Linear(FEATURES, width)
        self.others = nn.ModuleList([GCNConv(width, width, cached=True), GCNConv(width, CLASSES, cached=True)])

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        h = self.first(x)
        for layer in self.others:
            h = layer(h.relu(), graph.edge_index)
        return h


class Spiking(nn.Module):
    """MSG with three convolutions, the first of which has been done."""

    def __init__(self, manifold: str, timesteps: int):
        super().__init__()
        space, width = resolve(manifold)
        layers = [
            SpikingLayer(Synapse(nn.Linear(FEATURES, width)), IF(), width),
            *spiking_layers("gcn", [width, width], IF()),
            current_layer("gcn", width, width),
        ]
        self.network = SpikingNetwork(
            SpikingStack(layers, timesteps, DvM()), ManifoldPath(space, width), TangentHead(space, width, CLASSES)
        )

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        network = self.network
        return network.head(network.path(network.stack(x, graph).currents))


def epoch(model: nn.Module, x: Tensor, graph: Graph, y: Tensor, train: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x, graph)[train], y[train]).backward()
        optimizer.step()

    return step


def resident() -> float:
    """Largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def build(name: str, args: argparse.Namespace) -> nn.Module:
    """A model by the name it is printed under."""
    if name == FAST:
        return FastGCN(args.width)
    return PyGGCN(args.width) if name == PYG else Spiking(args.manifold, int(name.removeprefix(DVM)))


def prepare(args: argparse.Namespace) -> tuple[Tensor, Graph, Tensor, Tensor]:
    """Propagated features, graph, labels and training nodes."""
    nodes, edges = int(NODES * args.scale), int(EDGES * args.scale)
    start = time.perf_counter()
    graph = Graph(draw_edges(nodes, edges), None, nodes)
    drawn = time.perf_counter()
    matrix = graph.normalized(torch.float32)
    built = time.perf_counter()
    print(
        f"{nodes:,} nodes, {edges:,} edges, drawn in {drawn - start:.0f} s, matrix in {built - drawn:.0f} s", flush=True
    )
    x = matrix.matmul(torch.rand(nodes, FEATURES))
    return x, graph, torch.randint(0, CLASSES, (nodes,)), torch.rand(nodes) < TRAINING


def begin(name: str, args: argparse.Namespace) -> Callable[[], None]:
    """What a process of its own measures the memory of."""
    torch.set_num_threads(args.threads)
    limit = int(args.limit * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    data = prepare(args)
    print(f"{name}: {resident():.1f} GB at most until here", flush=True)
    return epoch(build(name, args), *data)


def measure(names: list[str], args: argparse.Namespace) -> None:
    for name in names:
        try:
            peak = peak_memory(begin, name, args, times=2)
            print(f"{name:10} {(peak or 0) / 1024:6.2f} GiB above graph and features")
        except (MemoryError, RuntimeError) as error:
            print(f"{name:10} does not fit {args.limit:g} GB: {str(error).splitlines()[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--timesteps", default="4,15")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--limit", type=float, default=20.0, help="GB that a process may allocate, with --memory")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory(2**31 - 1)
    torch.manual_seed(0)
    names = [FAST, *(f"{DVM}{timesteps}" for timesteps in args.timesteps.split(","))]
    if args.memory:
        measure([*names, PYG], args)
        return

    data = prepare(args)
    steps = {name: epoch(build(name, args), *data) for name in names}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(1 + args.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                times[name].append(time.perf_counter() - start)
    print(f"{args.manifold}, {torch.get_num_threads()} threads, kernels: {status()}; {resident():.1f} GB at most")
    base = np.array(times[FAST])
    for name, values in times.items():
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        first, ratio, third = np.quantile(np.array(values) / base, (0.25, 0.5, 0.75))
        print(f"{name:10} {middle:7.2f} ({low:.2f}-{high:.2f}) s   {ratio:5.2f} ({first:.2f}-{third:.2f}) x {FAST}")


if __name__ == "__main__":
    main()
