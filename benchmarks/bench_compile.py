"""Whether ``torch.compile`` makes a model faster than it is: an epoch and an inference, compiled against eager.

    OMP_NUM_THREADS=1 python benchmarks/bench_compile.py --root DIR [--layers 2] [--timesteps 15]

Each model is made again with the same weights and compiled (Inductor, default mode), and called until nothing is
compiled any more; ours a third time, with a graph whose matrices are made already. All take turns in one process.
Printed are the median of each with its quartiles, and the ratio to the eager one in the same turn (below 1: compiling
pays), or of eager ones to PyG's GCN; before that, how long the first calls took.
"""

import copy
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from bench_training import epoch, gcn, inference, model_parser, spiking, time_in_turns
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.graph import Graph
from msg.kernels import status
from msg.nn import MSG

PYG, COMPILED, MADE = "PyG GCN", ", compiled", ", made graph"


def compiled(model: nn.Module) -> nn.Module:
    """The same model with the same weights, compiled when it is called first."""
    return torch.compile(copy.deepcopy(model))  # pyright: ignore[reportReturnType]


def calls_of(name: str, model: nn.Module, data: Data, make: Callable[..., Callable]) -> dict[str, Callable[[], None]]:
    """A model's calls: eager, compiled, and, of ours, compiled with matrices that an eager call has made."""
    calls = {name: make(model, data), f"{name}{COMPILED}": make(compiled(model), data)}
    if isinstance(model, MSG):
        made = copy.copy(data)
        made.edge_index = Graph(data.edge_index, None, data.num_nodes)
        make(model, made)()
        calls[f"{name}{COMPILED}{MADE}"] = make(compiled(model), made)
    return calls


def warmed(steps: dict[str, Callable[[], None]], what: str) -> None:
    """Call each a few times; what is compiled says how long that took."""
    for name, step in steps.items():
        start = time.perf_counter()
        for _ in range(4):
            step()
        if COMPILED in name:
            print(f"{name}: {time.perf_counter() - start:.0f} s for the first four calls ({what})", flush=True)


def print_ratios(what: str, times: dict[str, np.ndarray]) -> None:
    """Milliseconds, and both ratios: medians and quartiles."""
    for name, seconds in times.items():
        low, middle, high = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75))
        line = f"{name:32} {middle:8.1f} ({low:.1f}-{high:.1f}) ms/{what}"
        eager = name.partition(COMPILED)[0]
        other = PYG if name == eager else eager
        if other != name:
            first, ratio, third = np.quantile(seconds / times[other], (0.25, 0.5, 0.75))
            line += f"   {ratio:5.2f} ({first:.2f}-{third:.2f}) x {other}"
        print(line, flush=True)


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--timesteps", type=int, default=15)
    parser.add_argument("--rules", default="dvm,bptt")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")

    data = load_graph(args.dataset, root=args.root)
    models: dict[str, nn.Module] = {PYG: gcn(data, args, GCN)}
    for rule in args.rules.split(","):
        models[f"{rule} T={args.timesteps}"] = spiking(data, args, rule, args.timesteps)
    setting = f"{args.dataset}, {args.manifold}, {args.layers} convolutions"
    print(f"{setting}, torch {torch.__version__}, 1 thread, kernels: {status()}", flush=True)
    for what, make in (("inference", inference), ("epoch", epoch)):
        calls = {}
        for name, model in models.items():
            calls |= calls_of(name, model, data, make)
        warmed(calls, what)
        print_ratios(what, time_in_turns(calls, args.rounds, warm_up=1))


if __name__ == "__main__":
    main()
