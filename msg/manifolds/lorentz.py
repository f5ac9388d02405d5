r"""Operations in the coordinates of the hyperboloid of curvature -1, :math:`\langle x, x\rangle = -1` with
:math:`\langle x, y\rangle = -x_0 y_0 + \langle\bar x, \bar y\rangle`, that need no tangent space.

Source: `Law et al. 2019, Lorentzian Distance Learning for Hyperbolic Representations
<https://proceedings.mlr.press/v97/law19a.html>`_ (ICML) for distance and centroid.
"""

import math
from typing import Any

import torch
from torch import Tensor

from msg.kernels.constants import HYPERBOLIC_RADIUS
from msg.manifolds import one_pass
from msg.manifolds.embedded import join
from msg.manifolds.trigonometry import nonnegative, squared_norm
from msg.manifolds.validation import checked_pairs

NEAREST = 1e-8
"""Squared lengths below it are taken for it where they divide."""


def lift(space: Tensor) -> Tensor:
    r"""The point :math:`(\sqrt{1 + |\bar x|^2}, \bar x)`, pulled back along its geodesic to a radius of at most ten.

    Shapes:
        ``space``: ``[..., d]``; returns ``[..., d + 1]`` in float64.
    """
    space = space.double()
    squared, limit = squared_norm(space), math.sinh(HYPERBOLIC_RADIUS) ** 2
    outside = squared > limit
    space = space * torch.where(outside, limit / torch.where(outside, squared, 1.0), 1.0).sqrt()
    return join((1 + squared.clamp(max=limit)).sqrt(), space)


def lorentz_inner(x: Tensor, y: Tensor) -> Tensor:
    r""":math:`\langle x_i, y_j\rangle` of all pairs.

    Shapes:
        ``x``: ``[N, d + 1]``; ``y``: ``[M, d + 1]``; returns ``[N, M]``.
    """
    return x[:, 1:] @ y[:, 1:].t() - x[:, :1] @ y[:, :1].t()


def lorentz_centroid(x: Tensor, weights: Any) -> Tensor:
    r"""Weighted means of points, one for each row of weights: :math:`m_i = s_i / \sqrt{|\langle s_i, s_i\rangle|}` with
    :math:`s_i = \sum_j w_{ij} x_j`, which minimises :math:`\sum_j w_{ij} d_L(x_j, m_i)^2` for weights that are not
    negative.

    Args:
        x: points.
        weights: whatever has ``weights.matmul(x)``: a tensor ``[M, N]`` or a :class:`~msg.graph.SparseMatrix`, in
            float64. The scale of a row does not matter from weights of 1e-4 in all up; below, it counts as little.

    Shapes:
        ``x``: ``[N, d + 1]``; returns ``[M, d + 1]`` in float64.
    """
    return onto_hyperboloid(weights.matmul(x.double()))


def onto_hyperboloid(total: Tensor) -> Tensor:
    """Sums of points ``[..., d + 1]``, divided by their Lorentzian length."""
    first, rest = total[..., :1], total[..., 1:]
    return lift(rest / (first.square() - squared_norm(rest)).abs().clamp(min=NEAREST).sqrt())


def squared_lorentzian_distance(x: Tensor, y: Tensor) -> Tensor:
    r""":math:`d_L(x, y)^2 = -2 - 2\langle x, y\rangle = 2(\cosh d(x, y) - 1)`, exact for close points.

    Shapes:
        ``x``, ``y``: ``[..., d + 1]``; returns ``[...]`` in float64.
    """
    difference, total = x[..., 1:].double() - y[..., 1:], x[..., 1:].double() + y[..., 1:]
    times = (1 + squared_norm(x[..., 1:].double())).sqrt() + (1 + squared_norm(y[..., 1:].double())).sqrt()
    # x_0 - y_0 without cancellation
    first = (difference * total).sum(-1, keepdim=True) / times
    return nonnegative(squared_norm(difference) - first.square()).squeeze(-1)


def squared_lorentzian_distances(z: Tensor, pairs: Tensor) -> Tensor:
    """:func:`squared_lorentzian_distance` of pairs of rows, without writing these down.

    Shapes:
        ``z``: ``[N, d + 1]``; ``pairs``: ``[2, M]``; returns ``[M]`` in float64.
    """
    pairs = checked_pairs(pairs)

    def by_torch(z: Tensor) -> Tensor:
        first, second = pairs
        return squared_lorentzian_distance(z[first], z[second])

    wide = z.double()
    if one_pass.takes_pairs(wide, pairs):
        return one_pass.squared_chords(wide, pairs, by_torch)
    return by_torch(z)
