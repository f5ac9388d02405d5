r"""Trigonometry of constant curvature as smooth functions of a *squared* argument.

A space form of curvature :math:`\kappa` mixes :math:`\cos, \sin, \tan` (:math:`\kappa > 0`) with
:math:`\cosh, \sinh, \tanh` (:math:`\kappa < 0`). Written in :math:`u = \kappa r^2` each pair is one analytic function,
so nothing is singular at a silent neuron (:math:`r = 0`) nor where a learnable curvature changes sign. Near ``u = 0``
the power series replaces the closed form, whose derivative there is 0/0.

Where the caller knows the sign of ``u`` (``sign=1``: nowhere negative, ``sign=-1``: nowhere positive) the other branch
is not evaluated.
"""

from collections.abc import Callable
from math import factorial

import torch
from torch import Tensor

_NEAR_ZERO = 1e-3  # inside this radius the series below, and their derivatives, are exact to float64
_TERMS = 6

_COS = [(-1) ** k / factorial(2 * k) for k in range(_TERMS)]
_SINC = [(-1) ** k / factorial(2 * k + 1) for k in range(_TERMS)]
_TANC = [1.0, 1 / 3, 2 / 15, 17 / 315, 62 / 2835, 1382 / 155925]
_ARCTANC = [(-1) ** k / (2 * k + 1) for k in range(_TERMS)]
_ARCSINC = [factorial(2 * k) / (4**k * factorial(k) ** 2 * (2 * k + 1)) for k in range(_TERMS)]
_ARCSINHC = [(-1) ** k * c for k, c in enumerate(_ARCSINC)]

Branch = Callable[[Tensor], Tensor]
Signed = Callable[[Tensor, int], Tensor]


def _piecewise(u: Tensor, sign: int, series: list[float], positive: Branch, negative: Branch) -> Tensor:
    """``positive(u)``, ``negative(u)`` or the series, each only where it is well-conditioned.

    A branch gets a harmless argument where it is not taken: an overflow there would turn its gradient into 0 * inf.
    """
    above, below = u >= _NEAR_ZERO, u <= -_NEAR_ZERO
    small = torch.where(above | below, 0.0, u)
    value = small * series[-1] + series[-2]
    for coefficient in reversed(series[:-2]):
        value = torch.addcmul(torch.full_like(u, coefficient), value, small)
    if sign >= 0:
        value = torch.where(above, positive(torch.where(above, u, 1.0)), value)
    if sign <= 0:
        value = torch.where(below, negative(torch.where(below, u, -0.25)), value)
    return value


class _Analytic(torch.autograd.Function):
    """An elementwise function with its derivative spelt out: an autograd graph of the series would cost ten times more.

    The derivative is made of differentiable operations, so all higher derivatives exist too.
    """

    @staticmethod
    def forward(ctx, u: Tensor, sign: int, function: Signed, derivative: Signed) -> Tensor:
        ctx.save_for_backward(u)
        ctx.sign, ctx.derivative = sign, derivative
        return function(u, sign)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.derivative(u, ctx.sign), None, None, None


def _apply(u: Tensor, sign: int, function: Signed, derivative: Signed) -> Tensor:
    return _Analytic.apply(u, sign, function, derivative)  # pyright: ignore[reportReturnType]


def _derivative(series: list[float]) -> list[float]:
    return [k * c for k, c in enumerate(series)][1:]


def _cosine(u: Tensor, sign: int) -> Tensor:
    return _piecewise(u, sign, _COS, lambda x: x.sqrt().cos(), lambda x: (-x).sqrt().cosh())


