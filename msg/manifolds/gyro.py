r"""Means and hyperplanes in the κ-stereographic model (:class:`geoopt.Stereographic` and its subclasses), for any sign
of :math:`\kappa`: what networks of gyrovector spaces are made of besides the maps at the origin.

Source: `Bachmann, Bécigneul, Ganea 2020, Constant Curvature Graph Convolutional Networks
<https://arxiv.org/abs/1911.05076>`_ (ICML); hyperplanes as in `Ganea, Bécigneul, Hofmann 2018, Hyperbolic Neural
Networks <https://arxiv.org/abs/1805.09112>`_.
"""

from typing import Any

import geoopt
import torch
from torch import Tensor

from msg.kernels.constants import TINY
from msg.manifolds.lookup import family
from msg.manifolds.stereographic import inside
from msg.manifolds.trigonometry import arcsinc, squared_norm


def _kappa(manifold: geoopt.Manifold) -> Tensor:
    if not isinstance(manifold, geoopt.Stereographic):
        raise TypeError(
            f"gyrovectors are points of the κ-stereographic model, not of {type(manifold).__name__}: use 'U' or 'P'"
        )
    family(manifold)  # checks the curvature
    return manifold.k.double()


def gyromidpoint(manifold: geoopt.Stereographic, x: Tensor, weights: Any) -> Tensor:
    r"""Weighted means of points, one for each row of weights:

    .. math::
        m_i = \tfrac12 \otimes_\kappa \frac{\sum_j w_{ij}\lambda_j x_j}{\sum_j w_{ij}(\lambda_j - 1)}, \qquad
        \lambda_j = \frac{2}{1 + \kappa|x_j|^2},

    computed as :math:`\bar s / (s_0 + \sqrt{s_0^2 + \kappa|\bar s|^2})` from the numerator :math:`\bar s` and the
    denominator :math:`s_0`: the same, but never divided by zero, and smooth where :math:`\kappa` changes sign. On a
    sphere (:math:`\kappa > 0`) the quotient means two points, opposite to each other, of which the paper takes the one
    with the smaller sum of distances; here it is the one that the mean of the points in the space around the sphere
    points to, which is the same for points of one hemisphere. Means are kept inside :func:`~msg.manifolds.max_radius`.

    Args:
        manifold: of the points, of any curvature.
        x: points.
        weights: whatever has ``weights.matmul(x)``: a tensor ``[M, N]`` or a :class:`~msg.graph.SparseMatrix`, in
            float64. A row's scale does not matter; its weights should not be negative.

    Shapes:
        ``x``: ``[N, d]``; returns ``[M, d]`` in float64.

    Raises:
        TypeError: for another kind of manifold.
    """
    k, x = _kappa(manifold), x.double()
    factor = 2 / (1 + k * squared_norm(x))
    total = weights.matmul(torch.cat([factor - 1, factor * x], dim=-1))
    first, rest = total[..., :1], total[..., 1:]
    squared = k * squared_norm(rest)
    length = (first.square() + squared).clamp(min=TINY).sqrt()
    # beyond the equator s_0 and the root cancel
    back = first < 0
    ahead = (torch.where(back, 0.0, first) + length).clamp(min=TINY)
    behind = squared / (length - torch.where(back, first, 0.0)).clamp(min=TINY)
    return inside(k, rest / torch.where(back, behind.clamp(min=TINY), ahead))


def gyroplane_logits(manifold: geoopt.Stereographic, x: Tensor, points: Tensor, normals: Tensor) -> Tensor:
    r"""Signed distances to hyperplanes, times the length of their normals: logits of classes,

    .. math::
        \ell_c(x) = \frac{\lambda_{p_c}|a_c|}{\sqrt{|\kappa|}} \arcsin_\kappa
        \frac{2\sqrt{|\kappa|}\langle z, a_c\rangle}{(1 + \kappa|z|^2)|a_c|}, \qquad z = (-p_c) \oplus_\kappa x,

    with :math:`\arcsin_\kappa` the inverse of sine (:math:`\kappa > 0`) or of hyperbolic sine, and
    :math:`4\langle x - p_c, a_c\rangle` where :math:`\kappa = 0`. One matrix product for all classes: the ``z`` are not
    made.

    Args:
        manifold: of the points, of any curvature.
        x: points that are classified.
        points: one on each hyperplane, :math:`p_c`.
        normals: of the hyperplanes, :math:`a_c`, coordinates of the chart.

    Shapes:
        ``x``: ``[N, d]``; ``points``, ``normals``: ``[C, d]``; returns ``[N, C]`` in float64.

    Raises:
        TypeError: for another kind of manifold.
    """
    k, x, p, a = _kappa(manifold), x.double(), points.double(), normals.double()
    x2, p2, a2, pa = squared_norm(x), squared_norm(p).t(), squared_norm(a).t(), (p * a).sum(-1)
    # <z, a> times the denominator of the Möbius sum, which cancels against that of 1 + κ|z|²
    inner = (1 + k * p2) * (x @ a.t()) - (1 + 2 * k * (x @ p.t()) - k * x2) * pa
    # a factor of the chart vanishes at the rim of the ball, where no point inside the radius bound lies
    sine = 2 * inner / ((1 + k * p2) * (1 + k * x2))
    return 2 / (1 + k * p2) * sine * arcsinc(k * sine.square() / a2.clamp(min=TINY))
