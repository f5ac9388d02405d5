r"""Trigonometry of constant curvature as smooth functions of a *squared* argument.

A space form of curvature :math:`\kappa` mixes :math:`\cos, \sin, \tan` (:math:`\kappa > 0`) with
:math:`\cosh, \sinh, \tanh` (:math:`\kappa < 0`). Written in :math:`u = \kappa r^2` each pair is one analytic function,
so nothing is singular at a silent neuron (:math:`r = 0`) nor where a learnable curvature changes sign. Values come
from the closed forms; near ``u = 0`` their derivatives come from power series, since the closed forms are 0/0 there.

Where the caller knows the sign of ``u`` (``sign=1``: nowhere negative, ``sign=-1``: nowhere positive) the other branch
is not evaluated.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from msg.kernels.constants import ARCSINHC, ARCTANC, BACK, NEAR_ZERO, SINC, TANC, TERMS
from msg.kernels.signatures import looked_up
from msg.kernels.tracing import tracing

_TINY = 1e-150  # stands in for a root of zero: sin(r) / r and its kin are exact at any r > 0

Elementwise = Callable[[Tensor], Tensor]
Signed = Callable[[Tensor, int], Tensor]


class _Analytic(torch.autograd.Function):
    """An elementwise function with its derivative spelt out: autograd through branches would cost several times more.

    The derivative is made of differentiable operations, so all higher derivatives exist too.
    """

    generate_vmap_rule = True

    @staticmethod
    @looked_up
    def forward(u: Tensor, sign: int, function: Signed, derivative: Signed) -> Tensor:
        return function(u, sign)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        u, ctx.sign, _, ctx.derivative = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.derivative(u, ctx.sign), None, None, None


class _AnalyticForward(_Analytic):
    """The same with forward mode, which torch compiles no function with."""

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        _Analytic.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx, *tangents: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return tangents[0] * ctx.derivative(u, ctx.sign)


def _apply(u: Tensor, sign: int, function: Signed, derivative: Signed) -> Tensor:
    if tracing():  # a trace has no place for functions of Python
        return function(u, sign)
    kind = _Analytic if torch.compiler.is_compiling() else _AnalyticForward
    return kind.apply(u, sign, function, derivative)  # pyright: ignore[reportReturnType]


def _by_sign(u: Tensor, sign: int, positive: Elementwise, negative: Elementwise) -> Tensor:
    """``positive(sqrt(u))`` where ``u > 0``, else ``negative(sqrt(-u))``; a root of zero is replaced by a tiny one."""
    root = (u if sign > 0 else -u if sign < 0 else u.abs()).sqrt().clamp(min=_TINY)
    if sign:
        return positive(root) if sign > 0 else negative(root)
    return torch.where(u > 0, positive(root), negative(root))


def _slope(
    u: Tensor, sign: int, series: Sequence[float], value: Signed, companion: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """``(companion(u, f) - f) / 2u`` for ``f = value(u)``: the derivative of every quotient, by series near zero."""
    near = u.abs() < NEAR_ZERO
    small = torch.where(near, u, 0.0)
    slope = small * ((TERMS - 1) * series[-1]) + (TERMS - 2) * series[-2]
    for k in range(TERMS - 3, 0, -1):
        slope = slope * small + k * series[k]
    # a harmless argument where the series is taken: 0/0 would turn the gradient of the gradient into NaN
    away = torch.where(near, -0.5 if sign < 0 else 0.5, u)
    f = value(away, sign)
    return torch.where(near, slope, (companion(away, f) - f) / (2 * away))


def _cosine(u: Tensor, sign: int) -> Tensor:
    return _by_sign(u, sign, torch.cos, torch.cosh)


def cosine(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\cos\sqrt u`, continued as :math:`\cosh\sqrt{-u}` for negative ``u``."""
    return _apply(u, sign, _cosine, lambda x, sign: sinc(x, sign) / -2)


def _sinc(u: Tensor, sign: int) -> Tensor:
    return _by_sign(u, sign, lambda r: r.sin() / r, lambda r: r.sinh() / r)


def _sinc_slope(u: Tensor, sign: int) -> Tensor:
    return _slope(u, sign, SINC, sinc, lambda x, _: cosine(x, sign))


