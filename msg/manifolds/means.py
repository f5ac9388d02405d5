r"""Means of points: the Fréchet mean, which every manifold has, and the closed forms that stand for it on some."""

import warnings
from typing import Any, cast

import geoopt
import torch
from torch import Tensor

from msg.kernels.first_order import first_order
from msg.kernels.tracing import keeping_saved
from msg.manifolds.euclidean import Euclidean
from msg.manifolds.gyro import gyromidpoint
from msg.manifolds.hyperboloid import Hyperboloid
from msg.manifolds.lookup import family
from msg.manifolds.lorentz import onto_hyperboloid
from msg.manifolds.sphere import Sphere
from msg.manifolds.steps import exp0, log0, move, squared_distance
from msg.manifolds.stereographic import Stereographic
from msg.manifolds.switch import checked, checks, unbounded
from msg.manifolds.trigonometry import norm

_CANCELLED = 1e-12
"""A mean of unit vectors that is shorter is rounding."""
_FLOOR = 1e-13
"""So is a mean logarithm that is shorter: points that coincide leave nothing to compare it with."""


class Groups:
    """Which group each point is in, with what weight: the matrix ``[M, N]`` that takes means, of one entry a column.

    Args:
        index: group of each point, ``[N]``.
        count: number of groups ``M``.
        weights: of the points, ``[N]``, not negative; ``None``: all alike.

    Raises:
        ValueError: for sizes that do not fit, negative weights, or a group without weight, which has no mean;
            :class:`~msg.manifolds.checks` switch all but the first off, and such a group then has a row of zeros.
    """

    def __init__(self, index: Tensor, count: int, weights: Tensor | None = None):
        if weights is not None and weights.shape != index.shape:
            raise ValueError(f"weights and index must have shape {list(index.shape)}, one for each point")
        given = torch.ones_like(index, dtype=torch.float64) if weights is None else weights.double()
        if checked():
            if bool((given < 0).any()):
                raise ValueError("weights must not be negative: the sum of squared distances may have no minimum")
            if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
                raise ValueError(f"index names groups {int(index.min())} to {int(index.max())}, but there are {count}")
        total = given.new_zeros(count).index_add(0, index, given)
        if checked() and not bool((total > 0).all()):
            raise ValueError(f"group {int((total <= 0).nonzero()[0])} has no weight, so it has no mean: leave it out")
        self.index, self.count = index, count
        self.share = given / torch.where(total > 0, total, 1.0)[index]

    def matmul(self, x: Tensor) -> Tensor:
        """Weighted means of the coordinates of each group, ``[M, ...]`` from ``[N, ...]``."""
        rows = self.share.unsqueeze(-1) * x
        return rows.new_zeros(self.count, *rows.shape[1:]).index_add(0, self.index, rows)


