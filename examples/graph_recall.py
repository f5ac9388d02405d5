"""Recall on a graph: long after it was shown, what did a node see, or most of its neighbours?

    python examples/graph_recall.py
    python examples/graph_recall.py --figure docs/images/graph_recall.png

Every node of a graph in which each has three neighbours is shown one of two symbols, at a step of its own among the
first five. After ``delay`` blank steps each node is asked, at random, for its own symbol or for that of most of its
neighbours, and must answer at once. The symbols, the steps and the questions are drawn anew for every sequence; test
sequences are new. Backpropagation truncated to five steps cannot learn it, the same cell with memories can.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from msg.gradients import SparseAttentiveBacktracking
from msg.nn import AttentiveRecurrence

SHOWN = 5
FEATURES = 4  # symbol 0, symbol 1, "your own?", "most of your neighbours'?"


def ladder(nodes: int) -> Tensor:
    """Edges of a ring in which each node is also linked to the one opposite: three neighbours each."""
    node = torch.arange(nodes)
    source = torch.cat([node, node, node])
    target = torch.cat([(node + 1) % nodes, (node - 1) % nodes, (node + nodes // 2) % nodes])
    return torch.stack([source, target])


def sequence(edge_index: Tensor, nodes: int, delay: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Input ``[T, N, 4]``, right answers ``[N]``, and whether a node was asked for its neighbours' symbol ``[N]``."""
    node = torch.arange(nodes)
    symbol = torch.randint(2, (nodes,), generator=generator)
    step = torch.randint(SHOWN, (nodes,), generator=generator)
    asked = torch.randint(2, (nodes,), generator=generator)
    x = torch.zeros(SHOWN + delay + 1, nodes, FEATURES)
    x[step, node, symbol] = 1
    x[-1, node, 2 + asked] = 1
    votes = torch.zeros(nodes).index_add(0, edge_index[1], 2.0 * symbol[edge_index[0]] - 1)
    return x, torch.where(asked == 1, (votes > 0).long(), symbol), asked


class NeighbourLSTM(nn.Module):
    """An LSTM cell that reads what the node and its neighbours are shown."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv, self.cell = SAGEConv(FEATURES, channels), nn.LSTMCell(channels, channels)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None, edge_index: Tensor):
        state = self.cell(self.conv(x, edge_index), state)
        return state[0], state


class Recaller(nn.Module):
    """The cell with memories, and a read-out of the last step."""

    def __init__(self, rule: SparseAttentiveBacktracking, channels: int):
        super().__init__()
        self.recurrence = AttentiveRecurrence(NeighbourLSTM(channels), channels, rule)
        self.readout = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, 2))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.readout(self.recurrence(x, graph=edge_index)[0][-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=int, default=50)
    parser.add_argument("--k-top", type=int, default=5)
    parser.add_argument("--k-trunc", type=int, default=5)
    parser.add_argument("--k-att", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=128)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", default=None, help="where to draw the learning curves")
    args = parser.parse_args()

    edge_index, curves = ladder(args.nodes), {}
    for name, top in (("sparse attentive backtracking", args.k_top), (f"truncated BPTT({args.k_trunc})", 0)):
        torch.manual_seed(args.seed)
        generator = torch.Generator().manual_seed(args.seed)
        model = Recaller(SparseAttentiveBacktracking(top, args.k_trunc, args.k_att), args.channels)
        optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
        curves[name] = []
        for _ in range(args.iterations):
            x, y, _ = sequence(edge_index, args.nodes, args.delay, generator)
            logits = model(x, edge_index)
            optimizer.zero_grad()
            F.cross_entropy(logits, y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            curves[name].append((logits.argmax(-1) == y).double().mean().item())
        new = torch.Generator().manual_seed(args.seed + 1_000_000)
        right: list[list[Tensor]] = [[], []]
        with torch.no_grad():
            for _ in range(50):
                x, y, asked = sequence(edge_index, args.nodes, args.delay, new)
                hit = (model(x, edge_index).argmax(-1) == y).double()
                for question in (0, 1):
                    right[question].append(hit[asked == question])
        own, neighbours = (100 * torch.cat(hits).mean().item() for hits in right)
        print(f"{name}: own symbol {own:.1f} %, most of the neighbours' {neighbours:.1f} %", flush=True)
    if args.figure:
        draw(args.figure, curves)


def draw(path: str, curves: dict[str, list[float]]) -> None:
    """Learning curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    for name, curve in curves.items():
        axes.plot(100 * torch.tensor(curve).unfold(0, min(20, len(curve)), 1).mean(-1), label=name)
    axes.axhline(50, color="grey", linestyle=":", label="chance")
    axes.set(xlabel="iteration", ylabel="right answers, %", ylim=(0, 101))
    axes.legend()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
