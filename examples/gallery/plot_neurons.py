"""
Neurons under one current
=========================

A neuron is ``spikes, state = neuron(current, state)``: a loop of your own shows all that
happens in it.
"""

import torch
from matplotlib.figure import Figure

from msg.neurons import ALIF, IF, LIF

LENGTH = 60
NEURONS = {
    "IF, subtract": IF(threshold=1.0),
    "IF, to zero": IF(threshold=1.0, reset="zero"),
    "LIF, tau 5": LIF(tau=5.0, threshold=1.0),
    "ALIF": ALIF(threshold=1.0, tau=5.0, tau_adaptation=40.0, beta=20.0),
}

current = torch.zeros(LENGTH, 1)
current[:40] = 0.3  # and then silence

# %%
# The same current of 0.3 for forty steps; a red stroke is a spike. ALIF scales its
# current by 1 - exp(-dt / tau), so it is given eight times as much; its threshold rises
# with each spike, and its spikes become rarer.

figure = Figure(figsize=(8, 6), layout="constrained")
panels = figure.subplots(len(NEURONS), 1, sharex=True)
for axes, (name, neuron) in zip(panels, NEURONS.items()):
    drive = 8 * current if name == "ALIF" else current
    state, potentials, fired = None, [], []
    for step in range(LENGTH):
        spikes, state = neuron(drive[step], state)
        potentials.append(float(state if isinstance(state, torch.Tensor) else state[0]))
        if bool(spikes):
            fired.append(step)
    axes.plot(potentials, linewidth=1.2)
    axes.vlines(
        fired, 0.85, 0.97, color="C3", linewidth=1.2, transform=axes.get_xaxis_transform()
    )
    axes.axhline(1.0, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(ylabel=name, ylim=(-0.4, 1.3 * max(1.0, *potentials)))
    print(f"{name}: {len(fired)} spikes, at steps {fired}")
panels[-1].set_xlabel("step")
