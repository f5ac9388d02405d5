"""Where nodes lie: two directions of a tangent space, drawn on its manifold."""

from typing import Any, Literal

import numpy as np
from matplotlib.patches import Circle

Chart = Literal["plane", "disk", "sphere"]

MOST_POINTS = 5_000
"""A picture of more nodes shows every second, third, ... of them."""

_WIDE = 512
"""Columns above which two principal directions are found without the matrix of second moments."""


def principal_plane(vectors: np.ndarray) -> np.ndarray:
    """Coordinates in the two directions of largest second moment about the origin, which stays where it is.

    Shapes:
        ``vectors``: ``[N, d]``; returns ``[N, 2]``, the second column zero for ``d = 1``.
    """
    if vectors.shape[1] > _WIDE:
        from scipy.sparse.linalg import svds

        _, _, rows = svds(vectors, k=2, v0=np.ones(min(vectors.shape)))
        directions = rows[::-1].T  # pyright: ignore[reportOptionalSubscript]
    else:
        directions = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :2]
    plane = vectors @ directions
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def embedding(axes: Any, plane: np.ndarray, labels: np.ndarray, chart: Chart = "plane") -> None:
    """Nodes in two directions of the tangent space at the origin, taken to their manifold by the exponential map.

    Args:
        axes: to draw on; with ``projection="3d"`` for the sphere.
        plane: tangent vectors ``[N, 2]``, in units of the radius of curvature.
        labels: classes ``[N]``, shown as colours.
        chart: ``"disk"`` is the Poincaré disk, ``"sphere"`` the sphere, ``"plane"`` the tangent space itself.

    Raises:
        ValueError: for an unknown chart.
    """
    if chart not in ("plane", "disk", "sphere"):
        raise ValueError(f"unknown chart {chart!r}: use 'plane', 'disk' or 'sphere'")
    step = -(-len(plane) // MOST_POINTS)
    plane, labels = plane[::step], labels[::step]
    style = {"c": labels, "cmap": "tab10" if labels.max() < 10 else "turbo", "s": 6, "linewidths": 0}
    radius = np.linalg.norm(plane, axis=1, keepdims=True)
    unit = plane / np.maximum(radius, 1e-12)
    if chart == "sphere":
        _sphere(axes, np.hstack([np.sin(radius) * unit, np.cos(radius)]), style)
    elif chart == "disk":
        axes.set_aspect("equal")
        axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
        axes.scatter(*(np.tanh(radius / 2) * unit).T, **style)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), title="nodes in the Poincaré disk")
        axes.set_axis_off()
    else:
        axes.set_aspect("equal", adjustable="datalim")
        axes.scatter(*plane.T, **style)
        axes.set_title("nodes, two principal directions")


def _sphere(axes: Any, points: np.ndarray, style: dict[str, Any]) -> None:
    u, v = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
    axes.plot_wireframe(np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v), color="0.85", linewidth=0.5)
    axes.scatter(*points.T, depthshade=False, **style)
    axes.set_box_aspect((1, 1, 1))
    axes.set_axis_off()
    axes.set_title("nodes on the sphere")
