"""Link prediction by distance on a manifold, on a split that leaks nothing.

    python examples/link_prediction.py                              # the embedded graph of digits
    python examples/link_prediction.py --dataset photo --root DIR --manifold S32

No edge, reverse edge or negative pair is shared between training, validation and test, and messages pass over training
edges alone. Training negatives are drawn anew in every epoch.
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from msg.datasets import LinkSplit, link_split, load_graph, sample_negatives
from msg.nn import MSG, FermiDirac


class ByDistance(nn.Module):
    """A spiking encoder on a manifold; pairs are scored by their distance."""

    def __init__(self, in_channels: int, manifold: str):
        super().__init__()
        self.encoder = MSG(in_channels, None, manifold=manifold, num_layers=2, timesteps=5, step_size=0.1)
        self.decoder = FermiDirac(self.encoder.manifold)

    def forward(self, data: Data, pairs: Tensor) -> Tensor:
        return self.decoder(self.encoder(data.x, data.edge_index), pairs)


class ByProduct(nn.Module):
    """The baseline: a GCN of the same width and depth; pairs are scored by their inner product."""

    def __init__(self, in_channels: int, hidden_channels: int):
        super().__init__()
        self.encoder = GCN(in_channels, hidden_channels, num_layers=2)

    def forward(self, data: Data, pairs: Tensor) -> Tensor:
        z = self.encoder(data.x, data.edge_index)
        return (z[pairs[0]] * z[pairs[1]]).sum(dim=-1)


def auc(model: nn.Module, data: Data) -> float:
    """Area under the ROC curve of the labelled pairs."""
    model.eval()
    with torch.no_grad():
        score = model(data, data.edge_label_index)
    return float(roc_auc_score(data.edge_label, score))


def train(model: nn.Module, split: LinkSplit, epochs: int, lr: float, seed: int) -> float:
    """Train, keep the weights of the best validation epoch, return their test AUC."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    positives = split.train.edge_label_index[:, split.train.edge_label == 1]
    count = positives.size(1)
    best, weights = -1.0, copy.deepcopy(model.state_dict())
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        negatives = sample_negatives(split.train.num_nodes, split.train.excluded, count, generator)
        logits = model(split.train, torch.cat([positives, negatives], dim=1))
        labels = torch.cat([torch.ones(count), torch.zeros(count)]).to(logits.dtype)
        F.binary_cross_entropy_with_logits(logits, labels).backward()
        optimizer.step()
        validation = auc(model, split.val)
        if validation > best:
            best, weights = validation, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return auc(model, split.test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default=None, help="folder with the raw graphs")
    parser.add_argument("--manifold", default="H32")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    data = load_graph(args.dataset, root=args.root)
    split = link_split(data, "link:85/5/10", seed=args.seed)
    torch.manual_seed(args.seed)
    msg = ByDistance(data.num_features, args.manifold)
    gcn = ByProduct(data.num_features, msg.encoder.hidden_channels)
    for name, model in (("MSG", msg), ("GCN", gcn)):
        print(f"{name}: test AUC {100 * train(model, split, args.epochs, lr=0.01, seed=args.seed):.2f} %")


if __name__ == "__main__":
    main()
