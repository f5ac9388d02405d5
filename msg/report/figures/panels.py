"""Diagrams over one quantity, side by side: one panel a question, one colour a name."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_MARKERS = "osD^vPX*<>"


@dataclass(frozen=True)
class Line:
    """One line of a :class:`Panel`.

    Attributes:
        label: shown in the legend.
        x: where it was measured.
        y: what was measured.
        spread: standard deviations of ``y``.
        number: decides colour and marker, so that a name keeps them in every figure.
        faint: dotted and paler, for what is not the main result.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] | None = None
    number: int = 0
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One diagram of :func:`panels`.

    Attributes:
        title: above it.
        lines: in it.
        ylabel: of its axis.
        bottom: where that axis ends; ``None`` where the data do.
        top: the same.
        zero: whether a line marks zero.
    """

    title: str
    lines: Sequence[Line]
    ylabel: str = ""
    bottom: float | None = None
    top: float | None = None
    zero: bool = False


def panels(upper: Sequence[Panel], lower: Sequence[Panel], xlabel: str, note: str) -> Figure:
    """Two rows of diagrams over the same quantity; those of the lower row share their axis and stand under a note.

    A panel whose lines are all empty keeps its place and is not shown.

    Args:
        upper: the first has the legend.
        lower: as many as one likes.
        xlabel: of all.
        note: above the lower row.
    """
    figure = Figure(figsize=(max(11.0, 2.8 * len(lower)), 7), layout="constrained")
    above, below = (figure.add_subfigure(part) for part in figure.add_gridspec(2, 1))
    below.suptitle(note, fontsize="medium")
    for part, row, shared in ((above, upper, False), (below, lower, True)):
        for panel, axes in zip(row, part.subplots(1, len(row), sharey=shared, squeeze=False)[0]):
            _panel(axes, panel, xlabel)
    above.axes[0].legend(fontsize="small")
    return figure


def _panel(axes: Axes, panel: Panel, xlabel: str) -> None:
    for line in panel.lines:
        axes.errorbar(
            line.x,
            line.y,
            line.spread,
            label=line.label,
            color=f"C{line.number % 10}",
            marker=_MARKERS[line.number % len(_MARKERS)],
            markersize=6,
            fillstyle="none",  # lines that agree stay visible
            capsize=3,
            linestyle=":" if line.faint else "-",
            alpha=0.7 if line.faint else 1.0,
        )
    if panel.zero:
        axes.axhline(0, color="0.6", linewidth=0.8)
    ticks = sorted({x for line in panel.lines for x in line.x})
    axes.set(title=panel.title, ylabel=panel.ylabel, xlabel=xlabel, xticks=ticks)
    axes.set_ylim(panel.bottom, panel.top)
    axes.set_visible(bool(ticks))
    axes.grid(alpha=0.3)
