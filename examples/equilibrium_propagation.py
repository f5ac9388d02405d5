"""Equilibrium propagation on graphs: its theorem as a figure, and node classification beside backpropagation.

    python examples/equilibrium_propagation.py --figure updates.png      # both sides of the theorem
    python examples/equilibrium_propagation.py                           # the embedded graph of digits
    python examples/equilibrium_propagation.py --dataset cora --root DIR --split public
    python examples/equilibrium_propagation.py --dataset disease --manifold H16 --steps 40 --nudged-steps 40

The network, its first weights, the budget and the choice of the epoch by validation are the same for both rules.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch_geometric.nn import GCN
from torch_geometric.utils import to_undirected

from msg.datasets import load_graph
from msg.gradients import EquilibriumPropagation, SettlingBPTT, SettlingSystem, equilibrium_updates, relative_rmse
from msg.manifolds import exp0, squared_distance
from msg.nn import ConvergentGNN, RiemannianConvergentGNN
from msg.training import Budget, NodeClassification, fit

BETAS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]


def toy_networks() -> dict[str, tuple[SettlingSystem, Callable[[Tensor], Tensor]]]:
    """Systems and losses in float64: 10-50-5 tanh without edges, and one point a node on a ring of 20 nodes."""
    torch.manual_seed(0)
    x, y = torch.rand(20, 10).double(), torch.rand(20, 5).double()
    no_edges = torch.empty(2, 0, dtype=torch.long)
    flat = ConvergentGNN(10, 5, hidden_channels=50, out_activation="tanh").double()
    toys = {"10-50-5 tanh": (flat.system(x, no_edges), lambda output: (output - y).square().sum() / 2)}
    nodes = torch.arange(20)
    ring = to_undirected(torch.stack([nodes, nodes.roll(1)]))
    for signature in ("H8", "S8", "H4xS4"):
        model = RiemannianConvergentGNN(10, None, signature).double()
        target = exp0(model.manifold, torch.randn(20, 8).double() / 3)

        def loss(z: Tensor, manifold=model.manifold, target=target) -> Tensor:
            return squared_distance(manifold, z, target).sum() / 2

        toys[signature] = (model.system(2 * x - 1, ring), loss)
    return toys


def draw_updates(path: str) -> None:
    """Updates of the first toy network, and how far the two methods are apart for each beta, on all of them."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (system, loss) in toy_networks().items():
        pairs = {beta: equilibrium_updates(system, loss, EquilibriumPropagation(beta, steps=80)) for beta in BETAS}
        errors = [relative_rmse(*pairs[beta]) for beta in BETAS]
        print(f"{name:<13}", *(f"{beta:g}: {error:.1e} " for beta, error in zip(BETAS, errors)))
        right.loglog(BETAS, errors, marker="o", markersize=4, label=name)
        if name == "10-50-5 tanh":
            ep, bptt = (updates[:12].cumsum(0) for updates in pairs[0.01])
            for column in bptt[-1].abs().topk(6).indices:
                left.plot(bptt[:, column], color="0.6", linewidth=4)
                left.plot(ep[:, column], color="tab:blue", linestyle="--")
    left.set(xlabel="sweep t", ylabel="sum of updates", title="backpropagation (grey), EP at β = 0.01 (dashed)")
    right.loglog(BETAS, BETAS, color="0.6", linestyle=":", label="slope 1")
    right.set(xlabel="β", ylabel="relative RMSE", title="distance between the two")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def classify(args: argparse.Namespace) -> None:
    """Train by both rules, and a GCN of the same size, and print accuracy over seeds."""
    rules = {
        "EP": EquilibriumPropagation(args.beta, args.nudged_steps),
        "EP, symmetric": EquilibriumPropagation(args.beta, args.nudged_steps, symmetric=True),
        "BPTT": SettlingBPTT(),
        "GCN": None,
    }
    budget = Budget(args.epochs, args.lr, args.weight_decay)
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in rules}
    residuals, seconds = dict.fromkeys(rules, 0.0), dict.fromkeys(rules, 0.0)
    for seed in range(args.seeds):
        data = load_graph(args.dataset, root=args.root, split=args.split, seed=seed)
        sizes = (data.num_features, data.num_classes)
        for name, rule in rules.items():
            torch.manual_seed(seed)
            if rule is None:
                model = GCN(sizes[0], args.hidden, num_layers=2, out_channels=sizes[1], cached=True)
            else:
                shared = {"steps": args.steps, "gradient": rule, "tolerance": args.tolerance}
                if args.manifold:
                    model = RiemannianConvergentGNN(*sizes, args.manifold, **shared)
                else:
                    model = ConvergentGNN(*sizes, args.hidden, **shared)
            trained = fit(model, NodeClassification(data), budget)
            results[name].append((100 * trained.val.metric, 100 * trained.test.metric))
            seconds[name] += sum(row.seconds for row in trained.history) / len(trained.history) / args.seeds
            if rule is not None:
                residuals[name] = max(residuals[name], model.settle(data.x, data.edge_index).residual)
    print(f"{args.dataset}, {data.split}, {args.seeds} seeds, mean ± standard deviation")
    for name, pairs in results.items():
        val, test = zip(*pairs)
        spread = statistics.stdev(test) if len(test) > 1 else 0.0
        print(
            f"{name:<14} validation {statistics.mean(val):.2f}, test {statistics.mean(test):.2f} ± {spread:.2f} %, "
            f"{1000 * seconds[name]:.0f} ms / update, largest residual {residuals[name]:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", default=None, help="draw the theorem into this file, and train nothing")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default=None, help="folder with the raw graphs")
    parser.add_argument("--split", default=None, help="the data set's own by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--manifold", default=None, help="settle on a manifold such as H16")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="at most so many sweeps of the free phase")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="residual at which the free phase ends")
    parser.add_argument("--beta", type=float, default=0.01)
    parser.add_argument("--nudged-steps", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    args = parser.parse_args()
    if args.figure:
        draw_updates(args.figure)
    else:
        classify(args)


if __name__ == "__main__":
    main()
