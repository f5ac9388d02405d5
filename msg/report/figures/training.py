"""How models were trained, and where the nodes ended up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msg.report.figures.embedding import Chart, embedding


@dataclass(frozen=True)
class Curve:
    """One training, epoch by epoch.

    Attributes:
        label: of the model; trainings with the same label share a colour.
        epochs: numbers of the epochs.
        loss: training loss of each.
        val_loss: validation loss of each.
        val: validation metric of each.
        best: the epoch that was selected, and its metric.
    """

    label: str
    epochs: Sequence[int]
    loss: Sequence[float]
    val_loss: Sequence[float]
    val: Sequence[float]
    best: tuple[int, float]


def training(
    curves: Sequence[Curve], metric: str, plane: np.ndarray, labels: np.ndarray, chart: Chart = "plane"
) -> Figure:
    """Losses and validation metric of all trainings, and the embedding of one model.

    Args:
        curves: the trainings.
        metric: its name.
        plane: nodes as tangent vectors, see :func:`embedding`.
        labels: classes ``[N]``, shown as colours.
        chart: where they are drawn.
    """
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    _curves(figure.add_subplot(1, 3, 1), figure.add_subplot(1, 3, 2), curves, metric)
    projection = {"projection": "3d"} if chart == "sphere" else {}
    embedding(figure.add_subplot(1, 3, 3, **projection), plane, labels, chart)
    return figure


def _curves(losses: Axes, metrics: Axes, curves: Sequence[Curve], metric: str) -> None:
    colours = {label: f"C{number}" for number, label in enumerate(dict.fromkeys(curve.label for curve in curves))}
    shown: set[str] = set()
    for curve in curves:
        style = {"color": colours[curve.label], "alpha": 0.8, "linewidth": 1.2}
        label = None if curve.label in shown else curve.label
        shown.add(curve.label)
        losses.plot(curve.epochs, curve.loss, label=label, **style)
        losses.plot(curve.epochs, curve.val_loss, linestyle=":", **style)
        metrics.plot(curve.epochs, curve.val, label=label, **style)
        metrics.plot(*curve.best, marker="o", markersize=4, color=style["color"])
    losses.set(xlabel="epoch", ylabel="loss", title="training (solid) and validation (dotted) loss")
    metrics.set(xlabel="epoch", ylabel=metric.replace("_", "-"), title="validation; dot: epoch selected")
    for axes in (losses, metrics):
        axes.grid(alpha=0.3)
        axes.legend()
