"""
Neurons under one current
=========================

A neuron is ``spikes, state = neuron(current, state)``: a loop of your own shows all that happens in it.
"""

import torch
from matplotlib.figure import Figure

from msg.neurons import ALIF, IF, LIF

LENGTH = 60
NEURONS = {
    "IF, subtract": IF(threshold=1.0),
    "IF, to zero": IF(threshold=1.0, reset="zero"),
    "LIF, tau 5": LIF(tau=5.0, threshold=1.0),
    "ALIF": ALIF(threshold=1.0, tau=5.0, tau_adaptation=20.0, beta=1.0),
}

current = torch.zeros(LENGTH, 1)
current[:40] = 0.3  # and then silence

# %%
# The same current of 0.3 for forty steps. ALIF scales its current by 1 - exp(-dt / tau), so it is given more; its
# threshold rises with each spike, and its spikes become rarer.

figure = Figure(figsize=(8, 6), layout="constrained")
for axes, (name, neuron) in zip(figure.subplots(len(NEURONS), 1, sharex=True), NEURONS.items()):
    state, potentials, fired = None, [], []
    for step in range(LENGTH):
        spikes, state = neuron(current[step] * (8 if name == "ALIF" else 1), state)
        potentials.append(float(state if isinstance(state, torch.Tensor) else state[0]))
        fired.append(bool(spikes))
    axes.plot(potentials, linewidth=1.2)
    axes.vlines([step for step, spike in enumerate(fired) if spike], 1.15, 1.45, color="C3", linewidth=1.2)
    axes.axhline(1.0, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(ylabel=name, ylim=(-0.2, 1.6))
    print(f"{name}: {sum(fired)} spikes")
figure.axes[-1].set_xlabel("step")
