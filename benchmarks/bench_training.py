"""Time of one training epoch and peak memory, against PyG's GCN in the same run.

    python benchmarks/bench_training.py --root DIR

Time: models take turns, one epoch each, in one process on the same graph, so that all see the same machine and the same
allocator; the median of each and its ratio to the GCN's are printed. Memory: one fresh process a row, peak resident set
during ten epochs minus the resident set before the first (Linux only).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.gradients import DvM, GradientRule, SurrogateBPTT
from msg.nn import MSG
from msg.training import peak_memory

RULES: dict[str, GradientRule] = {"dvm": DvM(), "bptt": SurrogateBPTT()}
LAYERS = 3


def spiking(data: Data, args: argparse.Namespace, rule: str, timesteps: int) -> MSG:
    sizes = data.num_features, data.num_classes
    return MSG(*sizes, args.manifold, LAYERS, timesteps, gradient=RULES[rule], dropout=args.dropout)


def gcn(data: Data, args: argparse.Namespace, cached: bool = False) -> GCN:
    sizes = data.num_features, args.width, LAYERS, data.num_classes
    return GCN(*sizes, dropout=args.dropout, cached=cached)


def epoch(model: torch.nn.Module, data: Data) -> Callable[[], None]:
    """One epoch of training, as a function to call again and again."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        logits = model(data.x, data.edge_index)
        F.cross_entropy(logits[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()

    return step


def time_in_turns(steps: dict[str, Callable[[], None]], rounds: int, warm_up: int = 3) -> dict[str, float]:
    """Median seconds of each step, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warm_up + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def begin(args: argparse.Namespace, rule: str, timesteps: int) -> Callable[[], None]:
    """What a process of its own measures the memory of."""
    data = load_graph(args.dataset, root=args.root, features="dense")
    return epoch(gcn(data, args) if rule == "gcn" else spiking(data, args, rule, timesteps), data)


def memory(args: argparse.Namespace, rule: str, timesteps: int) -> float:
    """Peak memory of ten epochs, in MB."""
    peak = peak_memory(begin, args, rule, timesteps)
    if peak is None:
        raise SystemExit("this system does not report peak memory: it is measured on Linux only")
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dataset", default="photo")
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()

    data = load_graph(args.dataset, root=args.root, features="dense")
    steps = {"gcn": epoch(gcn(data, args), data), "gcn, cached": epoch(gcn(data, args, cached=True), data)}
    for rule in RULES:
        for timesteps in (5, 15, 64):
            steps[f"{rule} T={timesteps}"] = epoch(spiking(data, args, rule, timesteps), data)
    setting = f"{args.dataset}, {args.manifold}, {LAYERS} convolutions, dropout {args.dropout}"
    print(f"{setting}, {torch.get_num_threads()} threads")
    medians = time_in_turns(steps, args.rounds)
    for name, seconds in medians.items():
        print(f"{name:12} {1e3 * seconds:8.1f} ms/epoch   {seconds / medians['gcn']:6.2f} x GCN")
    print(f"{'gcn':12} {memory(args, 'gcn', 0):8.0f} MB")
    for rule in RULES:
        base = memory(args, rule, 1)
        print(f"{rule + ' T=1':12} {base:8.0f} MB")
        for timesteps in (5, 15, 64):
            peak = memory(args, rule, timesteps)
            print(f"{rule} T={timesteps:<6} {peak:8.0f} MB   {peak / base:6.2f} x T=1")


if __name__ == "__main__":
    main()