def sinc(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\sin\sqrt u / \sqrt u`, continued as :math:`\sinh\sqrt{-u} / \sqrt{-u}`."""
    return _apply(u, sign, _sinc, _sinc_slope)


def _tanc(u: Tensor, sign: int) -> Tensor:
    return _by_sign(u, sign, lambda r: r.tan() / r, lambda r: r.tanh() / r)


def tanc(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\tan\sqrt u / \sqrt u`, continued as :math:`\tanh\sqrt{-u} / \sqrt{-u}`."""
    return _apply(u, sign, _tanc, lambda x, sign: _slope(x, sign, TANC, tanc, lambda x, f: 1 + x * f**2))


def _arctanc(u: Tensor, sign: int) -> Tensor:
    return _by_sign(u, sign, lambda r: r.atan() / r, lambda r: r.atanh() / r)


def _arctanc_slope(u: Tensor, sign: int) -> Tensor:
    return _slope(u, sign, ARCTANC, arctanc, lambda x, _: 1 / (1 + x))


def arctanc(u: Tensor, sign: int = 0) -> Tensor:
    r""":math:`\arctan\sqrt u / \sqrt u`, or :math:`\operatorname{artanh}\sqrt{-u} / \sqrt{-u}`, for ``u > -1``."""
    # a point on the ball's boundary, where rounding can put it, is read as the last one inside
    inside = u.clamp(min=torch.finfo(u.dtype).eps - 1)
    return _apply(inside, sign, _arctanc, _arctanc_slope)


def _arcsinhc(w: Tensor, sign: int) -> Tensor:
    root = w.sqrt().clamp(min=_TINY)
    return root.asinh() / root


def _arcsinhc_slope(w: Tensor, sign: int) -> Tensor:
    return _slope(w, sign, ARCSINHC, lambda x, _: arcsinhc(x), lambda x, _: (1 + x).rsqrt())


def arcsinhc(w: Tensor) -> Tensor:
    r""":math:`\operatorname{arsinh}\sqrt w / \sqrt w` for ``w >= 0``."""
    return _apply(w, 1, _arcsinhc, _arcsinhc_slope)


def arcsinc(u: Tensor) -> Tensor:
    r""":math:`\arcsin\sqrt u / \sqrt u`, continued as :math:`\operatorname{arsinh}\sqrt{-u} / \sqrt{-u}`,
    for ``u <= 1``.

    From the half angle, :math:`\arcsin s = 2\arctan\frac{s}{1 + \sqrt{1 - s^2}}`, so that one formula serves both
    signs. Beyond 1, where rounding can put it, it is that of 1 with gradient zero.
    """
    # at 1 the slope is infinite: the last of 16 digits is given up
    half = 1 + (1 - u).clamp(min=1e-15).sqrt()
    return 2 / half * arctanc(u.clamp(max=1.0) / half**2)


def angle_over_sine(sine: Tensor, cosine_of_angle: Tensor) -> Tensor:
    r""":math:`\varphi / \sin\varphi` for the angle in :math:`[0, \pi]` with the given sine and cosine.

    Args:
        sine: of the angle, positive where the cosine is -1, shape ``[...]``.
        cosine_of_angle: its cosine, same shape; it decides between the two hemispheres.
    """
    # 2 tan(φ/2) / sin φ = 2 / (1 + cos φ): nothing here is singular at φ = 0
    above = one_plus_cosine(sine**2, cosine_of_angle)
    half = sine / above
    return 2 * arctanc(half**2, sign=1) / above


def one_plus_cosine(squared_sine: Tensor, cosine_of_angle: Tensor) -> Tensor:
    r""":math:`1 + \cos\varphi`, from :math:`\sin^2\varphi / (1 - \cos\varphi)` where the sum would cancel."""
    back = cosine_of_angle < BACK
    difference = torch.where(back, 1 - cosine_of_angle, 2.0)  # it divides nothing by zero where it is not used
    return torch.where(back, squared_sine / difference, 1 + cosine_of_angle)


def squared_norm(v: Tensor) -> Tensor:
    """Squared Euclidean norm over the last dimension, which is kept: ``[..., d] -> [..., 1]``."""
    return torch.linalg.vecdot(v, v).unsqueeze(-1)


def nonnegative(t: Tensor) -> Tensor:
    """What rounding has left below zero is zero; at zero the derivative is one, as clamp's was before torch 2.15."""
    return torch.where(t < 0, torch.zeros_like(t), t)


def norm(v: Tensor) -> Tensor:
    """Euclidean norm over the last dimension (kept), with gradient zero instead of NaN at the zero vector."""
    return root(squared_norm(v))


def root(u: Tensor) -> Tensor:
    """Square root of ``u >= 0`` with gradient zero instead of infinity at zero; NaN stays NaN."""
    zero = u <= 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, u).sqrt())


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean inner product over the last dimension, which is kept: ``[..., d], [..., d] -> [..., 1]``."""
    return torch.linalg.vecdot(a, b).unsqueeze(-1)