def cosine(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\cos\sqrt u`, continued as :math:`\cosh\sqrt{-u}` for negative ``u``."""
    return _apply(u, sign, _cosine, lambda x, sign: sinc(x, sign) / -2)


def _sin_over(x: Tensor) -> Tensor:
    root = x.sqrt()
    return root.sin() / root


def _sinh_over(x: Tensor) -> Tensor:
    root = (-x).sqrt()
    return root.sinh() / root


def _sinc(u: Tensor, sign: int) -> Tensor:
    return _piecewise(u, sign, _SINC, _sin_over, _sinh_over)


def _sinc_derivative(u: Tensor, sign: int) -> Tensor:
    return _piecewise(
        u,
        sign,
        _derivative(_SINC),
        lambda x: (x.sqrt().cos() - _sin_over(x)) / (2 * x),
        lambda x: ((-x).sqrt().cosh() - _sinh_over(x)) / (2 * x),
    )


def sinc(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\sin\sqrt u / \sqrt u`, continued as :math:`\sinh\sqrt{-u} / \sqrt{-u}`."""
    return _apply(u, sign, _sinc, _sinc_derivative)


def _tan_over(x: Tensor) -> Tensor:
    root = x.sqrt()
    return root.tan() / root


def _tanh_over(x: Tensor) -> Tensor:
    root = (-x).sqrt()
    return root.tanh() / root


def _tanc(u: Tensor, sign: int) -> Tensor:
    return _piecewise(u, sign, _TANC, _tan_over, _tanh_over)


def _slope(f: Branch, companion: Callable[[Tensor, Tensor], Tensor]) -> Branch:
    """``(h(u) - f(u)) / 2u``: the derivative of every inverse-or-tangent quotient here, away from zero."""

    def slope(x: Tensor) -> Tensor:
        value = f(x)
        return (companion(x, value) - value) / (2 * x)

    return slope


def _tanc_derivative(u: Tensor, sign: int) -> Tensor:
    def companion(x: Tensor, value: Tensor) -> Tensor:
        return 1 + x * value**2

    return _piecewise(u, sign, _derivative(_TANC), _slope(_tan_over, companion), _slope(_tanh_over, companion))


def tanc(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\tan\sqrt u / \sqrt u`, continued as :math:`\tanh\sqrt{-u} / \sqrt{-u}`."""
    return _apply(u, sign, _tanc, _tanc_derivative)


def _arctan_over(x: Tensor) -> Tensor:
    root = x.sqrt()
    return root.atan() / root


def _artanh_over(x: Tensor) -> Tensor:
    root = (-x).sqrt()
    return root.atanh() / root


def _arctanc(u: Tensor, sign: int) -> Tensor:
    return _piecewise(u, sign, _ARCTANC, _arctan_over, _artanh_over)


def _arctanc_derivative(u: Tensor, sign: int) -> Tensor:
    def companion(x: Tensor, value: Tensor) -> Tensor:
        return 1 / (1 + x)

    return _piecewise(u, sign, _derivative(_ARCTANC), _slope(_arctan_over, companion), _slope(_artanh_over, companion))


def arctanc(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\arctan\sqrt u / \sqrt u`, or :math:`\operatorname{artanh}\sqrt{-u} / \sqrt{-u}`, for ``u > -1``."""
    # a point on the ball's boundary, where rounding can put it, is read as the last one inside
    return _apply(u.clamp(min=torch.finfo(u.dtype).eps - 1), sign, _arctanc, _arctanc_derivative)


def _arsinh_over(x: Tensor) -> Tensor:
    root = x.sqrt()
    return root.asinh() / root


def _arcsinhc(w: Tensor, sign: int) -> Tensor:
    return _piecewise(w, sign, _ARCSINHC, _arsinh_over, torch.ones_like)


def _arcsinhc_derivative(w: Tensor, sign: int) -> Tensor:
    slope = _slope(_arsinh_over, lambda x, value: (1 + x).rsqrt())
    return _piecewise(w, sign, _derivative(_ARCSINHC), slope, torch.ones_like)


def arcsinhc(w: Tensor) -> Tensor:
    r""":math:`\operatorname{arsinh}\sqrt w / \sqrt w` for ``w >= 0``."""
    return _apply(w, 1, _arcsinhc, _arcsinhc_derivative)


def angle_over_sine(sine: Tensor, cosine_of_angle: Tensor) -> Tensor:
    r""":math:`\varphi / \sin\varphi` for the angle in :math:`[0, \pi)` with the given sine and cosine.

    Args:
        sine: of the angle, non-negative, shape ``[...]``.
        cosine_of_angle: its cosine, same shape; it decides between the two hemispheres.
    """
    # 2 tan(φ/2) / sin φ = 2 / (1 + cos φ): nothing here is singular at φ = 0
    half = sine / (1 + cosine_of_angle)
    return 2 * arctanc(half**2, sign=1) / (1 + cosine_of_angle)


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
