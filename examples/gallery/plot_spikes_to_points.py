"""
From spikes to points
=====================

What a network does between features and logits: neurons fire, and their mean currents
move each node from the origin of a manifold to where it is classified.
"""
# sphinx_gallery_thumbnail_number = 2

import torch
from matplotlib.figure import Figure

import msg
from msg.datasets import load_graph
from msg.geometry import node_trajectories, plot_embedding
from msg.manifolds import log0
from msg.neurons import LIF
from msg.nn import MSG
from msg.report.figures import embedding, principal_plane
from msg.training import Budget, NodeClassification, fit, watching

EPOCHS = 60

data = load_graph("digits", split="random:10/10/80", seed=0)
torch.manual_seed(0)
model = MSG(
    data.num_features,
    data.num_classes,
    manifold="H16",
    timesteps=30,
    neuron=LIF(tau=20.0, threshold=3.0),
)
result = fit(model, NodeClassification(data), Budget(epochs=EPOCHS))
print(f"test accuracy {result.test.metric:.3f}")

# %%
# Three nodes, a zero, a one and a two, seen step by step: a stroke a spike, a row a
# neuron, and below the potential of the neuron of each node that fires most.

nodes = [int((data.y == digit).nonzero()[0]) for digit in (0, 1, 2)]
with msg.record(model.eval(), nodes=nodes) as recording:
    model(data.x, data.edge_index)
figure = recording.figure(potentials=True)

# %%
# All nodes in the Poincaré disk, coloured by digit, and the way of the three from the
# centre, one geodesic a layer. The disk shows the two principal directions of sixteen.

with torch.no_grad(), watching(model) as seen:
    model(data.x, data.edge_index)
ways = node_trajectories(model, data.x, data.edge_index, nodes=torch.tensor(nodes))
figure = plot_embedding(model.path.manifold, seen.points[0][1], data.y, ways)

# %%
# Both in one picture: spikes of the first layer's neurons of these nodes, and where all
# nodes end.

points = log0(model.path.manifold, seen.points[0][1]).numpy()
figure = Figure(figsize=(7.2, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
step, neuron = recording[0].spikes.flatten(1).numpy().nonzero()
left.scatter(
    step + 1,
    neuron,
    c=neuron // model.hidden_channels,
    cmap="tab10",
    vmin=0,
    vmax=9,
    marker="|",
    s=25,
)
left.set(
    title="spikes of three nodes", xlabel="time step", ylabel="neuron", ylim=(48, -1)
)
embedding(right, principal_plane(points), data.y.numpy(), "disk")
