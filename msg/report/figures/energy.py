"""What an inference costs: stacked bars, and what one gets for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from msg.report.tables import std

_COLOURS = {
    "multiply_accumulate": "tab:blue",
    "accumulate": "tab:cyan",
    "multiply": "tab:purple",
    "comparison": "tab:green",
    "transcendental": "tab:pink",
    "state_update": "tab:olive",
    "weights": "tab:orange",
    "state": "tab:red",
    "indices": "tab:brown",
    "activations": "tab:gray",
    "published formula": "black",
}
_HATCHED = ("weights", "state", "indices", "activations")


def stacked_bars(panels: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """One panel a table of costs, one bar a model or module, stacked by kind.

    Args:
        panels: mJ by panel, bar and kind.
    """
    bars = max(len(panel) for panel in panels.values())
    figure = Figure(figsize=(max(4.0, 0.7 * bars + 2) * len(panels), 4.5), layout="constrained")
    shown: dict[str, Any] = {}
    for position, (title, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        bottom = np.zeros(len(panel))
        for kind, colour in _COLOURS.items():
            heights = np.array([parts.get(kind, 0.0) for parts in panel.values()])
            if heights.any():
                hatch = "//" if kind in _HATCHED else None
                drawn = axes.bar(range(len(panel)), heights, bottom=bottom, color=colour, hatch=hatch)
                shown.setdefault(kind.replace("_", " "), drawn)
                bottom += heights
        axes.set_xticks(range(len(panel)), list(panel), rotation=60, ha="right", fontsize=8)
        axes.set(title=title, ylabel="mJ per inference")
        axes.grid(axis="y", alpha=0.3)
    if shown:
        figure.legend(list(shown.values()), list(shown), loc="outside right upper", fontsize=8)  # pyright: ignore
    return figure


def front(series: Mapping[str, Sequence[tuple[float, Sequence[float]]]], xlabel: str, ylabel: str) -> Figure:
    """A line a name, through the means of what was measured at each cost, with their standard deviations.

    The axis of the measure ends ten below its highest mean: what lies further down is not what one chooses among.

    Args:
        series: costs, on a logarithmic axis, with what each seed gave.
        xlabel: of the costs.
        ylabel: of the measure.
    """
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    means = {name: [float(np.mean(values)) for _, values in pairs] for name, pairs in series.items()}
    for name, pairs in series.items():
        spreads = [std(values) for _, values in pairs]
        costs = [cost for cost, _ in pairs]
        axes.errorbar(costs, means[name], yerr=spreads, label=name, marker="o", markersize=4, capsize=2)
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], max(map(max, means.values())) - 10))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
