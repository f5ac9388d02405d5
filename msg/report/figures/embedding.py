"""Where nodes lie: two directions of a tangent space, drawn on its manifold."""

from collections.abc import Sequence
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


def embedding(
    axes: Any, plane: np.ndarray, labels: np.ndarray, chart: Chart = "plane", lines: Sequence[np.ndarray] = ()
) -> None:
    """Nodes in two directions of the tangent space at the origin, taken to their manifold by the exponential map.

    Args:
        axes: to draw on; with ``projection="3d"`` for the sphere.
        plane: tangent vectors ``[N, 2]``, in units of the radius of curvature.
        labels: classes ``[N]``, shown as colours.
        chart: ``"disk"`` is the Poincaré disk, ``"sphere"`` the sphere, ``"plane"`` the tangent space itself.
        lines: trajectories of some nodes, tangent vectors ``[T, 2]`` each.

    Raises:
        ValueError: for an unknown chart.
    """
    if chart not in _CHARTS:
        raise ValueError(f"unknown chart {chart!r}: use 'plane', 'disk' or 'sphere'")
    step = -(-len(plane) // MOST_POINTS)
    plane, labels = plane[::step], labels[::step]
    place, title = _CHARTS[chart]
    if chart == "sphere":
        u, v = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
        _wireframe(axes, np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v))
    elif chart == "disk":
        axes.set_aspect("equal")
        axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
        axes.set_axis_off()
    else:
        axes.set_aspect("equal", adjustable="datalim")
    _draw(axes, place(plane), labels, [place(line) for line in lines])
    axes.set_title(title)


def torus(axes: Any, angles: np.ndarray, labels: np.ndarray, lines: Sequence[np.ndarray] = ()) -> None:
    """Points of a product of two circles on a torus in space, which keeps angles round it but not distances.

    Args:
        axes: with ``projection="3d"``.
        angles: ``[N, 2]``.
        labels: classes ``[N]``, shown as colours.
        lines: trajectories, angles ``[T, 2]`` each.
    """
    step = -(-len(angles) // MOST_POINTS)
    u, v = np.mgrid[0 : 2 * np.pi : 37j, 0 : 2 * np.pi : 13j]
    _wireframe(axes, *np.moveaxis(_on_torus(np.stack([u, v], axis=-1)), -1, 0), box=(3, 3, 1))
    _draw(axes, _on_torus(angles[::step]), labels[::step], [_on_torus(line) for line in lines])
    axes.view_init(elev=30, azim=15)  # the origin in front, where nodes start
    axes.set_title("nodes on the torus")


def _polar(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.linalg.norm(plane, axis=1, keepdims=True)
    return radius, plane / np.maximum(radius, 1e-12)


def _on_plane(plane: np.ndarray) -> np.ndarray:
    return plane


def _in_disk(plane: np.ndarray) -> np.ndarray:
    radius, unit = _polar(plane)
    return np.tanh(radius / 2) * unit


def _on_sphere(plane: np.ndarray) -> np.ndarray:
    radius, unit = _polar(plane)
    return np.hstack([np.sin(radius) * unit, np.cos(radius)])


def _on_torus(angles: np.ndarray) -> np.ndarray:
    u, v = angles[..., 0], angles[..., 1]
    out = 2 + np.cos(v)
    return np.stack([out * np.cos(u), out * np.sin(u), np.sin(v)], axis=-1)


_CHARTS = {
    "plane": (_on_plane, "nodes, two principal directions"),
    "disk": (_in_disk, "nodes in the Poincaré disk"),
    "sphere": (_on_sphere, "nodes on the sphere"),
}


def _draw(axes: Any, points: np.ndarray, labels: np.ndarray, lines: Sequence[np.ndarray]) -> None:
    style = {"c": labels, "cmap": "tab10" if labels.max() < 10 else "turbo", "s": 6, "linewidths": 0}
    axes.scatter(*points.T, **style, **({"depthshade": False} if points.shape[1] == 3 else {}))
    for line in lines:
        axes.plot(*line.T, color="0.2", linewidth=1.0)
        axes.plot(*line[-1:].T, "o", color="0.2", markersize=3)


def _wireframe(axes: Any, x: np.ndarray, y: np.ndarray, z: np.ndarray, box: tuple[int, int, int] = (1, 1, 1)) -> None:
    axes.plot_wireframe(x, y, z, color="0.85", linewidth=0.5)
    axes.set_box_aspect(box)
    axes.set_axis_off()
