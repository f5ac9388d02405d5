"""Node classification with a manifold-valued spiking network, beside a GCN of the same size.

    python examples/node_classification.py                              # the embedded graph of digits
    python examples/node_classification.py --dataset photo --root DIR   # Amazon Photo, 10/10/80

Everything but the model is the same for both: split, epochs, optimiser, and the choice of the epoch by validation.
"""

import argparse
import copy
import statistics

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.energy import count, report
from msg.gradients import DvM
from msg.neurons import IF
from msg.nn import MSG


def accuracy(model: nn.Module, data: Data, mask: Tensor) -> float:
    """Fraction of the masked nodes whose largest logit is their class."""
    model.eval()
    with torch.no_grad():
        predicted = model(data.x, data.edge_index).argmax(dim=-1)
    return (predicted[mask] == data.y[mask]).double().mean().item()


def train(model: nn.Module, data: Data, epochs: int, lr: float) -> float:
    """Train on the training nodes, keep the weights of the best validation epoch, return their test accuracy."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    best, weights = -1.0, copy.deepcopy(model.state_dict())
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        logits = model(data.x, data.edge_index)
        F.cross_entropy(logits[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
        validation = accuracy(model, data, data.val_mask)
        if validation > best:
            best, weights = validation, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return accuracy(model, data, data.test_mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default=None, help="folder with the raw graphs")
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()

    results: dict[str, list[float]] = {"MSG": [], "GCN": []}
    energy: dict[str, list[float]] = {"MSG": [], "GCN": []}
    for seed in range(args.seeds):
        data = load_graph(args.dataset, root=args.root, seed=seed)
        torch.manual_seed(seed)
        msg = MSG(
            data.num_features,
            data.num_classes,
            manifold=args.manifold,
            num_layers=2,
            timesteps=5,
            neuron=IF(),
            gradient=DvM(),
            step_size=0.1,
            dropout=0.5,
        )
        gcn = GCN(data.num_features, msg.hidden_channels, num_layers=2, out_channels=data.num_classes, dropout=0.5)
        for name, model in (("MSG", msg), ("GCN", gcn)):
            results[name].append(train(model, data, args.epochs, lr=0.01))
            with torch.no_grad(), count(model.eval()) as ops:
                model(data.x, data.edge_index)
            energy[name].append(report(ops).energy_mj())

    print(msg)
    for name, values in results.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        mj = statistics.mean(energy[name])
        print(f"{name}: test accuracy {100 * statistics.mean(values):.2f} ± {100 * spread:.2f} %, {mj:.4f} mJ")


if __name__ == "__main__":
    main()
