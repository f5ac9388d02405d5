"""Time of one training epoch, peak memory and number of operations on a GPU, beside GCNs on the same one.

    python benchmarks/bench_device.py --root DIR [--device cuda] [--layers 2] [--features sparse]

An epoch is forward, backward and a step of Adam, as in ``bench_training.py``. Models take turns, and the device is
waited for after each epoch. Printed are the median of each with its quartiles, the median and quartiles of the ratio
of its epoch to that of :class:`msg.nn.CachedGCN` in the same turn, the most memory that an epoch takes above what the
device held before it, and how many operations torch dispatches in an epoch (views left out, since a device is sent
nothing for them; of a kernel of this library's own, one). ``MSG_KERNELS=torch`` with ``--device cpu`` is the code that
runs on a GPU, on a CPU.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from bench_training import FAST, RULES, epoch, gcn, spiking, time_in_turns
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.kernels import status

STEPS = (5, 15, 64)


class Operations(TorchDispatchMode):
    """Counts what torch dispatches."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **kwargs or {})


def operations(step: Callable[[], None]) -> int:
    """Of one epoch."""
    with Operations() as mode:
        step()
    return mode.count


def memory(step: Callable[[], None], device: torch.device) -> float:
    """Most memory that an epoch takes above what was held before it, in MB; NaN where the device does not say."""
    own = torch.get_device_module(device)
    if not hasattr(own, "max_memory_allocated"):
        return float("nan")
    own.reset_peak_memory_stats(device)
    before = own.memory_allocated(device)
    step()
    return (own.max_memory_allocated(device) - before) / 1e6


def awaited(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The same, done when the device is."""
    own = torch.get_device_module(device)

    def whole() -> None:
        step()
        own.synchronize()

    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dataset", default="photo")
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--features", default="dense")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    device = torch.device(args.device)

    data = load_graph(args.dataset, root=args.root, features=args.features).to(device)
    # a mask would make the host wait for its number of nodes, in every epoch of every model
    data.train_mask = data.train_mask.nonzero().squeeze(1)
    models = {FAST: gcn(data, args), "PyG GCN, cached": gcn(data, args, GCN, cached=True)}
    models |= {f"{rule} T={steps}": spiking(data, args, rule, steps) for rule in RULES for steps in STEPS}
    epochs = {name: awaited(epoch(model.to(device), data), device) for name, model in models.items()}

    own = torch.get_device_module(device)
    what = own.get_device_name(device) if hasattr(own, "get_device_name") else f"{torch.get_num_threads()} threads"
    kernels = status().backend if device.type == "cpu" else "torch"
    setting = f"{args.dataset}, {args.features} features, {args.manifold}, {args.layers} convolutions"
    print(f"{setting}, dropout {args.dropout}, torch {torch.__version__}, {device} ({what}), kernels: {kernels}")
    times = time_in_turns(epochs, args.rounds)
    for name, seconds in times.items():
        low, middle, high = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75))
        first, ratio, third = np.quantile(seconds / times[FAST], (0.25, 0.5, 0.75))
        print(
            f"{name:16} {middle:8.2f} ({low:.2f}-{high:.2f}) ms/epoch   {ratio:6.2f} ({first:.2f}-{third:.2f}) x {FAST}"
            f"   {memory(epochs[name], device):8.1f} MB   {operations(epochs[name]):6} operations"
        )


if __name__ == "__main__":
    main()
