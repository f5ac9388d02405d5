r"""Functions of one number from which steps on manifolds are made, and their derivatives.

Those of hyperbolic space are written out without a branch around a call, so that LLVM computes them for many rows at
once; that they are good to two units in the last place is tested. Those of the sphere are the C library's.
"""

import math

from numba import types

from msg.kernels.constants import ARCSINHC, ARCTANC, NEAR_ZERO, SINC, TANC, TERMS
from msg.kernels.jit import inlined, operation

_ROUND = 1.5 * 2.0**52
"""Added to a number it leaves the nearest integer in the lowest bits."""
_LN2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""Upper and lower half of log 2: an integer times the upper one is exact."""
_EXP = tuple(1 / math.factorial(k) for k in range(14))
_ONE = 0x3FF << 52
"""The bits of 1.0; the exponent begins at bit 52."""
_ROOT_HALF = 0x3FE6A09E << 32
_ARTANH = tuple(2 / (2 * k + 1) for k in range(11))
_FLAT = 40.0
"""Beyond, tanh is one."""


@operation
def _bits(typing, number):
    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@operation
def _number(typing, bits):
    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@inlined
def expm1(x):
    r""":math:`e^x - 1` for ``x`` between -700 and 700: :math:`2^k e^r - 1` with :math:`|r| \le \log(2)/2`."""
    shifted = x * (1 / math.log(2)) + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2[0]) - k * _LN2[1]
    p = _EXP[13]
    for j in range(12, 1, -1):
        p = p * r + _EXP[j]
    power = _number((_bits(shifted) << 52) + _ONE)
    return power * (r + r * r * p) + (power - 1.0)


@inlined
def log1p(x):
    r""":math:`\log(1 + x)` for :math:`x \ge 0`: :math:`k \log 2 + 2\operatorname{artanh}\frac{m-1}{m+1}`."""
    u = 1.0 + x
    k = (_bits(u) - _ROOT_HALF) >> 52
    m = _number(_bits(u) - (k << 52))
    lost = (x - (u - 1.0)) / u
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    p = _ARTANH[10]
    for j in range(9, 0, -1):
        p = p * t + _ARTANH[j]
    # an integer as a number, by its bits, since only the newest processors convert vectors of them
    turns = _number(k + _bits(_ROUND)) - _ROUND
    return turns * _LN2[0] + (2 * s + (s * t * p + (turns * _LN2[1] + lost)))


@inlined
def _series(u, series):
    """Derivative of a power series."""
    slope = 0.0
    for k in range(TERMS - 1, 0, -1):
        slope = slope * u + k * series[k]
    return slope


@inlined
def tanhc(u):
    r""":math:`\tanh\sqrt u / \sqrt u` and its derivative, for :math:`u \ge 0`."""
    r = math.sqrt(u)
    e = expm1(2 * (_FLAT if r > _FLAT else r))
    f = e / (e + 2) / r if r > 0 else 1.0 + 0.0 * u
    slope = (1 - u * f * f - f) / (2 * u)
    return f, (-_series(-u, TANC) if u < NEAR_ZERO else slope)


@inlined
def coshc(u):
    r""":math:`\cosh\sqrt u, \sinh\sqrt u/\sqrt u` and the latter's derivative, for :math:`u \ge 0`."""
    r = math.sqrt(u)
    e = expm1(r)
    c = 1 + e * e / (2 * (e + 1))
    f = (e + e / (e + 1)) / (2 * r) if r > 0 else 1.0 + u
    slope = (c - f) / (2 * u)
    return c, f, (-_series(-u, SINC) if u < NEAR_ZERO else slope)


@inlined
def arsinhc(w):
    r""":math:`\operatorname{arsinh}\sqrt w / \sqrt w` and its derivative, for :math:`w \ge 0`."""
    r, root = math.sqrt(w), math.sqrt(1 + w)
    f = log1p(r + w / (1 + root)) / r if r > 0 else 1.0 + 0.0 * w
    slope = (1 / root - f) / (2 * w)
    return f, (_series(w, ARCSINHC) if w < NEAR_ZERO else slope)


@inlined
def artanhc(u):
    r""":math:`\operatorname{artanh}\sqrt u / \sqrt u` and its derivative, for :math:`0 \le u < 1`."""
    r = math.sqrt(u)
    f = log1p(2 * r / (1 - r)) / (2 * r) if r > 0 else 1.0 + 0.0 * u
    slope = (1 / (1 - u) - f) / (2 * u)
    return f, (-_series(-u, ARCTANC) if u < NEAR_ZERO else slope)


@inlined
def tanc(u):
    r""":math:`\tan\sqrt u / \sqrt u` and its derivative, for :math:`u \ge 0`."""
    r = math.sqrt(u)
    f = math.tan(r) / r if r > 0 else 1.0 + 0.0 * u
    slope = (1 + u * f * f - f) / (2 * u)
    return f, (_series(u, TANC) if u < NEAR_ZERO else slope)


@inlined
def cosc(u):
    r""":math:`\cos\sqrt u, \sin\sqrt u/\sqrt u` and the latter's derivative, for :math:`u \ge 0`."""
    r = math.sqrt(u)
    c, f = math.cos(r), (math.sin(r) / r if r > 0 else 1.0 + u)
    slope = (c - f) / (2 * u)
    return c, f, (_series(u, SINC) if u < NEAR_ZERO else slope)


@inlined
def arctanc(u):
    r""":math:`\arctan\sqrt u / \sqrt u` and its derivative, for :math:`u \ge 0`."""
    r = math.sqrt(u)
    f = math.atan(r) / r if r > 0 else 1.0 + 0.0 * u
    slope = (1 / (1 + u) - f) / (2 * u)
    return f, (_series(u, ARCTANC) if u < NEAR_ZERO else slope)
