"""
Where the energy goes
=====================

A report counts what one inference does, module by module, and prices it by a named table.
Here a spiking network, at several firing rates: the threshold of its neurons decides how
often they fire.
"""
# sphinx_gallery_thumbnail_number = 2

import torch
from matplotlib.figure import Figure

from msg.datasets import load_graph
from msg.energy import HOROWITZ_45NM_FP32, HOROWITZ_45NM_INT8, LOIHI, count, report
from msg.neurons import IF
from msg.nn import MSG

THRESHOLDS = [0.1, 0.3, 1.0, 3.0]
TABLES = [HOROWITZ_45NM_FP32, HOROWITZ_45NM_INT8, LOIHI]

data = load_graph("digits")


def counted(threshold):
    """What one inference of an untrained network does, and how often it fires."""
    torch.manual_seed(0)
    model = MSG(
        data.num_features,
        data.num_classes,
        manifold="H32",
        timesteps=15,
        neuron=IF(threshold),
    ).eval()
    with torch.no_grad():
        rates = model.activity(data.x, data.edge_index).rates
        with count(model) as ops:
            model(data.x, data.edge_index)
    return ops, float(torch.stack([rate.mean() for rate in rates]).mean())


operations, rates = zip(*(counted(threshold) for threshold in THRESHOLDS))

# %%
# Every module at threshold 1, by kind of operation and memory.

figure = report(operations[2]).figure()

# %%
# The whole network against its firing rate, arithmetic alone, under three tables: fewer
# spikes save only what spikes cost. On Loihi each spike crosses each edge by itself,
# where the others send one sum a node; what Loihi has no price for is left out of its
# sum.

figure = Figure(figsize=(6, 3.5), layout="constrained")
axes = figure.subplots()
for costs in TABLES:
    axes.plot(
        rates,
        [report(ops, costs).energy_mj() for ops in operations],
        marker="o",
        label=costs.name,
    )
axes.set(xlabel="mean firing rate", ylabel="energy of one inference, mJ", yscale="log")
axes.grid(alpha=0.3)
axes.legend(fontsize=8)
