"""
How exact is a gradient?
========================

Every rule simulates the same spikes and differentiates something else. Here the gradient
of each is compared with that of exact backpropagation through time (with the same
surrogate derivative), layer by layer, as the simulation becomes longer.
"""

import torch
from matplotlib.figure import Figure

from msg.datasets import load_graph
from msg.gradients import OTTT, DvM, RateBackprop, SurrogateBPTT
from msg.neurons import LIF
from msg.nn import MSG
from msg.training import NodeClassification, gradient_alignment

TIMESTEPS = [1, 2, 4, 8, 16]
RULES = {"DvM": DvM(), "OTTT": OTTT(), "RateBackprop": RateBackprop()}

data = load_graph("digits", split="random:10/10/80", seed=0)
task = NodeClassification(data)
cosines = {name: [] for name in RULES}
for name, rule in RULES.items():
    for timesteps in TIMESTEPS:
        torch.manual_seed(0)
        model = MSG(
            64,
            10,
            manifold="H16",
            timesteps=timesteps,
            neuron=LIF(threshold=0.5),
            gradient=rule,
        )
        cosines[name].append(gradient_alignment(model, task, exact=SurrogateBPTT()))

# %%
# One panel a layer. The last one moves the point itself and nothing above it fires, so
# all rules agree there. DvM leaves out what a layer does through its spikes, on purpose:
# it is a partial gradient, not an approximation that gets better with time.

figure = Figure(figsize=(9, 3.2), layout="constrained")
for layer, axes in enumerate(figure.subplots(1, 3, sharey=True)):
    for name, values in cosines.items():
        axes.plot(
            TIMESTEPS,
            [row[layer] for row in values],
            marker="o",
            markersize=4,
            label=name,
        )
    axes.set(
        title=f"convolution {layer + 1}",
        xlabel="time steps",
        xscale="log",
        xticks=TIMESTEPS,
        xticklabels=TIMESTEPS,
    )
    axes.minorticks_off()
    axes.grid(alpha=0.3)
figure.axes[0].set_ylabel("cosine with exact BPTT")
figure.axes[0].legend()

for name, values in cosines.items():
    print(
        f"{name:13s}",
        " ".join(f"{value:.3f}" for value in values[-1]),
        f"at {TIMESTEPS[-1]} steps",
    )
