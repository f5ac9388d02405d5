"""What the kernels take: beside plain torch, and beside what the machine could do.

    python benchmarks/bench_kernels.py --root DIR [--threads 1]

First, each kernel on Amazon Photo at width 32, beside the same in plain torch, and beside a limit: the longest of the
times that its arithmetic, the words it fetches along edges and the memory it reads and writes once would take at the
speeds measured here (a product of matrices, random rows that fit the last cache, a copy). Smallest of the repetitions.
Second, the share of firing rates that differ from plain torch's in float32, which adds in another order.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from msg.datasets import load_graph
from msg.gradients import DvM, packed
from msg.gradients.simulation import SILENT, Dynamics, encoder_current
from msg.graph import Graph
from msg.kernels import operators, reference, status
from msg.manifolds import checks, path, resolve
from msg.neurons import LIF
from msg.nn import MSG
from msg.process import keep_freed_memory

WIDTH, NEURON, SILENCE, SURROGATE = 32, (1.0, 1.0, True), (-1, 0.0, 0.0, True), (0, 3.14, 1.0, True)


def best(call: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest call."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


class Machine:
    """Speeds of this machine, a thing a millisecond."""

    def __init__(self, repeats: int):
        square = torch.randn(1024, 1024)
        self.operations = 2 * 1024**3 / best(lambda: square @ square, repeats)
        long = torch.randn(64_000_000)
        out = torch.empty_like(long)
        self.bytes = 8 * long.numel() / best(lambda: out.copy_(long), 5)
        rows, index = torch.randn(7650, WIDTH), torch.randint(0, 7650, (240_000,))
        gathered = torch.empty(len(index), WIDTH)
        self.fetched = 4 * WIDTH * len(index) / best(lambda: torch.index_select(rows, 0, index, out=gathered), repeats)

    def limit(self, operations: float = 0.0, fetched: float = 0.0, moved: float = 0.0) -> float:
        """Milliseconds, at least."""
        return max(operations / self.operations, fetched / self.fetched, moved / self.bytes)

    def __str__(self) -> str:
        speeds = (self.operations / 1e6, self.fetched / 1e6, self.bytes / 1e6)
        return "{:.0f} GFLOP/s, {:.1f} GB/s fetched row by row from the caches, {:.1f} GB/s copied".format(*speeds)


def plain_layer(words: Tensor, matrix: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A hidden layer on a train of floats, as it runs without kernels: all steps in one product, then the neuron."""
    spikes = reference.unpack(words, WIDTH, torch.float32)
    received = torch.mm(matrix, spikes.flatten(1)).view(spikes.shape)
    current = F.linear(received, weight, bias)
    v, count = torch.zeros(len(spikes), WIDTH), torch.zeros(len(spikes), WIDTH)
    for now in current.unbind(1):
        v = v + now
        fired = (v > 1.0).float()
        v, count = v - fired, count + fired
    return count


