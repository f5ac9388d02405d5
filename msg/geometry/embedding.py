"""Points whose distances are those of a graph, found in a few seconds."""

from dataclasses import dataclass

import geoopt
import numpy as np
import torch
from torch import Tensor

from msg.manifolds import checks, exp0, family, parse_signature
from msg.manifolds.scaled import rescaled
from msg.manifolds.trigonometry import root

_HYPERBOLIC, _SPHERICAL = 4.0, 2.5
"""Diameter, in radii of curvature, at which a factor begins."""


@dataclass(frozen=True)
class Embedding:
    r"""What :func:`embed` found.

    Attributes:
        points: ``[N, ambient_dim]``, float64.
        manifold: of the points, with scales that were fitted: distances are in edges.
        curvatures: of the factors, :math:`\pm 1/s^2`.
        distortion: :math:`\frac{1}{|P|}\sum_{i<j} |d_M(z_i, z_j)/d_G(i, j) - 1|`.
    """

    points: Tensor
    manifold: geoopt.Manifold
    curvatures: tuple[float, ...]
    distortion: float


def embed(distances: np.ndarray, signature: str, steps: int = 80, lr: float = 0.1) -> Embedding:
    r"""Minimise the mean of :math:`\bigl(\sqrt{\sum_f s_f^2 d_f(z_i, z_j)^2}/d_G(i, j) - 1\bigr)^2` over all pairs, by
    Riemannian Adam in points and in the logarithms of the factors' scales :math:`s_f`.

    All spaces begin alike: with the coordinates of classical scaling, as tangent vectors at the origin; factors of a
    product take them in turn. Nothing is drawn. Curvatures are fitted by scales alone, so that ``L`` is ``H`` here, and
    ``U``, which begins flat, is ``E``.

    Sources: loss and distortion after `Gu et al. 2019, Learning Mixed-Curvature Representations in Product Spaces
    <https://openreview.net/forum?id=HJxeWnCcF7>`_, there of squared distances; `Bécigneul & Ganea 2019, Riemannian
    Adaptive Optimization Methods <https://arxiv.org/abs/1810.00760>`_.

    Args:
        distances: :math:`d_G`, symmetric, finite and positive off the diagonal, ``[N, N]``.
        signature: of the space, such as ``"H4xS4"``.
        steps: of the optimiser.
        lr: of the first, decaying to 0 along a cosine.

    Raises:
        ValueError: for distances that are none, fewer than three points, or a signature that does not parse.
    """
    hops = torch.as_tensor(distances, dtype=torch.float64)
    if hops.dim() != 2 or hops.size(0) != hops.size(1) or len(hops) < 3:
        raise ValueError(f"distances must be a square matrix of at least three points, not {list(hops.shape)}")
    first, second = torch.triu_indices(len(hops), len(hops), 1)
    apart = hops[first, second]
    if not bool((apart.isfinite() & (apart > 0)).all()):
        raise ValueError("distances between points must be finite and positive: take one connected part of the graph")
    spaces = [parse_signature(factor) for factor in signature.replace("×", "x").split("x")]
    logs, points = [], []
    for (space, _), vectors in zip(spaces, _dealt(hops, [dim for _, dim in spaces])):
        scale = _first_scale(family(space).curvature(space), float(hops.max()))
        logs.append(torch.nn.Parameter(torch.tensor(scale, dtype=torch.float64).log()))
        points.append(geoopt.ManifoldParameter(exp0(space, vectors / scale), manifold=space))  # pyright: ignore[reportCallIssue]

    def relative() -> Tensor:
        squares = [
            (2 * log).exp() * family(space).squared_distance(space, z[first], z[second])
            for (space, _), log, z in zip(spaces, logs, points)
        ]
        return root(torch.stack(squares).sum(0)).squeeze(-1) / apart

    optimizer = geoopt.optim.RiemannianAdam([*points, *logs], lr=lr, stabilize=10)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with checks(False):
        for _ in range(steps):
            optimizer.zero_grad()
            (relative() - 1).square().mean().backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            found = float((relative() - 1).abs().mean())
    scaled = [rescaled(space, log.exp()) for (space, _), log in zip(spaces, logs)]
    own = [family(one).curvature(one) for one in scaled]
    placed = [z.detach().as_subclass(Tensor) for z in points]
    manifold = (
        scaled[0] if len(scaled) == 1 else geoopt.ProductManifold(*[(m, z.size(1)) for m, z in zip(scaled, placed)])
    )
    return Embedding(torch.cat(placed, dim=1), manifold, tuple(own), found)


def _first_scale(curvature: float, diameter: float) -> float:
    return diameter / _SPHERICAL if curvature > 0 else diameter / _HYPERBOLIC if curvature < 0 else 1.0


def _dealt(hops: Tensor, dims: list[int]) -> list[Tensor]:
    """Coordinates of classical scaling, largest first, dealt to factors in turn; what there is not is zero."""
    squares = hops.square()
    centred = -(squares - squares.mean(0) - squares.mean(1, keepdim=True) + squares.mean()) / 2
    values, vectors = torch.linalg.eigh(centred)
    total = sum(dims)
    values, vectors = values.flip(0)[:total], vectors.flip(1)[:, :total]
    # a direction that is there begins off zero, a saddle on which it would stay
    coordinates = vectors * values.clamp(min=1e-4).sqrt()
    missing = total - coordinates.size(1)
    coordinates = torch.nn.functional.pad(coordinates, (0, max(missing, 0)))
    hands: list[list[int]] = [[] for _ in dims]
    turn = 0
    for column in range(total):
        while len(hands[turn % len(dims)]) == dims[turn % len(dims)]:
            turn += 1
        hands[turn % len(dims)].append(column)
        turn += 1
    return [coordinates[:, hand] for hand in hands]
