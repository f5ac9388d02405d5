"""Pictures of a run: how it was trained, and where the nodes ended up."""

import io
from collections.abc import Sequence

import geoopt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from msg.training.results import Outcome

_MOST_POINTS = 5_000
_COLOURS = ("tab:blue", "tab:orange")


def draw(
    outcomes: Sequence[Outcome], metric: str, tangent: Tensor, labels: Tensor, manifold: geoopt.Manifold | None
) -> Figure:
    """Losses and validation metric of all trainings, and the embedding of one model.

    The embedding shows the two directions in which the tangent read-out is longest: on a hyperbolic space in the
    Poincaré disk, on a spherical one on the sphere, by the exponential map; else in the plane.

    Args:
        outcomes: the trainings.
        metric: its name.
        tangent: nodes as tangent vectors at the origin, ``[N, d]``.
        labels: classes ``[N]``, shown as colours.
        manifold: of the nodes, or ``None``.
    """
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    _draw_curves(figure.add_subplot(1, 3, 1), figure.add_subplot(1, 3, 2), outcomes, metric)
    step = -(-tangent.size(0) // _MOST_POINTS)
    points = principal_plane(tangent)[::step].numpy()
    _draw_embedding(figure, points, labels[::step].numpy(), 0.0 if manifold is None else curvature(manifold))
    return figure


def to_png(figure: Figure) -> bytes:
    """The picture as a PNG file, without a display."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def principal_plane(tangent: Tensor) -> Tensor:
    """Coordinates in the two directions of largest second moment about the origin, which stays where it is.

    Shapes:
        ``tangent``: ``[N, d]``; returns ``[N, 2]``, the second column zero for ``d = 1``.
    """
    directions = torch.linalg.eigh(tangent.T @ tangent).eigenvectors.flip(-1)[:, :2]
    plane = tangent @ directions
    return torch.nn.functional.pad(plane, (0, 2 - plane.size(1)))


def curvature(manifold: geoopt.Manifold) -> float:
    """Sectional curvature of a space of constant curvature; 0 for a product, which has none."""
    if isinstance(manifold, geoopt.Lorentz):
        return -1 / float(manifold.k.detach())
    if isinstance(manifold, geoopt.Sphere):
        return 1.0
    if isinstance(manifold, geoopt.Stereographic):
        return float(manifold.k.detach())
    return 0.0


def _draw_curves(losses: Axes, metrics: Axes, outcomes: Sequence[Outcome], metric: str) -> None:
    shown: set[str] = set()
    for outcome in outcomes:
        style = {"color": _COLOURS[outcome.baseline], "alpha": 0.8, "linewidth": 1.2}
        label = None if outcome.model in shown else outcome.model
        shown.add(outcome.model)
        epochs = [row.epoch for row in outcome.history]
        losses.plot(epochs, [row.loss for row in outcome.history], label=label, **style)
        losses.plot(epochs, [row.val_loss for row in outcome.history], linestyle=":", **style)
        metrics.plot(epochs, [row.val for row in outcome.history], label=label, **style)
        metrics.plot(outcome.best_epoch, outcome.val, marker="o", markersize=4, color=style["color"])
    losses.set(xlabel="epoch", ylabel="loss", title="training (solid) and validation (dotted) loss")
    metrics.set(xlabel="epoch", ylabel=metric.replace("_", "-"), title="validation; dot: epoch selected")
    for axes in (losses, metrics):
        axes.grid(alpha=0.3)
        axes.legend()


def _draw_embedding(figure: Figure, plane: np.ndarray, labels: np.ndarray, kappa: float) -> None:
    radius = np.linalg.norm(plane, axis=1, keepdims=True) * abs(kappa) ** 0.5
    unit = plane * abs(kappa) ** 0.5 / np.maximum(radius, 1e-12)
    palette = {"c": labels, "cmap": "tab10" if labels.max() < 10 else "turbo", "s": 6, "linewidths": 0}
    if kappa > 0:
        axes = figure.add_subplot(1, 3, 3, projection="3d")
        u, v = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
        globe = (np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v))
        axes.plot_wireframe(*globe, color="0.85", linewidth=0.5)  # pyright: ignore[reportAttributeAccessIssue]
        sphere = np.hstack([np.sin(radius) * unit, np.cos(radius)])
        axes.scatter(*sphere.T, depthshade=False, **palette)  # pyright: ignore[reportCallIssue]
        axes.set_box_aspect((1, 1, 1))  # pyright: ignore[reportArgumentType]
        axes.set_axis_off()
        axes.set_title("nodes on the sphere")
        return
    axes = figure.add_subplot(1, 3, 3)
    axes.set_aspect("equal", adjustable="datalim" if kappa == 0 else "box")
    if kappa < 0:
        axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
        axes.scatter(*(np.tanh(radius / 2) * unit).T, **palette)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), title="nodes in the Poincaré disk")
        axes.set_axis_off()
    else:
        axes.scatter(*plane.T, **palette)
        axes.set_title("nodes, two principal directions")
