"""
Features as spikes
==================

Features are a constant current unless they are a train of spikes. Three encoders make one, shown on one digit of 8 x 8
pixels.
"""
# sphinx_gallery_thumbnail_number = 2

from matplotlib.figure import Figure

from msg.datasets import load_graph
from msg.nn import BernoulliEncoder, LatencyEncoder, PopulationEncoder
from msg.report.figures import raster

TIMESTEPS = 40

data = load_graph("digits")
digit = data.x[:1]
trains = {
    "by chance": BernoulliEncoder(seed=0)(digit, TIMESTEPS),
    "by time to first spike": LatencyEncoder()(digit, TIMESTEPS),
    "by place": PopulationEncoder(fields=4, low=0.0, high=1.0)(digit, TIMESTEPS),
}

# %%
# A row a neuron, a stroke a spike. The first fires the more often the brighter the pixel, the second the earlier, once;
# the third has four neurons a pixel, each for another brightness.

figure = raster({title: train[:, 0].numpy() for title, train in trains.items()})

# %%
# What the pixels look like from the spikes alone: their number, or the time of the only one.

figure = Figure(figsize=(8, 2.9), layout="constrained")
late = trains["by time to first spike"][:, 0]
pictures = {
    "pixels": digit[0],
    "number of spikes": trains["by chance"][:, 0].sum(0),
    "how early": (TIMESTEPS - late.argmax(0)) * late.amax(0),
}
for axes, (title, values) in zip(figure.subplots(1, 3), pictures.items()):
    axes.imshow(values.view(8, 8).numpy(), cmap="gray_r")
    axes.set(title=title, xticks=[], yticks=[])
