"""When neurons fired: a row a neuron, a dot a spike."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def raster(spikes: Mapping[str, np.ndarray], potentials: Mapping[str, np.ndarray] | None = None) -> Figure:
    """One panel a layer, all over the same steps; below it what potentials did, where they are given.

    Args:
        spikes: trains ``[T, n]`` by title; whatever is not zero is a dot.
        potentials: ``[T, m]`` by the same titles, a line each.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if not spikes:
        raise ValueError("nothing to draw: give the train of one layer or more")
    shown = potentials or {}
    figure = Figure(figsize=(1.0 + 3.5 * len(spikes), 5.5 if shown else 3.5), layout="constrained")
    rows = figure.subplots(2 if shown else 1, len(spikes), squeeze=False, sharex="col")
    for column, (title, train) in enumerate(spikes.items()):
        step, neuron = np.nonzero(train)
        axes = rows[0][column]
        axes.plot(step + 1, neuron, "|" if train.shape[1] <= 100 else ",", color="C0", markersize=4)
        axes.set(title=title, ylabel="neuron" if column == 0 else "", xlim=(0.5, len(train) + 0.5))
        axes.set_ylim(train.shape[1] - 0.5, -0.5)
        if title in shown:
            rows[1][column].plot(np.arange(1, len(train) + 1), shown[title], linewidth=1)
            rows[1][column].set_ylabel("potential" if column == 0 else "")
        elif shown:
            rows[1][column].set_visible(False)
        rows[-1][column].set_xlabel("step")
    return figure
