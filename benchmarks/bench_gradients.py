"""How time and memory of each gradient rule grow with T, and what checkpointing costs.

    python benchmarks/bench_gradients.py --root DIR

Forward and backward pass are timed apart, rules taking turns in one process; peak memory is that of three passes in a
fresh process, above what the process held before (Linux only). The last table is a long simulation: plain BPTT against
checkpointed, with 5 % of the states. Its ratios of time are of forward and backward together, those of the first of
backward alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from msg.datasets import load_graph
from msg.gradients import OTTT, CheckpointedBPTT, DvM, GradientRule, RateBackprop, SurrogateBPTT
from msg.neurons import LIF
from msg.nn import MSG
from msg.training import peak_memory

RULES: dict[str, GradientRule] = {
    "dvm": DvM(),
    "rate": RateBackprop(),
    "ottt": OTTT(),
    "bptt": SurrogateBPTT(),
    "checkpointed": CheckpointedBPTT(),
}


def network(data: Data, rule: GradientRule, timesteps: int, width: int) -> MSG:
    torch.manual_seed(0)
    neuron = LIF(threshold=0.5)
    return MSG(data.num_features, data.num_classes, f"H{width}", 3, timesteps, neuron, gradient=rule)


def once(model: MSG, data: Data) -> tuple[float, float]:
    """Seconds of a forward and of a backward pass."""
    model.zero_grad()
    start = time.perf_counter()
    loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    middle = time.perf_counter()
    loss.backward()
    return middle - start, time.perf_counter() - middle


def in_turns(models: dict[str, MSG], data: Data, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds of forward and backward passes, models taking turns after a warm-up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, model in models.items():
            seconds = once(model, data)
            if turn:
                times[name].append(seconds)
    return {name: tuple(statistics.median(part) for part in zip(*all_)) for name, all_ in times.items()}  # type: ignore


def begin(rule: GradientRule, timesteps: int, args: argparse.Namespace) -> Callable[[], object]:
    """For :func:`peak_memory`: the work of a fresh process."""
    data = load_graph(args.dataset, root=args.root, features="sparse")
    model = network(data, rule, timesteps, args.width)
    return lambda: once(model, data)


def memory(rule: GradientRule, timesteps: int, args: argparse.Namespace) -> float:
    return peak_memory(begin, rule, timesteps, args, times=3) or float("nan")


def growth(data: Data, args: argparse.Namespace) -> None:
    print("rule           T   forward ms  backward ms   x T=4   peak MB   x T=4")
    short, long = 4, 64
    models = {f"{n} {t}": network(data, rule, t, args.width) for n, rule in RULES.items() for t in (short, long)}
    times = in_turns(models, data, args.rounds)
    for name, rule in RULES.items():
        peaks = {timesteps: memory(rule, timesteps, args) for timesteps in (short, long)}
        for timesteps in (short, long):
            forward, backward = times[f"{name} {timesteps}"]
            grown = backward / times[f"{name} {short}"][1]
            print(
                f"{name:12} {timesteps:3} {1e3 * forward:12.1f} {1e3 * backward:12.1f} {grown:7.2f} "
                f"{peaks[timesteps]:9.1f} {peaks[timesteps] / peaks[short]:7.2f}"
            )


def checkpointing(data: Data, args: argparse.Namespace) -> None:
    steps, states = args.steps, args.steps // 20
    rules: dict[str, GradientRule] = {"bptt": SurrogateBPTT()}
    # with all hidden states every step still runs twice: what the paper compares with
    rules["hidden, all states"] = CheckpointedBPTT(states=steps)
    for store in ("hidden", "internal"):
        rules[store] = CheckpointedBPTT(states=states, store=store)
    models = {name: network(data, rule, steps, args.width) for name, rule in rules.items()}
    gradients = {}
    for name, model in models.items():
        once(model, data)
        gradients[name] = torch.cat([p.grad.flatten() for p in model.stack.layers.parameters() if p.grad is not None])
    times = {name: sum(both) for name, both in in_turns(models, data, 3).items()}
    print(f"\nT={steps}, {states} states       evaluations   seconds   x bptt   peak MB   x bptt   gradient differs by")
    base = memory(rules["bptt"], steps, args)
    for name, rule in rules.items():
        evaluations = rule.schedule(steps).evaluations if isinstance(rule, CheckpointedBPTT) else steps
        peak = base if name == "bptt" else memory(rule, steps, args)
        off = (gradients[name] - gradients["bptt"]).norm() / gradients["bptt"].norm()
        print(
            f"{name:22} {evaluations:12} {times[name]:9.2f} {times[name] / times['bptt']:8.2f} {peak:9.0f} "
            f"{peak / base:8.3f} {float(off):12.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dataset", default="photo")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1000, help="length of the simulation that is checkpointed")
    parser.add_argument("--long-only", action="store_true", help="only the long simulation")
    args = parser.parse_args()
    data = load_graph(args.dataset, root=args.root, features="sparse")
    print(f"{args.dataset}, H{args.width}, LIF, three layers, {torch.get_num_threads()} threads")
    if not args.long_only:
        growth(data, args)
    checkpointing(data, args)


if __name__ == "__main__":
    main()
