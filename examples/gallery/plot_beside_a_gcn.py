"""
Beside a GCN
============

Two models under one budget: the same split, epochs, optimiser and choice of the epoch.
Whatever else differs is the model.
"""

import torch
from matplotlib.figure import Figure
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.energy import count, report
from msg.nn import MSG
from msg.training import Budget, NodeClassification, fit

EPOCHS = 100

data = load_graph("digits", split="random:10/10/80", seed=0)
torch.manual_seed(0)
models = {
    "MSG": MSG(
        data.num_features,
        data.num_classes,
        manifold="H32",
        num_layers=2,
        timesteps=5,
        dropout=0.5,
    ),
    "GCN": GCN(
        data.num_features, 32, num_layers=2, out_channels=data.num_classes, dropout=0.5
    ),
}
results = {
    name: fit(model, NodeClassification(data), Budget(epochs=EPOCHS))
    for name, model in models.items()
}

# %%
# The curves. One seed says little: ``msg train --dataset digits`` trains five of each,
# and the GCN is ahead by 1.6 points.

figure = Figure(figsize=(9, 3.5), layout="constrained")
losses, accuracies = figure.subplots(1, 2)
for name, result in results.items():
    losses.plot([row.loss for row in result.history], label=name)
    accuracies.plot(
        [row.val for row in result.history],
        label=f"{name}, test {result.test.metric:.3f}",
    )
losses.set(xlabel="epoch", ylabel="training loss")
accuracies.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
for axes in (losses, accuracies):
    axes.legend()
    axes.grid(alpha=0.3)

# %%
# What one inference of each costs, counted by the same rules and priced by Horowitz's
# table, with memory and without.

for name, model in models.items():
    with torch.no_grad(), count(model.eval()) as ops:
        model(data.x, data.edge_index)
    priced = report(ops)
    arithmetic, both = priced.energy_mj(), priced.energy_mj(memory=True)
    print(f"{name}: {arithmetic:.4f} mJ, with memory {both:.4f} mJ")
