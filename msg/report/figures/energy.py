"""What an inference costs: stacked bars, and what one gets for it."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

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
    "multiplier_bit": "lightsteelblue",
    "weights": "tab:orange",
    "accumulators": "gold",
    "state": "tab:red",
    "indices": "tab:brown",
    "activations": "tab:gray",
}
_HATCHED = ("weights", "accumulators", "state", "indices", "activations")
_OTHERS = ("black", "dimgray", "darkgreen", "navy", "maroon", "teal")
"""Of kinds that a table or rule of a user's own has."""


def stacked_bars(panels: Mapping[str, Mapping[str, Mapping[str, float]]], shared: bool = False) -> Figure:
    """One panel a table of costs or model, one bar a model or module, stacked by kind.

    Args:
        panels: mJ by panel, bar and kind.
        shared: whether all panels have the same axis of energy, so that their bars compare.
    """
    bars = max(len(panel) for panel in panels.values())
    figure = Figure(figsize=(max(4.0, 0.7 * bars + 2) * len(panels), 4.5), layout="constrained")
    shown: dict[str, Any] = {}
    kinds = dict.fromkeys(kind for panel in panels.values() for parts in panel.values() for kind in parts)
    own = dict(zip([kind for kind in kinds if kind not in _COLOURS], cycle(_OTHERS)))
    tops = [max((sum(parts.values()) for parts in panel.values()), default=0.0) for panel in panels.values()]
    for position, (title, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        bottom = np.zeros(len(panel))
        for kind, colour in (_COLOURS | own).items():
            heights = np.array([parts.get(kind, 0.0) for parts in panel.values()])
            if heights.any():
                hatch = "//" if kind in _HATCHED else None
                drawn = axes.bar(range(len(panel)), heights, bottom=bottom, color=colour, hatch=hatch)
                shown.setdefault(kind.replace("_", " "), drawn)
                bottom += heights
        axes.set_xticks(range(len(panel)), list(panel), rotation=60, ha="right", fontsize=8)
        axes.set(title=title, ylabel="mJ per inference")
        if top := max(tops) if shared else tops[position - 1]:
            axes.set_ylim(0.0, 1.05 * top)
        axes.grid(axis="y", alpha=0.3)
    if shown:
        figure.legend(list(shown.values()), list(shown), loc="outside right upper", fontsize=8)  # pyright: ignore
    return figure


def boundaries(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    dots: Mapping[str, tuple[float, float]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Lines that divide a plane, and where in it something was measured.

    Args:
        lines: points of each line by name; what is under one is shaded a little.
        dots: where each named thing lies.
        xlabel: of the first coordinate, whole numbers.
        ylabel: of the second, from zero.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, line) in enumerate(lines.items()):
        x, y = zip(*line)
        axes.plot(x, y, label=name, color=f"C{number % 10}", linestyle="--" if "memory" in name else "-")
        axes.fill_between(x, y, color=f"C{number % 10}", alpha=0.06, linewidth=0)
    for name, (x, y) in dots.items():
        axes.plot(x, y, "o", color="black", markersize=5)
        axes.annotate(name, (x, y), fontsize=7, textcoords="offset points", xytext=(5, 3))
    axes.set(xlabel=xlabel, ylabel=ylabel, xticks=sorted({x for line in lines.values() for x, _ in line}))
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


class Point(NamedTuple):
    """What was measured at one cost.

    Attributes:
        cost: where it lies.
        values: one a seed.
        name: written beside it.
    """

    cost: float
    values: Sequence[float]
    name: str = ""


def front(series: Mapping[str, Sequence[Point]], xlabel: str, ylabel: str) -> Figure:
    """A line a name, through the means of what was measured at each cost, with their standard deviations.

    The axis of the measure ends ten below its highest mean: what lies further down is not what one chooses among.

    Args:
        series: points of each name; costs stand on a logarithmic axis.
        xlabel: of the costs.
        ylabel: of the measure.
    """
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = figure.add_subplot()
    means = {name: [float(np.mean(point.values)) for point in points] for name, points in series.items()}
    lowest = max(map(max, means.values())) - 10
    for name, points in series.items():
        spreads, costs = [std(point.values) for point in points], [point.cost for point in points]
        drawn = axes.errorbar(costs, means[name], yerr=spreads, label=name, marker="o", markersize=4, capsize=2)
        colour = drawn.lines[0].get_color()
        for point, mean in zip(points, means[name]):
            if point.name and mean > lowest:
                style = {"fontsize": 6, "color": colour, "textcoords": "offset points", "xytext": (3, 3)}
                axes.annotate(point.name, (point.cost, mean), **style)  # pyright: ignore[reportArgumentType]
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], lowest))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
