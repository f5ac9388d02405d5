"""A dynamic graph, a snapshot a call: what did most of my neighbours send, two snapshots ago?

    python examples/dynamic_graph.py
    python examples/dynamic_graph.py --delay 3 --epochs 20

Pulses and edges are drawn anew in each snapshot (``msg.datasets.pulses``), so whoever sees only the present one is
right in half of the cases, and whoever remembers what arrived in all of them. Four models get the same snapshots and
the same training, backpropagation through time that is truncated every few snapshots:

- PyG's GraphSAGE, which has no state;
- our network with its state dropped after each snapshot: the same weights and neurons, without memory;
- our network with its state carried, in flat space, and with points on a hyperboloid.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE

from msg.datasets import pulses
from msg.neurons import LIF
from msg.nn import RecurrentSpikingGNN, detach_state


class Memoryless(nn.Module):
    """A model that is called as one with a state, and has none."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, edge_index: Tensor, state: None = None) -> tuple[Tensor, None]:
        out = self.model(x, edge_index)
        return (out[0] if isinstance(out, tuple) else out), None


def spiking(**options) -> RecurrentSpikingGNN:
    neuron = LIF(tau=1.5, threshold=0.5)
    return RecurrentSpikingGNN(2, 2, conv="sage", neuron=neuron, **options)


MODELS = {
    "GraphSAGE": lambda: Memoryless(GraphSAGE(2, 64, 2, 2)),
    "spiking, state dropped": lambda: Memoryless(spiking(hidden_channels=64, num_layers=1)),
    "spiking, state carried": lambda: spiking(hidden_channels=64, num_layers=1),
    "the same, on H64": lambda: spiking(manifold="H64", num_layers=2),
}


def train(model: nn.Module, snapshots: list[Data], optimizer: torch.optim.Optimizer, window: int) -> None:
    """One pass over the snapshots; gradients reach ``window`` of them back."""
    model.train()
    state, losses = None, []
    for number, snapshot in enumerate(snapshots, start=1):
        out, state = model(snapshot.x, snapshot.edge_index, state=state)
        if snapshot.y.min() >= 0:  # nothing was sent before the first snapshot
            losses.append(F.cross_entropy(out, snapshot.y))
        if number % window == 0 and losses:
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state, losses = detach_state(state), []


@torch.no_grad()
def accuracy(model: nn.Module, snapshots: list[Data]) -> float:
    model.eval()
    state, right = None, []
    for snapshot in snapshots:
        out, state = model(snapshot.x, snapshot.edge_index, state=state)
        if snapshot.y.min() >= 0:
            right.append((out.argmax(-1) == snapshot.y).double().mean())
    return float(torch.stack(right).mean())


def run(name: str, delay: int, epochs: int, seed: int, window: int = 5) -> float:
    """Accuracy of one model on snapshots never seen, after an epoch each on ``epochs`` lists of 50."""
    torch.manual_seed(seed)
    model = MODELS[name]()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(epochs):
        train(model, pulses(delay=delay, seed=1000 * seed + epoch), optimizer, window)
    return accuracy(model, pulses(delay=delay, seed=1000 * seed + 999))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    args = parser.parse_args()
    for name in MODELS:
        right = [100 * run(name, args.delay, args.epochs, seed) for seed in range(args.seeds)]
        print(f"{name:24s}" + "  ".join(f"{accuracy:5.1f} %" for accuracy in right), flush=True)


if __name__ == "__main__":
    main()