def centroid(manifold: geoopt.Manifold, x: Tensor, weights: Any) -> Tensor:
    r"""Weighted means in closed form, differentiable, one for each row of weights.

    The arithmetic mean in flat space; :func:`lorentz_centroid` on the hyperboloid; :func:`gyromidpoint` in the
    κ-stereographic model, the Poincaré ball included; on the sphere the mean in the space around it, divided by its
    length (the origin, where points cancel out); on a product each factor's own. In flat space this is the Fréchet
    mean. Elsewhere it is for two points of equal weight, and near it for points that are close together: use
    :func:`frechet_mean` for the mean itself.

    Args:
        manifold: of the points.
        x: points.
        weights: whatever has ``weights.matmul(x)``, not negative: a tensor ``[M, N]``, dense or sparse, in float64, or
            :class:`Groups`. A row's scale does not matter.

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
    # by family, not by class: a subclass that has a family of its own may be something else
    kind = type(family(manifold))
    if kind is Euclidean:
        return weights.matmul(x) / weights.matmul(torch.ones_like(x[:, :1]))
    if kind is Hyperboloid:
        scale = cast(geoopt.Lorentz, manifold).k.double().sqrt()
        return scale * onto_hyperboloid(_mean(x / scale, weights))
    if kind is Stereographic:
        return gyromidpoint(cast(geoopt.Stereographic, manifold), x, weights)
    if kind is Sphere:
        total = weights.matmul(x)
        length, pole = norm(total), torch.zeros_like(total)
        pole[..., 0] = 1
        nothing = length <= _CANCELLED * weights.matmul(torch.ones_like(x[:, :1]))
        return torch.where(nothing, pole, total / torch.where(nothing, 1.0, length))
    raise TypeError(f"no mean in closed form is known for {type(manifold).__name__}: use frechet_mean")


def _mean(x: Tensor, weights: Any) -> Tensor:
    """Weighted means of coordinates; zeros where there is no weight."""
    total = weights.matmul(torch.ones_like(x[:, :1]))
    return weights.matmul(x) / torch.where(total > 0, total, 1.0)


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
    and for points of one open half-sphere; of points all over a sphere it is a local one. It may lie beyond
    :func:`max_radius`, as of points around the antipode of the origin.

    It is differentiable once in points, weights and curvature, by the implicit function theorem: with the flow's result
    held fixed, one step of Newton's method, :math:`-H^{-1}g` of gradient and Hessian of the sum in the tangent space
    there, has the derivative of the mean. That takes ``d`` more passes over the points; the flow itself is not
    differentiated.

    Source: `Karcher 1977, Riemannian center of mass and mollifier smoothing <https://doi.org/10.1002/cpa.3160300502>`_;
    for the derivative `Lou et al. 2020, Differentiating through the Fréchet Mean <https://arxiv.org/abs/2003.00335>`_.

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
    if torch.is_inference_mode_enabled():  # the flow takes derivatives, which tensors of that mode have none of
        with torch.inference_mode(False), torch.no_grad():
            weights, index = (None if one is None else one.clone() for one in (weights, index))
            return frechet_mean(manifold, x.clone(), weights, index, num_means, rtol, max_iter)
    if x.dim() != 2:
        raise ValueError(f"points must have shape [N, ambient_dim], not {list(x.shape)}")
    single = index is None
    index = x.new_zeros(len(x), dtype=torch.long) if index is None else index
    if index.shape != x.shape[:1]:
        raise ValueError(f"weights and index must have shape [{len(x)}], one for each point")
    if single or num_means is None:
        num_means = int(index.max()) + 1 if len(index) else 1
    if not num_means and not len(x):
        return x
    groups = Groups(index, num_means, weights)
    points = x.double()
    with torch.no_grad():
        vectors = log0(manifold, points)
        try:
            mean = centroid(manifold, points, groups)
        except TypeError:
            mean = exp0(manifold, groups.matmul(vectors))
    with checks(False), unbounded(), keeping_saved():
        mean = _karcher(manifold, points.detach(), groups, mean, vectors.size(-1), rtol, max_iter)
        learned = (points, groups.share, *manifold.parameters())
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in learned):
            mean = _newton(manifold, points, groups, mean, vectors.size(-1))
    return (mean[0] if single else mean).to(x.dtype)


def _energy(manifold: geoopt.Manifold, points: Tensor, groups: Groups, mean: Tensor, v: Tensor) -> Tensor:
    """Half the mean squared distance of each group's points from where ``v`` leads from its mean, ``[M]``."""
    return groups.matmul(squared_distance(manifold, move(manifold, mean, v)[groups.index], points)[:, None])[:, 0] / 2


def _karcher(
    manifold: geoopt.Manifold, points: Tensor, groups: Groups, mean: Tensor, dim: int, rtol: float, max_iter: int
) -> Tensor:
    step, zero = mean.new_ones(len(mean), 1), mean.new_zeros(len(mean), dim)
    # a step of that length may be one that is taken back and forth
    floor = max(_FLOOR, 1.01 * family(manifold).resolution(manifold))
    for _ in range(max_iter):
        # the gradient in the frame carried from the origin is the mean logarithm, which no family has to have
        v = zero.clone().requires_grad_()
        with torch.enable_grad():
            before = _energy(manifold, points, groups, mean, v)
            (slope,) = torch.autograd.grad(before.sum(), v)
        before, length = before.detach()[:, None], norm(slope)
        left = length > rtol * (2 * before).sqrt() + floor / step
        if not bool(left.any()):
            return mean
        with torch.no_grad():
            there = -step * slope
            after = _energy(manifold, points, groups, mean, there)[:, None]
            falls = after <= before * (1 + 1e-14) - step * length**2 / 4
            before, mean = mean, torch.where(left & falls, move(manifold, mean, there), mean)
            # never longer again: where the Hessian asks for a shorter one, a longer one would swing about the mean
            longer, step = step, torch.where(falls | ~left, step, step / 2)
            if torch.equal(mean, before) and torch.equal(step, longer):
                return mean  # rounding holds it there, as far out in a ball
    warnings.warn(f"a Fréchet mean has not settled after {max_iter} steps: give it more (max_iter)", stacklevel=3)
    return mean


def _newton(manifold: geoopt.Manifold, points: Tensor, groups: Groups, mean: Tensor, dim: int) -> Tensor:
    """The mean with its derivative, from its value."""
    v = mean.new_zeros(len(mean), dim, requires_grad=True)
    energy = _energy(manifold, points, groups, mean, v)
    (slope,) = torch.autograd.grad(energy.sum(), v, create_graph=True)
    # a group's mean moves its own sum alone, so one pass gives a row of every group's Hessian
    rows = [torch.autograd.grad(slope[:, row].sum(), v, retain_graph=True)[0] for row in range(dim)]
    step = torch.linalg.solve(torch.stack(rows, dim=1), -slope)
    # the Hessian's own derivative is left out
    return first_order(move(manifold, mean, step), "a Fréchet mean", "centroid")