def timed(graph: Graph, machine: Machine, repeats: int) -> None:
    matrix = graph.normalized(torch.float32)
    edges = matrix.pointers, matrix.columns, matrix.values
    nodes, count = graph.num_nodes, matrix.nnz
    weight, bias = torch.randn(WIDTH, WIDTH) / 8, torch.zeros(WIDTH)
    current, twins = torch.rand(nodes, WIDTH), max(3, repeats // 5)
    print(f"\n{'kernel':34}{'ms':>8}{'plain torch':>13}{'faster':>8}{'limit':>8}{'of it':>8}")

    def line(name: str, ours: Callable, plain: Callable | None, limit: float) -> None:
        mine = best(ours, repeats)
        other = best(plain, twins) if plain else float("nan")
        print(f"{name:34}{mine:8.2f}{other:13.2f}{other / mine:8.1f}{limit:8.2f}{limit / mine:8.0%}")

    for steps in (4, 15, 64):
        words = operators.encode(current, steps, *NEURON, *SILENCE)[0]
        train, grad = 4 * steps * nodes, 4 * WIDTH * nodes * steps
        sums = 2 * count * WIDTH * steps
        product = 2 * nodes * steps * WIDTH * WIDTH
        given = words, WIDTH, *edges
        line(
            f"encoder, T={steps}",
            partial(operators.encode, current, steps, *NEURON, *SILENCE),
            partial(reference.fire, current, steps, NEURON, None),
            machine.limit(6 * nodes * steps * WIDTH, moved=train + 8 * WIDTH * nodes),
        )
        spikes = reference.unpack(words, WIDTH, torch.float32).flatten(1)
        line(
            f"aggregation, T={steps}",
            partial(operators.aggregate, *given, torch.float32),
            partial(torch.mm, matrix.csr, spikes),
            machine.limit(sums, 4 * steps * count, train + grad + 8 * count),
        )
        line(
            f"hidden layer, T={steps}",
            partial(operators.layer, *given, 0.0, weight, None, bias, *NEURON, *SILENCE),
            partial(plain_layer, words, matrix.csr, weight, bias),
            machine.limit(sums + product + 6 * nodes * steps * WIDTH, 4 * steps * count, 2 * train + 8 * count),
        )
        arriving = torch.randn(steps, nodes, WIDTH), torch.randn(nodes, WIDTH)
        line(
            f"hidden layer and back, T={steps}",
            partial(operators.layer_back, *given, 0.0, weight, None, bias, *arriving, *NEURON, *SURROGATE),
            None,
            machine.limit(sums + 3 * product + 16 * nodes * steps * WIDTH, 4 * steps * count, train + 2 * grad),
        )
    for name in ("E32", "H32", "S32", "P32", "H16xS16"):
        manifold, dim = resolve(name)
        vectors = [torch.randn(nodes, dim) * 0.1 for _ in range(3)]
        size = (dim + (name[0] in "HS")) * 8 * nodes
        with torch.no_grad(), checks(False):
            ours = partial(path, manifold, vectors, 1.0, 1.0)
            line(
                f"path of three steps, {name}",
                ours,
                partial(eager_path, manifold, vectors),
                machine.limit(3 * 10 * dim * nodes, moved=3 * 4 * dim * nodes + size),
            )


def eager_path(manifold, vectors: list[Tensor]) -> Tensor:
    """The same path by the functions of the manifold's family."""
    from msg.manifolds.lookup import family
    from msg.manifolds.steps import _bound_length, origin

    z = origin(manifold, 1, vectors[0].size(1), torch.float64).expand(len(vectors[0]), -1)
    for vector in vectors:
        z = family(manifold).move(manifold, z, _bound_length(vector, 1.0))
    return z


def differing(name: str, model: MSG, x: Tensor, graph: Graph) -> None:
    """Shares of rates (of T=15 steps) that differ between the kernels and plain torch, layer by layer."""
    with torch.no_grad():
        layers = model.stack.layers
        current = encoder_current(layers, x, graph, 15)
        dynamics = Dynamics(layers, graph, 15)
        ours, plain = packed.simulate(dynamics, current), dynamics.totals(current, SILENT)
    assert ours is not None
    shares = [float((a != b).double().mean()) for a, b in zip(ours.rates, plain.rates)]
    means = [float(rate.mean()) for rate in ours.rates]
    print(f"{name:34}" + "".join(f"{share:12.1e} ({mean:.2f})" for share, mean in zip(shares, means)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    if status().backend != "numba":
        raise SystemExit(f"there are no compiled kernels here: {status().reason}")

    data = load_graph("photo", root=args.root, features="dense")
    machine = Machine(args.repeats)
    print(f"{torch.get_num_threads()} threads: {machine}")
    timed(Graph(data.edge_index, None, data.num_nodes), machine, args.repeats)

    print("\nshare of rates that differ in float32 (mean rate), T=15: encoder, first hidden layer, second")
    neuron = LIF(4.0, 0.1)
    for name in ("photo", "computers"):
        data = load_graph(name, root=args.root, features="dense")
        model = MSG(data.num_features, data.num_classes, "H32", 4, 15, neuron, gradient=DvM())
        differing(name, model, data.x, Graph(data.edge_index, None, data.num_nodes))
    for dtype in (torch.float32, torch.float64):
        model = MSG(64, 5, "H32", 4, 15, neuron, gradient=DvM()).to(dtype)
        edges = torch.from_numpy(np.random.default_rng(0).integers(0, 20_000, (2, 400_000)))
        x = torch.randn(20_000, 64, dtype=dtype)
        differing(f"random graph, {str(dtype)[6:]}", model, x, Graph(edges, None, 20_000))


if __name__ == "__main__":
    main()
