"""How reports look: aligned text or Markdown, and stacked bars."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

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


def number(value: int) -> str:
    """With thousands separated."""
    return f"{value:,}"


def energy(value: float) -> str:
    """Millijoules, three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation of fractions, in percent."""
    if not values:
        return "–"
    return f"{100 * statistics.fmean(values):.2f} ± {100 * _spread(values):.2f}"


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def heading(text: str, markdown: bool) -> str:
    """A title."""
    return f"## {text}" if markdown else f"{text}\n{'=' * len(text)}"


def table(rows: Sequence[Sequence[str]], markdown: bool) -> str:
    """Rows of text, the first a header, the first column aligned to the left."""
    if markdown:
        rule = ["---", *["---:"] * (len(rows[0]) - 1)]
        return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def stacked_bars(panels: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """One panel a table of costs, one bar a model or module, stacked by kind.

    Args:
        panels: mJ by panel, bar and kind.
    """
    bars = max(len(panel) for panel in panels.values())
    figure = Figure(figsize=(max(4.0, 0.7 * bars + 2) * len(panels), 4.5), layout="constrained")
    shown: dict[str, object] = {}
    for position, (title, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        bottom = [0.0] * len(panel)
        for kind in _COLOURS:
            heights = [parts.get(kind, 0.0) for parts in panel.values()]
            if any(heights):
                hatch = "//" if kind in ("weights", "state", "indices", "activations") else None
                drawn = axes.bar(range(len(panel)), heights, bottom=bottom, color=_COLOURS[kind], hatch=hatch)
                shown.setdefault(kind.replace("_", " "), drawn)
                bottom = [low + height for low, height in zip(bottom, heights)]
        axes.set_xticks(range(len(panel)), list(panel), rotation=60, ha="right", fontsize=8)
        axes.set(title=title, ylabel="mJ per inference")
        axes.grid(axis="y", alpha=0.3)
    if shown:
        figure.legend(list(shown.values()), list(shown), loc="outside right upper", fontsize=8)  # pyright: ignore
    return figure


def points(series: Mapping[str, Sequence[tuple[float, Sequence[float]]]], xlabel: str, ylabel: str) -> Figure:
    """A line a name, through the means of what was measured at each cost, with their standard deviations.

    The axis of the measure ends ten below its highest mean: what lies further down is not what one chooses among.

    Args:
        series: costs, on a logarithmic axis, with what each seed gave.
        xlabel: of the costs.
        ylabel: of the measure.
    """
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, pairs in series.items():
        means = [statistics.fmean(values) for _, values in pairs]
        spreads = [_spread(values) for _, values in pairs]
        axes.errorbar([cost for cost, _ in pairs], means, yerr=spreads, label=name, marker="o", markersize=4, capsize=2)
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    best = max(statistics.fmean(values) for pairs in series.values() for _, values in pairs)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], best - 10))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
