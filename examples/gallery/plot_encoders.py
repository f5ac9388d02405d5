"""
Features as spikes
==================

Features are a constant current unless they are a train of spikes. Three encoders make
one, shown on one digit of 8 x 8 pixels.
"""
# sphinx_gallery_thumbnail_number = 2

from matplotlib.figure import Figure

from msg.datasets import load_graph
from msg.nn import BernoulliEncoder, LatencyEncoder, PopulationEncoder
from msg.report.figures import raster

TIMESTEPS = 40

encoders = {
    "by chance": BernoulliEncoder(seed=0),
    "by time to first spike": LatencyEncoder(),
    "by place": PopulationEncoder(fields=4, low=0.0, high=1.0),
}
digit = load_graph("digits").x[0]

# %%
# The third row of pixels: a row a neuron, a stroke a spike. The first encoder fires the
# more often the brighter the pixel, the second the earlier, once; the third has four
# neurons a pixel, each for another brightness.

row = digit[16:24]
print("pixels", row.tolist())
figure = raster(
    {name: encoder(row, TIMESTEPS).numpy() for name, encoder in encoders.items()}
)

# %%
# What the whole digit looks like from the spikes alone: their number, or the time of the
# only one.

often = encoders["by chance"](digit, TIMESTEPS).sum(0)
once = encoders["by time to first spike"](digit, TIMESTEPS)
early = (TIMESTEPS - once.argmax(0)) * once.amax(0)
pictures = {"pixels": digit, "number of spikes": often, "how early": early}
figure = Figure(figsize=(8, 2.9), layout="constrained")
for axes, (title, values) in zip(figure.subplots(1, 3), pictures.items()):
    axes.imshow(values.view(8, 8).numpy(), cmap="gray_r")
    axes.set(title=title, xticks=[], yticks=[])
