"""A graph in the hands of several processes: bytes and seconds an epoch, memory of each, and a model of many machines.

    python benchmarks/bench_distributed.py [--scale 0.1] [--processes 2] [--method range] [--timesteps 4,15,64]
    python benchmarks/bench_distributed.py --machines [--gigabits 10] [--cores 16] [--border 1]

The graph is drawn as in ``bench_large_graph.py``, whose models these are: features are propagated once, for all. The
first form trains each model in one process that holds the whole graph, then in several that hold a part each, all with
one thread; printed are the bytes that all processes together send in an epoch, forward and back, without the gradients
of weights, which are the same for all; the median of an epoch's seconds; and the peak of each process's memory, from
reading its part to the last epoch, above what it held once everything was imported.

The second form measures compute and the bandwidth between two processes here, and says what an epoch would then take on
4 to 256 machines. It assumes: work in proportion to edges, evenly shared, and ``--cores`` cores of a machine that each
work as fast as the one measured; ``--gigabits`` between machines in both directions at once; 50 microseconds for each
message and no overlap of work and traffic; a border as large as that of nodes dealt at random, of the degrees drawn,
times ``--border``.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from bench_large_graph import CLASSES, EDGES, FAST, FEATURES, NODES, TRAINING, FastGCN, Spiking, draw_edges
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.data import Data

from msg.gradients import RateBackprop
from msg.graph import Graph, partition
from msg.process import keep_freed_memory

RATE, DVM = "Rate T=", "DvM T="
PAPERS = 111_059_956, 3_231_371_744
"""Nodes and directed edges, both ways, of ogbn-papers100M."""
LATENCY = 50e-6
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def build(name: str, args: argparse.Namespace) -> nn.Module:
    torch.manual_seed(0)
    if name == FAST:
        return FastGCN(args.width)
    model = Spiking(args.manifold, int(name.split("=")[1]))
    if name.startswith(RATE):
        model.network.gradient = RateBackprop()
    return model


def cut(rank: int, folder: str, args: argparse.Namespace) -> None:
    """Draw the graph and keep it, whole and in parts; a process of its own, so that no other has held it whole."""
    nodes, edges = int(NODES * args.scale), int(EDGES * args.scale)
    torch.manual_seed(0)
    edge_index = draw_edges(nodes, edges)
    x = Graph(edge_index, None, nodes).normalized(torch.float32).matmul(torch.rand(nodes, FEATURES))
    data = Data(x=x, edge_index=edge_index, y=torch.randint(0, CLASSES, (nodes,)))
    data.train_mask = torch.rand(nodes) < TRAINING
    torch.save(data, f"{folder}/whole.pt")
    start = time.perf_counter()
    found = partition(data, args.processes, args.method)
    print(
        f"{nodes:,} nodes, {edges:,} edges, {found.cut / edges:.1%} of them between parts, "
        f"cut in {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    for part in range(args.processes):
        torch.save(found[part], f"{folder}/part-{part}.pt")


def memory(field: str) -> float:
    """A size of this process, in GiB."""
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(field)) / 2**20


def train(rank: int, folder: str, name: str, world: int, args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=world)
    before = memory("VmRSS")
    _CLEAR.write_text("5")
    if world == 1:
        data: Any = torch.load(f"{folder}/whole.pt", weights_only=False)
        graph, count = Graph(data.edge_index, None, data.num_nodes), int(data.train_mask.sum())
        model = build(name, args)
    else:
        data = torch.load(f"{folder}/part-{rank}.pt", weights_only=False)
        total = data.train_mask.sum()
        dist.all_reduce(total)
        graph, count = data.graph, int(total) / world
        model = DistributedDataParallel(build(name, args))
    if args.machines:
        keep_freed_memory()  # elsewhere peaks are measured beside the time
    x, y, mask = data.x, data.y, data.train_mask
    del data
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    times, sent = [], 0
    for turn in range(1 + args.rounds):
        if world > 1:
            dist.barrier()
            sent = graph.border.sent
        start = time.perf_counter()
        optimizer.zero_grad()
        (F.cross_entropy(model(x, graph)[mask], y[mask], reduction="sum") / count).backward()
        optimizer.step()
        if turn:
            times.append(time.perf_counter() - start)
    sent = graph.border.sent - sent if world > 1 else 0
    rows = sum(graph.border.send_counts) if world > 1 else 0
    found = {"seconds": statistics.median(times), "sent": sent, "rows": rows, "peak": memory("VmHWM") - before}
    torch.save(found, f"{folder}/{name}-{world}-{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


def run(folder: str, name: str, world: int, args: argparse.Namespace) -> list[dict[str, float]]:
    mp.spawn(train, (folder, name, world, args), nprocs=world)
    return [torch.load(f"{folder}/{name}-{world}-{rank}.pt") for rank in range(world)]


def compare(args: argparse.Namespace) -> None:
    names = [FAST, *(f"{kind}{steps}" for steps in args.timesteps.split(",") for kind in (DVM, RATE))]
    names = [name for name in names if not args.only or name in args.only.split(",")]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        mp.spawn(cut, (folder, args), nprocs=1)
        baseline = 0
        print(f"{'':12}{'MB sent':>10}{'bits a row and channel':>24}{'of GCN':>9}", end="")
        print(f"{'s, 1 process':>14}{f's, {args.processes}':>7}{'GiB, 1':>9}{f'GiB, {args.processes}':>14}{'most':>7}")
        for name in names:
            one, several = run(folder, name, 1, args)[0], run(folder, name, args.processes, args)
            sent, rows = sum(r["sent"] for r in several), sum(r["rows"] for r in several)
            baseline = baseline or sent
            peaks = [r["peak"] for r in several]
            print(
                f"{name:12}{sent / 1e6:10.2f}{sent * 8 / rows / args.width:24.1f}{f'1/{baseline / sent:.1f}':>9}"
                f"{one['seconds']:14.2f}{max(r['seconds'] for r in several):7.2f}{one['peak']:9.2f}"
                f"{' '.join(f'{peak:.2f}' for peak in peaks):>14}{max(peaks) / one['peak']:7.0%}",
                flush=True,
            )


def exchange(rank: int, folder: str) -> None:
    """Bandwidth between two processes: 16 MB both ways, several times."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/bandwidth", rank=rank, world_size=2)
    rows, out = torch.zeros(2, 16_000_000, dtype=torch.uint8), torch.zeros(2, 16_000_000, dtype=torch.uint8)
    times = []
    for _ in range(8):
        dist.barrier()
        start = time.perf_counter()
        dist.all_to_all_single(out, rows)
        times.append(time.perf_counter() - start)
    torch.save(16e6 / statistics.median(times), f"{folder}/bandwidth-{rank}.pt")
    dist.destroy_process_group()


