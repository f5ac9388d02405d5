"""Time of an epoch and of an inference, and peak memory, against the fastest GCN that can be had with the same parts.

    python benchmarks/bench_training.py --root DIR [--threads 1] [--layers 2] [--features sparse]

Time: models take turns, one epoch each (then one inference each: evaluation mode, no gradient), in one process on the
same graph, so that all see the same machine and the same allocator. Printed are the median of each with its quartiles,
and the median and quartiles of the ratio to that of :class:`msg.nn.CachedGCN` in the same turn; PyG's GCN stands beside
it, and both GATs, with four heads. Memory: one fresh process a row, peak resident set during ten epochs minus the
resident set before the first (Linux only).
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GAT as PygGAT
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.gradients import DvM, GradientRule, RateBackprop, SurrogateBPTT
from msg.kernels import status
from msg.nn import GAT, MSG, CachedGCN
from msg.process import keep_freed_memory
from msg.training import peak_memory

RULES: dict[str, GradientRule] = {"dvm": DvM(), "rate": RateBackprop(), "bptt": SurrogateBPTT()}
STEPS = (4, 15, 64)
FAST = "cached CSR GCN"


def spiking(data: Data, args: argparse.Namespace, rule: str, timesteps: int) -> MSG:
    sizes = data.num_features, data.num_classes
    return MSG(*sizes, args.manifold, args.layers, timesteps, gradient=RULES[rule], dropout=args.dropout)


def gcn(data: Data, args: argparse.Namespace, kind: type[torch.nn.Module] = CachedGCN, **options) -> torch.nn.Module:
    return kind(data.num_features, args.width, args.layers, data.num_classes, dropout=args.dropout, **options)


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


def inference(model: torch.nn.Module, data: Data) -> Callable[[], None]:
    """One forward pass in evaluation mode, as a function to call again and again."""

    def step() -> None:
        model.eval()
        with torch.no_grad():
            model(data.x, data.edge_index)

    return step


def time_in_turns(steps: dict[str, Callable[[], None]], rounds: int, warm_up: int = 3) -> dict[str, np.ndarray]:
    """Seconds of each step in each round, taken in turns."""
    keep_freed_memory()  # or each would be slower the more the others give back
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warm_up + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


def print_ratios(what: str, times: dict[str, np.ndarray]) -> None:
    """Milliseconds, and the ratio to the fast GCN in the same turn: medians and quartiles."""
    for name, seconds in times.items():
        low, middle, high = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75))
        first, ratio, third = np.quantile(seconds / times[FAST], (0.25, 0.5, 0.75))
        took = f"{middle:8.1f} ({low:.1f}-{high:.1f}) ms/{what}"
        print(f"{name:16} {took}   {ratio:6.2f} ({first:.2f}-{third:.2f}) x {FAST}")


def begin(args: argparse.Namespace, rule: str, timesteps: int) -> Callable[[], None]:
    """What a process of its own measures the memory of."""
    data = load_graph(args.dataset, root=args.root, features=args.features)
    return epoch(gcn(data, args) if rule == "gcn" else spiking(data, args, rule, timesteps), data)


def memory(args: argparse.Namespace, rule: str, timesteps: int) -> float:
    """Peak memory of ten epochs, in MB."""
    peak = peak_memory(begin, args, rule, timesteps)
    if peak is None:
        raise SystemExit("this system does not report peak memory: it is measured on Linux only")
    return peak


def model_parser(description: str | None) -> argparse.ArgumentParser:
    """Options that say which graph and how large its models are."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dataset", default="photo")
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=3)
    return parser


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--features", default="dense")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    data = load_graph(args.dataset, root=args.root, features=args.features)
    models: dict[str, torch.nn.Module] = {FAST: gcn(data, args)}
    for name, cached in (("PyG GCN", False), ("PyG GCN, cached", True)):
        models[name] = gcn(data, args, GCN, cached=cached)
    for name, kind in (("GAT", GAT), ("PyG GAT", PygGAT)):
        models[name] = gcn(data, args, kind, heads=4)
    for rule in RULES:
        for timesteps in STEPS:
            models[f"{rule} T={timesteps}"] = spiking(data, args, rule, timesteps)
    setting = f"{args.dataset}, {args.features} features, {args.manifold}, {args.layers} convolutions"
    print(f"{setting}, dropout {args.dropout}, {torch.get_num_threads()} threads, kernels: {status()}")
    print_ratios("epoch", time_in_turns({name: epoch(model, data) for name, model in models.items()}, args.rounds))
    # without gradient all rules run the same
    silent = {name: model for name, model in models.items() if not name.startswith(("rate", "bptt"))}
    calls = {name: inference(model, data) for name, model in silent.items()}
    print_ratios("inference", time_in_turns(calls, args.rounds))
    if args.no_memory:
        return
    print(f"{FAST:16} {memory(args, 'gcn', 0):8.0f} MB")
    for rule in RULES:
        base = memory(args, rule, 1)
        print(f"{rule + ' T=1':16} {base:8.0f} MB")
        for timesteps in STEPS:
            peak = memory(args, rule, timesteps)
            print(f"{rule + f' T={timesteps}':16} {peak:8.0f} MB   {peak / base:6.2f} x T=1")


if __name__ == "__main__":
    main()
