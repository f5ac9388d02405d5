"""Pictures of points on a manifold, and of the way they went there."""

import geoopt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from msg.geometry.classifier import factors
from msg.layers import ManifoldPath
from msg.layers.path import JumpingPath
from msg.manifolds import chart, curvature, log0, move, origin
from msg.report.figures import embedding, principal_plane, torus
from msg.sizes import check_sizes
from msg.training import watching

_MOST = 6
"""Panels of a figure."""


def plot_embedding(
    manifold: geoopt.Manifold, points: Tensor, labels: Tensor | None = None, trajectories: Tensor | None = None
) -> Figure:
    """Draw points where they lie: in the Poincaré disk, on the sphere, in the plane; each factor of a product beside.

    A factor of more than two dimensions is shown in the two principal directions of its logarithms at the origin, which
    keeps distances from there. A product of two circles, ``S1xS1``, is a torus.

    Args:
        manifold: of the points.
        points: ``[N, ambient_dim]``; of more than 5,000 every second, third, ... is shown.
        labels: classes ``[N]``, shown as colours.
        trajectories: ways of some nodes, ``[T, n, ambient_dim]``, drawn as lines; :func:`node_trajectories` makes them.

    Returns:
        A matplotlib figure; ``figure.savefig("points.png")`` keeps it.

    Raises:
        ValueError: for no points, points that do not lie on the manifold, labels of others, or a product of more than
            six factors.
    """
    if points.dim() != 2 or not len(points):
        raise ValueError(f"points must have shape [N, ambient_dim] with at least one, not {list(points.shape)}")
    if trajectories is not None and (trajectories.dim() != 3 or trajectories.size(2) != points.size(1)):
        raise ValueError(
            f"trajectories must have shape [T, n, {points.size(1)}], as points have, not {list(trajectories.shape)}"
        )
    if labels is not None and labels.shape != points.shape[:1]:
        raise ValueError(f"labels must have shape [{len(points)}], one for each point, not {list(labels.shape)}")
    ways = points.new_zeros(0, 0, points.size(1)) if trajectories is None else trajectories
    steps, nodes = ways.shape[:2]
    together = torch.cat([points, ways.reshape(steps * nodes, points.size(1))]).detach().cpu().double()
    parts = factors(manifold, together)
    if len(parts) > _MOST:
        raise ValueError(f"a product of {len(parts)} factors has no picture: draw at most {_MOST} of them")
    colours = np.zeros(len(points), dtype=int) if labels is None else labels.detach().cpu().numpy()
    planes = [_plane(factor, part) for factor, part in parts]

    def split(plane: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        return plane[: len(points)], list(plane[len(points) :].reshape(steps, nodes, 2).swapaxes(0, 1))

    circles = [chart(factor) == "sphere" and plane.shape[1] == 1 for (factor, _), plane in zip(parts, planes)]
    if len(parts) == 2 and all(circles):
        figure = Figure(figsize=(5, 4.5), layout="constrained")
        shown, lines = split(np.hstack(planes))
        torus(figure.add_subplot(projection="3d"), shown, colours, lines)
        return figure
    figure = Figure(figsize=(4.5 * len(parts), 4.5), layout="constrained")
    for number, ((factor, _), plane) in enumerate(zip(parts, planes), start=1):
        kind = chart(factor)
        axes = figure.add_subplot(1, len(parts), number, **({"projection": "3d"} if kind == "sphere" else {}))
        shown, lines = split(np.pad(plane, ((0, 0), (0, 2 - plane.shape[1]))))
        embedding(axes, shown, colours, kind, lines)  # pyright: ignore[reportArgumentType]
    return figure


def _plane(manifold: geoopt.Manifold, z: Tensor) -> np.ndarray:
    """Tangent vectors in units of the radius of curvature, in one or two directions."""
    with torch.no_grad():
        vectors = log0(manifold, z).numpy() * (abs(curvature(manifold)) ** 0.5 or 1.0)
    return vectors if vectors.shape[1] <= 2 else principal_plane(vectors)


def node_trajectories(model: nn.Module, x: Tensor, edge_index: Tensor, nodes: Tensor, substeps: int = 8) -> Tensor:
    """The geodesics that some nodes go along, layer after layer, from the origin to their points.

    Args:
        model: any model with a :class:`~msg.layers.ManifoldPath`, such as :class:`~msg.models.MSG`; run in evaluation
            mode and left so.
        x: features ``[N, F]``.
        edge_index: ``[2, E]``.
        nodes: numbers of ``n`` of them.
        substeps: points on each layer's geodesic.

    Shapes:
        Returns ``[1 + layers * substeps, n, ambient_dim]`` in float64. Of a path all of whose points are kept, the
        trajectory on one factor.

    Raises:
        ValueError: for a model without such a path, or fewer substeps than one.
    """
    check_sizes(substeps=substeps)
    path = next((module for module in model.modules() if isinstance(module, ManifoldPath)), None)
    model.eval()
    with torch.no_grad(), watching(model) as seen:
        model(x, edge_index)
        if path is None or not seen.activities:
            raise ValueError(
                f"{type(model).__name__} has no path on a manifold: use MSG or a model that is made like it"
            )
        manifold = path.factor if isinstance(path, JumpingPath) else path.manifold
        currents = seen.activities[-1][1].currents
        z = origin(manifold, len(nodes), currents[0].size(1), device=currents[0].device)
        points = [z]
        for number, current in enumerate(currents):
            step = path.step(current[nodes], number).double()
            points += [move(manifold, z, step * part / substeps) for part in range(1, substeps + 1)]
            z = points[-1]
        return torch.stack(points)
