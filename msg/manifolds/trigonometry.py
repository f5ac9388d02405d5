r"""Trigonometry of constant curvature as smooth functions of a *squared* argument.

A space form of curvature :math:`\kappa` mixes :math:`\cos, \sin, \tan` (:math:`\kappa > 0`) with
:math:`\cosh, \sinh, \tanh` (:math:`\kappa < 0`). Written in :math:`u = \kappa r^2` each pair is one analytic function,
so nothing is singular at a silent neuron (:math:`r = 0`) nor where a learnable curvature changes sign. Near ``u = 0``
the power series replaces the closed form, whose derivative there is 0/0.
"""

from collections.abc import Callable
from math import factorial

import torch
from torch import Tensor

_NEAR_ZERO = 1e-3  # seven terms of every series below are exact to float64 inside this radius
_TERMS = 7

_COS = [(-1) ** k / factorial(2 * k) for k in range(_TERMS)]
_SINC = [(-1) ** k / factorial(2 * k + 1) for k in range(_TERMS)]
_ARCTANC = [(-1) ** k / (2 * k + 1) for k in range(_TERMS)]
_ARCSINC = [factorial(2 * k) / (4**k * factorial(k) ** 2 * (2 * k + 1)) for k in range(_TERMS)]
_TANC = [1.0, 1 / 3, 2 / 15, 17 / 315, 62 / 2835, 1382 / 155925, 21844 / 6081075]


def _piecewise(
    u: Tensor,
    series: list[float],
    positive: Callable[[Tensor], Tensor],
    negative: Callable[[Tensor], Tensor],
) -> Tensor:
    """Evaluate ``positive(sqrt(u))``, ``negative(sqrt(-u))`` or the series, each only where it is well-conditioned."""
    # each branch gets harmless arguments where it is not taken: an overflow there would turn its gradient into 0 * inf
    above, below = u >= _NEAR_ZERO, u <= -_NEAR_ZERO
    small = torch.where(above | below, 0.0, u)
    value = torch.full_like(u, series[-1])
    for coefficient in reversed(series[:-1]):
        value = value * small + coefficient
    value = torch.where(above, positive(torch.where(above, u, 1.0).sqrt()), value)
    return torch.where(below, negative(torch.where(below, -u, 0.25).sqrt()), value)


def cosine(u: Tensor) -> Tensor:
    r""":math:`\cos\sqrt u`, continued as :math:`\cosh\sqrt{-u}` for negative ``u``."""
    return _piecewise(u, _COS, torch.cos, torch.cosh)


def sinc(u: Tensor) -> Tensor:
    r""":math:`\sin\sqrt u / \sqrt u`, continued as :math:`\sinh\sqrt{-u} / \sqrt{-u}`."""
    return _piecewise(u, _SINC, lambda r: r.sin() / r, lambda r: r.sinh() / r)


def tanc(u: Tensor) -> Tensor:
    r""":math:`\tan\sqrt u / \sqrt u`, continued as :math:`\tanh\sqrt{-u} / \sqrt{-u}`."""
    return _piecewise(u, _TANC, lambda r: r.tan() / r, lambda r: r.tanh() / r)


def arctanc(u: Tensor) -> Tensor:
    r""":math:`\arctan\sqrt u / \sqrt u`, or :math:`\operatorname{artanh}\sqrt{-u} / \sqrt{-u}`, for ``u > -1``."""
    # a point on the ball's boundary, where rounding can put it, is read as the last one inside
    limit = 1 - torch.finfo(u.dtype).eps
    return _piecewise(u, _ARCTANC, lambda r: r.atan() / r, lambda r: r.clamp(max=limit).atanh() / r)


def arcsinhc(w: Tensor) -> Tensor:
    r""":math:`\operatorname{arsinh}\sqrt w / \sqrt w` for ``w >= 0``."""
    return _piecewise(w, [c * (-1) ** k for k, c in enumerate(_ARCSINC)], lambda r: r.asinh() / r, torch.ones_like)


def arcsinc(w: Tensor, cosine_of_angle: Tensor) -> Tensor:
    r""":math:`\varphi / \sqrt w` for the angle with :math:`\sin\varphi = \sqrt w` and the given cosine.

    Args:
        w: squared sine of the angle, shape ``[...]``.
        cosine_of_angle: cosine of the angle, same shape; it decides between the two hemispheres.
    """
    # the series knows only the near hemisphere; the far one has sqrt(w) -> 0 too, but radius bounds keep points off it
    return _piecewise(w, _ARCSINC, lambda r: torch.atan2(r, cosine_of_angle) / r, torch.ones_like)


def squared_norm(v: Tensor) -> Tensor:
    """Squared Euclidean norm over the last dimension, which is kept: ``[..., d] -> [..., 1]``."""
    return torch.linalg.vecdot(v, v).unsqueeze(-1)


def norm(v: Tensor) -> Tensor:
    """Euclidean norm over the last dimension (kept), with gradient zero instead of NaN at the zero vector."""
    return root(squared_norm(v))


def root(u: Tensor) -> Tensor:
    """Square root of ``u >= 0`` with gradient zero instead of infinity at zero."""
    positive = u > 0
    return torch.where(positive, torch.where(positive, u, 1.0).sqrt(), 0.0)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean inner product over the last dimension, which is kept: ``[..., d], [..., d] -> [..., 1]``."""
    return torch.linalg.vecdot(a, b).unsqueeze(-1)