def machines(args: argparse.Namespace) -> None:
    steps = [int(one) for one in args.timesteps.split(",")]
    names = [FAST, *(f"{DVM}{T}" for T in steps)]
    bits = {FAST: 128, **{f"{DVM}{T}": T + T.bit_length() for T in steps}}
    crossings = {FAST: 4, **dict.fromkeys(names[1:], 2)}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        mp.spawn(cut, (folder, args), nprocs=1)
        measured = {name: run(folder, name, 1, args)[0]["seconds"] for name in names}
        mp.spawn(exchange, (folder,), nprocs=2)
        loopback = torch.load(f"{folder}/bandwidth-0.pt")
        data: Any = torch.load(f"{folder}/whole.pt", weights_only=False)
        degrees = torch.bincount(data.edge_index[0], minlength=data.num_nodes).double()
    edges, bandwidth = int(EDGES * args.scale), args.gigabits * 1e9 / 8
    said = ", ".join(f"{name} {1e9 * seconds / edges:.1f}" for name, seconds in measured.items())
    print(f"measured: ns an edge and epoch on one core: {said}; {loopback / 1e9:.2f} GB/s between two processes here")
    print(f"assumed: {args.gigabits:g} Gbit/s, {args.cores} cores a machine, border {args.border:g} of a random cut's")
    for title, (whole_nodes, whole_edges) in {"products": (NODES, EDGES), "papers100M": PAPERS}.items():
        growth = (whole_edges / whole_nodes) / (EDGES / NODES)
        print(f"\n{title}, seconds an epoch (work + traffic); width {args.width}\nmachines  ", end="")
        print("".join(f"{name:>24}" for name in names))
        for count in 4 ** np.arange(1, 5):
            # a node is needed by every other machine that has one of its neighbours
            needed = float(((count - 1) * (1 - (1 - 1 / count) ** (degrees * growth))).mean()) * args.border
            print(f"{count:8d}  ", end="")
            for name in names:
                work = measured[name] / edges * whole_edges / count / args.cores
                volume = needed * whole_nodes / count * bits[name] * args.width / 8
                traffic = volume / bandwidth + crossings[name] * (count - 1) * LATENCY
                print(f"{f'{work + traffic:.3f} ({work:.3f} + {traffic:.3f})':>24}", end="")
            print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--timesteps", default="4,15,64")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--method", default="range")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="models by the names that are printed, separated by commas")
    parser.add_argument("--folder", default=None, help="where the graph is kept meanwhile")
    parser.add_argument("--machines", action="store_true", help="say what many machines would take")
    parser.add_argument("--gigabits", type=float, default=10.0)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--border", type=float, default=1.0)
    args = parser.parse_args()
    (machines if args.machines else compare)(args)


if __name__ == "__main__":
    main()
