r"""Means of points: the Fréchet mean, which every manifold has, and the closed forms that stand for it on some."""

import warnings
from typing import Any

import geoopt
import torch
from torch import Tensor

from msg.manifolds.gyro import gyromidpoint
from msg.manifolds.lookup import family
from msg.manifolds.lorentz import lorentz_centroid
from msg.manifolds.steps import exp0, log0, move, squared_distance
from msg.manifolds.switch import checks
from msg.manifolds.trigonometry import norm


def centroid(manifold: geoopt.Manifold, x: Tensor, weights: Any) -> Tensor:
    r"""Weighted means in closed form, differentiable, one for each row of weights.

    The arithmetic mean in flat space; :func:`lorentz_centroid` on the hyperboloid; :func:`gyromidpoint` in the
    κ-stereographic model, the Poincaré ball included; on the sphere the mean in the space around it, divided by its
    length; on a product each factor's own. In flat space this is the Fréchet mean. Elsewhere it is for two points of
    equal weight, and near it for points that are close together: use :func:`frechet_mean` for the mean itself.

    Args:
        manifold: of the points.
        x: points.
        weights: whatever has ``weights.matmul(x)``, not negative: a tensor ``[M, N]``, dense or sparse, in float64. A
            row's scale does not matter.

    Shapes:
        ``x``: ``[N, ambient_dim]``; returns ``[M, ambient_dim]`` in float64.

    Raises:
        TypeError: for a manifold without a closed form.
    """
    parts = family(manifold).split(manifold, x.double())
    if len(parts) == 1 and parts[0][0] is manifold:
        return _centroid(manifold, parts[0][1], weights)
    return torch.cat([centroid(factor, part, weights) for factor, part in parts], dim=-1)


def _centroid(manifold: geoopt.Manifold, x: Tensor, weights: Any) -> Tensor:
    if isinstance(manifold, geoopt.Euclidean):
        return weights.matmul(x) / weights.matmul(torch.ones_like(x[:, :1]))
    if isinstance(manifold, geoopt.Lorentz):
        scale = manifold.k.double().sqrt()
        return scale * lorentz_centroid(x / scale, weights)
    if isinstance(manifold, geoopt.Stereographic):
        return gyromidpoint(manifold, x, weights)
    if isinstance(manifold, geoopt.Sphere):
        return torch.nn.functional.normalize(weights.matmul(x), dim=-1)
    raise TypeError(f"no mean in closed form is known for {type(manifold).__name__}: use frechet_mean")


def frechet_mean(
    manifold: geoopt.Manifold,
    x: Tensor,
    weights: Tensor | None = None,
    index: Tensor | None = None,
    num_means: int | None = None,
    rtol: float = 1e-8,
    max_iter: int = 200,
) -> Tensor:
    r"""The point with the least weighted sum of squared distances, of all points or of each group of them:

    .. math:: m_g = \arg\min_m \sum_{i \in g} w_i\, d(m, x_i)^2.

    In flat space the arithmetic mean. Elsewhere Karcher's flow, which goes along the mean logarithm,
    :math:`m \mapsto \exp_m\bigl(t \sum_i w_i \log_m x_i / \sum_i w_i\bigr)`, from :func:`centroid` where there is
    one, with :math:`t \le 1` halved where the sum does not fall. It is the one minimum where curvature is not positive,
    and for points of one open half-sphere; of points all over a sphere it is a local one. Not differentiable: use
    :func:`centroid` in a model.

    Source: `Karcher 1977, Riemannian center of mass and mollifier smoothing <https://doi.org/10.1002/cpa.3160300502>`_.

    Args:
        manifold: of the points, of any family.
        x: points.
        weights: of the points, not negative; ``None``: all alike.
        index: group of each point; ``None``: all are one.
        num_means: number of groups; ``None``: as many as ``index`` names.
        rtol: the flow ends where the mean logarithm is this small beside the root mean square distance.
        max_iter: steps at most; a warning is given where they did not do.

    Shapes:
        ``x``: ``[N, ambient_dim]``; ``weights``, ``index``: ``[N]``; returns ``[M, ambient_dim]`` with ``index``,
        ``[ambient_dim]`` without, in the dtype of ``x``.

    Raises:
        ValueError: for negative weights, sizes that do not fit, or a group without weight.
    """
    if x.dim() != 2:
        raise ValueError(f"points must have shape [N, ambient_dim], not {list(x.shape)}")
    with torch.no_grad():
        vectors = log0(manifold, x, torch.float64)
        groups = x.new_zeros(len(x), dtype=torch.long) if index is None else index
        count = num_means or (int(groups.max()) + 1 if len(groups) else 1)
        share = _shares(x, weights, groups, count)
        points, (rows, dim) = x.double(), vectors.shape
        pattern = torch.stack([groups, torch.arange(rows, device=x.device)])
        # to check its invariants is torch's warning where nobody has said whether to
        matrix = torch.sparse_coo_tensor(pattern, share, (count, rows), check_invariants=False)
        try:
            mean = centroid(manifold, points, matrix)
        except TypeError:
            mean = exp0(manifold, matrix.matmul(vectors))
    with checks(False):
        mean = _karcher(manifold, points, share, groups, mean, dim, rtol, max_iter)
    return (mean[0] if index is None else mean).to(x.dtype)


def _shares(x: Tensor, weights: Tensor | None, groups: Tensor, count: int) -> Tensor:
    """Weights that sum to one in each group, ``[N]``."""
    given = x.new_ones(len(x), dtype=torch.float64) if weights is None else weights.double()
    if given.shape != x.shape[:1] or groups.shape != x.shape[:1]:
        raise ValueError(f"weights and index must have shape [{len(x)}], one for each point")
    if bool((given < 0).any()):
        raise ValueError("weights must not be negative: the sum of squared distances may have no minimum")
    total = given.new_zeros(count).index_add(0, groups, given)
    if not bool((total > 0).all()):
        raise ValueError(f"group {int((total <= 0).nonzero()[0])} has no weight, so it has no mean: leave it out")
    return given / total[groups]


def _karcher(
    manifold: geoopt.Manifold,
    points: Tensor,
    share: Tensor,
    groups: Tensor,
    mean: Tensor,
    dim: int,
    rtol: float,
    max_iter: int,
) -> Tensor:
    def energy(mean: Tensor, v: Tensor) -> Tensor:
        squares = squared_distance(manifold, move(manifold, mean, v)[groups], points)
        return v.new_zeros(len(mean)).index_add(0, groups, share * squares / 2)

    step, zero = mean.new_ones(len(mean), 1), mean.new_zeros(len(mean), dim)
    for _ in range(max_iter):
        # the gradient in the frame carried from the origin is the mean logarithm, which no family has to have
        v = zero.clone().requires_grad_()
        with torch.enable_grad():
            before = energy(mean, v)
            (slope,) = torch.autograd.grad(before.sum(), v)
        before, length = before.detach()[:, None], norm(slope)
        left = length > rtol * (2 * before).sqrt()
        if not bool(left.any()):
            return mean
        with torch.no_grad():
            there = -step * slope
            after = energy(mean, there)[:, None]
            falls = after <= before * (1 + 1e-14) - step * length**2 / 4
            mean = torch.where(left & falls, move(manifold, mean, there), mean)
            step = torch.where(falls, (2 * step).clamp(max=1.0), step / 2)
    warnings.warn(f"a Fréchet mean has not settled after {max_iter} steps: give it more (max_iter)", stacklevel=3)
    return mean
