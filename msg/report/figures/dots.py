"""What every seed gave: a row a name, a dot a seed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Dots:
    """One row of a panel.

    Attributes:
        label: beside it.
        values: one a dot; none where nothing was measured.
        group: rows of a group share a colour.
        faint: paler, for what stands behind.
    """

    label: str
    values: Sequence[float]
    group: str = ""
    faint: bool = False


def dots(panels: Mapping[str, Sequence[Dots]], xlabel: str) -> Figure:
    """One panel a question, all with the same rows in the same order; a line marks the mean of each row.

    Args:
        panels: rows by title.
        xlabel: of all.
    """
    first = next(iter(panels.values()))
    groups = list(dict.fromkeys(row.group for row in first))
    figure = Figure(figsize=(2.0 + 3.0 * len(panels), 1.4 + 0.3 * len(first)), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()):
        for place, row in enumerate(rows):
            if not row.values:
                continue
            colour, alpha = f"C{groups.index(row.group) % 10}", 0.3 if row.faint else 0.8
            axes.plot(row.values, [place] * len(row.values), "o", color=colour, alpha=alpha, markersize=4)
            axes.plot(statistics.fmean(row.values), place, "|", color=colour, markersize=14, markeredgewidth=2)
        axes.set(title=title, xlabel=xlabel, yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticklabels([row.label for row in rows], fontsize="small")
        axes.grid(alpha=0.3)
    return figure
