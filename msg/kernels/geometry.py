r"""Steps on manifolds and the logarithm at the origin, one pass over the rows each, compiled by numba.

On every space of constant curvature a step leads from the coordinates :math:`r` of a point (on hyperboloid and sphere
all but :math:`z_0`) to :math:`m = \alpha v + \beta r`, pulled back inside the radius bound, where :math:`\alpha` and
:math:`\beta` are functions of :math:`s = |v|^2`, :math:`p = \langle r, v\rangle`, :math:`q = |r|^2` and
:math:`z_0`. All derivatives lie in the span of the arriving gradient :math:`g`, of :math:`v` and of :math:`r`. So what
differs between manifolds is arithmetic on a few numbers a row (``_forward_*``, ``_end_*``, ``_backward_*``). Rows go
in blocks: they are read for their inner products, then the few numbers of all rows of the block are computed side by
side, in vectors where no function of the C library is called, then the rows are written. Formulas are those of
:mod:`msg.manifolds`, which says where they come from and is their oracle.

A manifold is a table of factors, ``[kind, point, vector, dim]`` a row, with a number for each: the radius of curvature
of a hyperboloid, the curvature of a stereographic model.
"""

import math

import numpy as np

from msg.kernels.constants import (
    BACK,
    EUCLIDEAN,
    HYPERBOLIC_RADIUS,
    HYPERBOLOID,
    LARGEST,
    NEAREST,
    RIM,
    SPHERE,
    SPHERICAL_RADIUS,
    TINY,
)
from msg.kernels.jit import compiled, inlined, reordering
from msg.kernels.parts import copy, part, part_at
from msg.kernels.quotients import arctanc, arsinhc, artanhc, cosc, coshc, tanc, tanhc

SINH, COS, SIN = math.sinh(HYPERBOLIC_RADIUS), math.cos(SPHERICAL_RADIUS), math.sin(SPHERICAL_RADIUS)
TANH, TAN = math.tanh(HYPERBOLIC_RADIUS / 2) ** 2, math.tan(SPHERICAL_RADIUS / 2) ** 2

ROWS = 16
"""Rows of a block. Loops over its numbers run to an argument of this value: LLVM unrolls what it knows the length of
before it looks for vectors, and then finds none."""
# where the numbers of a block begin: all of a factor in one array, so that LLVM sees that they do not overlap
_S, _PU, _Q, _Z0, _ANTIPODE, _ALPHA, _BETA, _FIRST, _END, _SHRINK, _GU, _GR, _G0, _TO_NUMBER, _C = range(
    0, 15 * ROWS, ROWS
)
_OF_FACTOR = (14 + 7) * ROWS
_TOTAL, _FACTOR, _SLOPE, _SMALLER, _ALONG, _OF_ROW = range(0, 6 * ROWS, ROWS)
KEPT = 4
"""Numbers that a step keeps of each row and factor: next coordinates are ``kept[0] u + kept[1] r``, their squared
length before they are pulled back, and the next :math:`z_0`."""


@reordering
def _two_dots(g, a, b):
    """``<g, a>`` and ``<g, b>``."""
    first = second = 0.0
    for j in range(g.size):
        first += g[j] * a[j]
        second += g[j] * b[j]
    return first, second


@reordering
def _four_dots(g, u, r):
    """``<g, u>``, ``<g, r>``, ``<u, r>`` and ``<r, r>``."""
    gu = gr = ur = rr = 0.0
    for j in range(g.size):
        gu += g[j] * u[j]
        gr += g[j] * r[j]
        ur += u[j] * r[j]
        rr += r[j] * r[j]
    return gu, gr, ur, rr


@reordering
def _scale(out, factor, row):
    """``out = factor row``, in the precision of the row; returns its squared length."""
    total = 0.0
    for j in range(out.size):
        now = np.float64(factor * row[j])
        out[j] = now
        total += now * now
    return total


@reordering
def _combine(out, alpha, a, beta, b):
    """``out = alpha a + beta b``; returns its squared length."""
    total = 0.0
    for j in range(out.size):
        now = alpha * a[j] + beta * b[j]
        out[j] = now
        total += now * now
    return total


@reordering
def _spread(out, factor, first, g, second, u, third, r):
    """``out = factor (first g + second u + third r)``."""
    for j in range(out.size):
        out[j] = factor * (first * g[j] + second * u[j] + third * r[j])


@inlined
def _above(z0, q):
    r""":math:`1 + \cos\varphi` on the unit sphere, without cancellation, and its derivatives in ``z0`` and ``q``."""
    if z0 < BACK:
        return q / (1 - z0), q / (1 - z0) ** 2, 1 / (1 - z0)
    return 1 + z0, 1.0, 0.0


# Each ``_forward_*`` returns alpha, beta and, on a sphere, the first coordinate before it is pulled back; each
# ``_end_*``, from the squared length of m, by what m is multiplied, and z0; each ``_backward_*`` the coefficients of
# g, v, r in the derivatives in v, then in r, then the derivatives in z0 and in the factor's number.


@inlined
def _hyperbolic_step(s, radius):
    """First step: cosh, factor of the vector, and their derivatives in ``s``; longer than the bound twice is enough."""
    longest = (2 * HYPERBOLIC_RADIUS * radius) ** 2
    far = s > longest
    c, f, slope = coshc((longest if far else s) / radius**2)
    shorter = math.sqrt(longest / s) if far else 1.0
    to_c = 0.0 if far else f / (2 * radius**2)
    to_f = -f * shorter / (2 * s) if far else slope / radius**2
    return c, f * shorter, to_c, to_f


@inlined
def _forward_hyperboloid(radius, z0, s, p, q):
    c, f, _, _ = _hyperbolic_step(s, radius)
    return f, c + f * p / (radius * (radius + math.sqrt(radius**2 + q))), 0.0


@inlined
def _end_hyperboloid(radius, first, end):
    limit = (radius * SINH) ** 2
    outside = end > limit
    return math.sqrt(limit / end) if outside else 1.0, math.sqrt(radius**2 + (limit if outside else end))


@inlined
def _backward_hyperboloid(radius, old_z0, antipodal, s, p, q, end, g0, gv, gr):
    # the result is homogeneous of degree one in r, v and the radius, so the last derivative follows from the others
    z0 = math.sqrt(radius**2 + q)
    c, f, dc, df = _hyperbolic_step(s, radius)
    over = 1 / (radius * (radius + z0))
    beta = c + f * p * over
    limit, along = radius * SINH, f * gv + beta * gr
    outside = end > limit**2
    shrink = limit / math.sqrt(end) if outside else 1.0
    last = math.sqrt(radius**2 + (limit**2 if outside else end))
    back = -shrink * along / end if outside else g0 / last
    total = g0 * last + shrink * along
    a, b = shrink * gv + back * (f * s + beta * p), shrink * gr + back * (f * p + beta * q)
    to_f = a + b * p * over
    to_s, to_p = b * dc + to_f * df, b * f * over
    to_q = -b * f * p * over / (radius + z0) / (2 * z0)
    v1, v2, v3 = f * shrink, f * back * f + 2 * to_s, f * back * beta + to_p
    r1, r2, r3 = beta * shrink, beta * back * f + to_p, beta * back * beta + 2 * to_q
    rest = total - (r1 * gr + r2 * p + r3 * q) - (v1 * gv + v2 * s + v3 * p)
    return v1, v2, v3, r1, r2, r3, 0.0, rest / radius


@inlined
def _forward_sphere(number, z0, s, p, q):
    c, f, _ = cosc(s)
    above, _, _ = _above(z0, q)
    return f, c - f * p / above, z0 * c - f * p


@inlined
def _sphere_end(first, end):
    """A point of the sphere inside the bound, of unit length: its first coordinate, factor of the others, length."""
    shrink = 1.0
    if first < COS:
        first, length = COS, math.sqrt(end)
        shrink = SIN / (length if length > 0 else 1.0)
    size = math.sqrt(first**2 + shrink**2 * end)
    return first, shrink, size


@inlined
def _end_sphere(number, first, end):
    first, shrink, size = _sphere_end(first, end)
    return shrink / size, first / size


@inlined
def _backward_sphere(number, z0, antipodal, s, p, q, end, g0, gv, gr):
    c, f, df = cosc(s)
    dc = -f / 2
    above, in_z0, in_q = _above(z0, q)
    inner = -f * p
    beta = c + inner / above
    outside = z0 * c + inner < COS
    first, k, size = _sphere_end(z0 * c + inner, end)
    along = f * gv + beta * gr
    radial = (g0 * first + k * along) / size**2
    shrink, back, to_first = k / size, -k * radial * k / size, (g0 - radial * first) / size
    if outside:
        to_first = 0.0
        if end > 0:
            back -= k * (along - radial * k * end) / size / end
    a, b = shrink * gv + back * (f * s + beta * p), shrink * gr + back * (f * p + beta * q)
    to_inner, to_above = b / above + to_first, -b * inner / above**2
    to_f, to_p, to_q = a - to_inner * p, -to_inner * f, to_above * in_q
    to_s = (b + to_first * z0) * dc + to_f * df
    v1, v2, v3 = f * shrink, f * back * f + 2 * to_s, f * back * beta + to_p
    r1, r2, r3 = beta * shrink, beta * back * f + to_p, beta * back * beta + 2 * to_q
    if antipodal > 0:
        r1 = r2 = r3 = 0.0
    return v1, v2, v3, r1, r2, r3, to_first * c + to_above * in_z0, 0.0


@inlined
def _gyration(h, kappa, s, p, q):
    """Denominator of the sum of ``r`` and ``h v`` before it is bounded, then the factor of ``r`` and of ``h v``."""
    return 1 - 2 * kappa * h * p + kappa**2 * q * h * h * s, 1 - 2 * kappa * h * p - kappa * h * h * s, 1 + kappa * q


@inlined
def _forward_by(h, kappa, s, p, q):
    full, up, right = _gyration(h, kappa, s, p, q)
    bottom = full if full > TINY else TINY
    return h * right / bottom, up / bottom, 0.0


@inlined
def _forward_poincare(kappa, z0, s, p, q):
    return _forward_by(tanhc(-kappa * s / 4)[0] / 2, kappa, s, p, q)


@inlined
def _forward_projected(kappa, z0, s, p, q):
    return _forward_by(tanc(kappa * s / 4)[0] / 2, kappa, s, p, q)


@inlined
def _end_stereographic(kappa, first, end):
    limit = TANH if kappa < 0 else TAN
    size = abs(kappa) * end
    return math.sqrt(limit / size) if size > limit else 1.0, 0.0


@inlined
def _backward_by(h, slope, kappa, s, p, q, end, gv, gr):
    """``slope`` is the derivative of ``h`` in ``kappa s / 4``."""
    full, up, right = _gyration(h, kappa, s, p, q)
    bottom = full if full > TINY else TINY
    alpha, beta = h * right / bottom, up / bottom
    limit = TANH if kappa < 0 else TAN
    size, along = abs(kappa) * end, alpha * gv + beta * gr
    outside = size > limit
    shrink = math.sqrt(limit / size) if outside else 1.0
    back, to_kappa = (-shrink * along / end, -shrink * along / (2 * kappa)) if outside else (0.0, 0.0)
    a, b = shrink * gv + back * (alpha * s + beta * p), shrink * gr + back * (alpha * p + beta * q)
    to_up, to_right = b / bottom, a * h / bottom
    to_bottom = -(a * alpha + b * beta) / bottom if full > TINY else 0.0
    to_h = a * right / bottom - to_up * 2 * kappa * (p + h * s)
    to_h += to_bottom * (-2 * kappa * p + 2 * kappa**2 * q * h * s)
    to_p = -2 * kappa * h * (to_up + to_bottom)
    to_q = to_right * kappa + to_bottom * kappa**2 * h * h * s
    to_s = -to_up * kappa * h * h + to_bottom * kappa**2 * q * h * h + to_h * slope * kappa / 4
    to_kappa += to_right * q - to_up * (2 * h * p + h * h * s)
    to_kappa += to_bottom * (-2 * h * p + 2 * kappa * q * h * h * s) + to_h * slope * s / 4
    v1, v2, v3 = alpha * shrink, alpha * back * alpha + 2 * to_s, alpha * back * beta + to_p
    r1, r2, r3 = beta * shrink, beta * back * alpha + to_p, beta * back * beta + 2 * to_q
    return v1, v2, v3, r1, r2, r3, 0.0, to_kappa


@inlined
def _backward_poincare(kappa, z0, antipodal, s, p, q, end, g0, gv, gr):
    h, slope = tanhc(-kappa * s / 4)
    return _backward_by(h / 2, -slope / 2, kappa, s, p, q, end, gv, gr)


@inlined
def _backward_projected(kappa, z0, antipodal, s, p, q, end, g0, gv, gr):
    h, slope = tanc(kappa * s / 4)
    return _backward_by(h / 2, slope / 2, kappa, s, p, q, end, gv, gr)


@inlined
def _direction(z0, r):
    """The other coordinates of a point of the sphere point along the first axis at the antipode; whether it is one."""
    found = z0 < 0 and _two_dots(r, r, r)[0] < NEAREST * NEAREST
    if found:
        r[:] = 0.0
        r[0] = NEAREST
    return found


@inlined
def _vectors(factors, address, like, block, count, step, dim, u, c, w):
    """The vectors of ``count`` rows, ``u = step row``, made smaller where their square overflows.

    Their squared lengths are kept, factor by factor and in total.
    """
    for b in range(count):
        row = part_at(address, like, (block + b) * dim, dim)
        total = 0.0
        for f in range(factors.shape[0]):
            vector, width = factors[f, 2], factors[f, 3]
            squared = _scale(part(u, b * dim + vector, width), step, part(row, vector, width))
            w[f * _OF_FACTOR + _S + b] = squared
            total += squared
        smaller = 1.0
        if total > LARGEST * LARGEST:
            largest = 0.0
            for j in range(dim):
                largest = max(largest, abs(u[b * dim + j]))
            smaller, total = min(1.0, LARGEST / largest), 0.0
            for f in range(factors.shape[0]):
                mine = part(u, b * dim + factors[f, 2], factors[f, 3])
                squared = _combine(mine, smaller, mine, 0.0, mine)
                w[f * _OF_FACTOR + _S + b] = squared
                total += squared
        c[_TOTAL + b], c[_SMALLER + b] = total, smaller


@inlined
def _bounds(bound, rows, c):
    """Factors that bound the lengths of vectors, and their derivatives in the squared lengths; a bound of 0 is none."""
    for b in range(rows):
        f, slope = tanhc(c[_TOTAL + b] / bound**2) if bound > 0 else (1.0, 0.0)
        c[_FACTOR + b], c[_SLOPE + b] = f, slope / bound**2 if bound > 0 else 0.0


@inlined
def _forward(rule, number, rows, c, w):
    """Factors of ``u`` and of ``r``, for all rows of a block."""
    for b in range(rows):
        factor = c[_FACTOR + b]
        s, p = factor * factor * w[_S + b], factor * w[_PU + b]
        alpha, beta, first = rule(number, w[_Z0 + b], s, p, w[_Q + b])
        w[_ALPHA + b], w[_BETA + b], w[_FIRST + b] = factor * alpha, beta, first


@inlined
def _end(rule, number, rows, w):
    """Pull the points of a block back inside the radius bound."""
    for b in range(rows):
        shrink, z0 = rule(number, w[_FIRST + b], w[_END + b])
        w[_SHRINK + b], w[_Z0 + b] = shrink, z0
        w[_ALPHA + b] *= shrink
        w[_BETA + b] *= shrink


@inlined
def _backward(rule, number, rows, c, w):
    """Coefficients of a block's derivatives; their inner products with ``u`` are added up over factors."""
    for b in range(rows):
        factor, big, pu, gu = c[_FACTOR + b], w[_S + b], w[_PU + b], w[_GU + b]
        s, p = factor * factor * big, factor * pu
        arriving = w[_G0 + b], factor * gu, w[_GR + b]
        v1, v2, v3, r1, r2, r3, to_z0, to_number = rule(
            number, w[_Z0 + b], w[_ANTIPODE + b], s, p, w[_Q + b], w[_END + b], *arriving
        )
        w[_C + b], w[_C + ROWS + b], w[_C + 2 * ROWS + b] = v1, v2 * factor, v3
        w[_C + 3 * ROWS + b], w[_C + 4 * ROWS + b], w[_C + 5 * ROWS + b] = r1, r2 * factor, r3
        w[_C + 6 * ROWS + b], w[_TO_NUMBER + b] = to_z0, to_number
        c[_ALONG + b] += v1 * gu + v2 * factor * big + v3 * pu


@inlined
def _origin(factors, start):
    """Whether all rows start at the origin, so that the first step need not read them."""
    if start.shape[0] != 1:
        return False
    for f in range(factors.shape[0]):
        lift = int(factors[f, 0] in (HYPERBOLOID, SPHERE))
        r = part(start, factors[f, 1] + lift, factors[f, 3])
        if _two_dots(r, r, r)[0] != 0 or (factors[f, 0] == SPHERE and start[0, factors[f, 1]] < 0):
            return False
    return True


@inlined
def _step(factor, number, z, size, u, dim, origin, count, rows, c, w):
    """One step of one factor, for all rows of a block: ``z`` becomes the next point."""
    kind, point, vector, width = factor[0], factor[1], factor[2], factor[3]
    lift = int(kind in (HYPERBOLOID, SPHERE))
    if kind == EUCLIDEAN:
        for b in range(count):
            by, r = part(u, b * dim + vector, width), part(z, b * size + point, width)
            w[_ALPHA + b], w[_BETA + b], w[_END + b] = c[_FACTOR + b], 1.0, 0.0
            _combine(r, c[_FACTOR + b], by, 1.0 - origin, by if origin else r)
        return
    for b in range(count):
        by, r = part(u, b * dim + vector, width), part(z, b * size + point + lift, width)
        w[_Z0 + b], w[_PU + b], w[_Q + b] = z[b * size + point], 0.0, 0.0
        if not origin:
            if kind == SPHERE:
                _direction(w[_Z0 + b], r)
            w[_PU + b], w[_Q + b] = _two_dots(r, by, r)
    if kind == HYPERBOLOID:
        _forward(_forward_hyperboloid, number, rows, c, w)
    elif kind == SPHERE:
        _forward(_forward_sphere, number, rows, c, w)
    elif number < 0:
        _forward(_forward_poincare, number, rows, c, w)
    else:
        _forward(_forward_projected, number, rows, c, w)
    for b in range(count):
        by, r = part(u, b * dim + vector, width), part(z, b * size + point + lift, width)
        if origin:
            w[_END + b] = _combine(r, w[_ALPHA + b], by, 0.0, by)
        else:
            w[_END + b] = _combine(r, w[_ALPHA + b], by, w[_BETA + b], r)
    if kind == HYPERBOLOID:
        _end(_end_hyperboloid, number, rows, w)
    elif kind == SPHERE:
        _end(_end_sphere, number, rows, w)
    else:
        _end(_end_stereographic, number, rows, w)
    for b in range(count):
        if w[_SHRINK + b] != 1.0:
            r = part(z, b * size + point + lift, width)
            _combine(r, w[_SHRINK + b], r, 0.0, r)
        if lift:
            z[b * size + point] = w[_Z0 + b]


@compiled
def walk(factors, numbers, start, addresses, like, dim, step, bound, rows, first, last, out, kept):
    """Steps one after another, from ``start [N or 1, D]`` to ``out [N, D]``.

    The vectors of each step are an array ``[N, d]`` of the type of ``like`` at an address, since copying them side by
    side would cost as much as a step. A ``bound`` of zero is none; ``rows`` is :data:`ROWS`. For the way back each step
    leaves :data:`KEPT` numbers of a row and factor in ``kept [N, steps, factors, KEPT]``, where that has room.
    """
    size, levels, several, origin = out.shape[1], addresses.size, factors.shape[0], _origin(factors, start)
    memory = np.zeros(ROWS * (size + dim) + _OF_ROW + several * _OF_FACTOR)
    z, u = part(memory, 0, ROWS * size), part(memory, ROWS * size, ROWS * dim)
    c = part(memory, ROWS * (size + dim), _OF_ROW)
    w = part(memory, ROWS * (size + dim) + _OF_ROW, several * _OF_FACTOR)
    for block in range(first, last, ROWS):
        count = min(ROWS, last - block)
        for b in range(count):
            copy(part(z, b * size, size), part(start, min(block + b, start.shape[0] - 1) * size, size))
        for level in range(levels):
            _vectors(factors, addresses[level], like, block, count, step, dim, u, c, w)
            _bounds(bound, rows, c)
            for f in range(several):
                mine = part(w, f * _OF_FACTOR, _OF_FACTOR)
                _step(factors[f], numbers[f], z, size, u, dim, origin and level == 0, count, rows, c, mine)
                if kept.size:
                    for b in range(count):
                        kept[block + b, level, f, 0] = mine[_ALPHA + b]
                        kept[block + b, level, f, 1] = mine[_BETA + b]
                        kept[block + b, level, f, 2] = mine[_END + b]
                        kept[block + b, level, f, 3] = mine[_Z0 + b]
        copy(part(out, block * size, count * size), part(z, 0, count * size))
    memory[0] = 0.0  # it lives until here


@inlined
def _again(factor, kept, f, z, u, dim, size, origin, count, block, level, to):
    """The next point of one factor, from what the way there kept."""
    kind, point, vector, width = factor[0], factor[1], factor[2], factor[3]
    lift = int(kind in (HYPERBOLOID, SPHERE))
    for b in range(count):
        alpha, beta = kept[block + b, level, f, 0], kept[block + b, level, f, 1]
        by, r = part(u, b * dim + vector, width), part(z, b * size + point + lift, width)
        if kind == SPHERE and not origin:
            _direction(z[b * size + point], r)
        if origin:
            _combine(part(to, b * size + point + lift, width), alpha, by, 0.0, by)
        else:
            _combine(part(to, b * size + point + lift, width), alpha, by, beta, r)
        if lift:
            to[b * size + point] = kept[block + b, level, f, 3]


@inlined
def _step_back(factor, number, z, size, u, dim, g, kept, f, origin, block, level, count, rows, c, w):
    """Coefficients of one factor's derivatives, for all rows of a block."""
    kind, point, vector, width = factor[0], factor[1], factor[2], factor[3]
    lift = int(kind in (HYPERBOLOID, SPHERE))
    for b in range(count):
        at = b * size + point + lift
        by, r = part(u, b * dim + vector, width), part(z, at, width)
        w[_Z0 + b], w[_G0 + b], w[_ANTIPODE + b] = z[b * size + point], g[b * size + point], 0.0
        if origin:
            w[_GU + b], w[_GR + b], w[_PU + b], w[_Q + b] = _two_dots(by, part(g, at, width), by)[0], 0.0, 0.0, 0.0
        else:
            if kind == SPHERE and _direction(w[_Z0 + b], r):
                w[_ANTIPODE + b] = 1.0
            w[_GU + b], w[_GR + b], w[_PU + b], w[_Q + b] = _four_dots(part(g, at, width), by, r)
        w[_END + b] = kept[block + b, level, f, 2]
    if kind == HYPERBOLOID:
        _backward(_backward_hyperboloid, number, rows, c, w)
    elif kind == SPHERE:
        _backward(_backward_sphere, number, rows, c, w)
    elif kind == EUCLIDEAN:
        for b in range(count):
            for k in range(7):
                w[_C + k * ROWS + b] = 1.0 if k in (0, 3) else 0.0
            w[_TO_NUMBER + b] = 0.0
            c[_ALONG + b] += w[_GU + b]
    elif number < 0:
        _backward(_backward_poincare, number, rows, c, w)
    else:
        _backward(_backward_projected, number, rows, c, w)


@inlined
def _spread_block(factor, z, size, u, dim, g, address, like, origin, block, count, step, c, w):
    """Derivatives in the vectors of a block, and ``g`` becomes that in the points."""
    kind, point, vector, width = factor[0], factor[1], factor[2], factor[3]
    lift = int(kind in (HYPERBOLOID, SPHERE))
    for b in range(count):
        at, result = b * size + point + lift, part_at(address, like, (block + b) * dim + vector, width)
        by, r, gm = part(u, b * dim + vector, width), part(z, at, width), part(g, at, width)
        along_u = c[_FACTOR + b] * w[_C + ROWS + b] + 2 * c[_SLOPE + b] * c[_ALONG + b]
        scale = np.float64(step) * c[_SMALLER + b]
        along_g, along_r = c[_FACTOR + b] * w[_C + b], c[_FACTOR + b] * w[_C + 2 * ROWS + b]
        if origin:  # from which nothing is learned
            _spread(result, scale, along_g, gm, along_u, by, 0.0, by)
            continue
        _spread(result, scale, along_g, gm, along_u, by, along_r, r)
        _spread(gm, 1.0, w[_C + 3 * ROWS + b], gm, w[_C + 4 * ROWS + b], by, w[_C + 5 * ROWS + b], r)
        if lift:
            g[b * size + point] = w[_C + 6 * ROWS + b]


@compiled
def walk_back(
    factors, numbers, start, addresses, like, dim, step, bound, rows, kept, grad, first, last,
    to_start, results, to_numbers,
):  # fmt: skip
    """Derivatives of :func:`walk`: ``to_start [N, D]``, the vectors' at addresses, ``to_numbers [N, factors]``."""
    levels, size, several = addresses.size, grad.shape[1], factors.shape[0]
    origin = _origin(factors, start) and not to_start.shape[0]
    each = ROWS * (size + dim) + _OF_ROW + several * _OF_FACTOR
    memory = np.zeros((levels + 1) * each)
    g = part(memory, levels * each, ROWS * size)
    for block in range(first, last, ROWS):
        count = min(ROWS, last - block)
        for b in range(count):
            copy(part(memory, b * size, size), part(start, min(block + b, start.shape[0] - 1) * size, size))
            for f in range(several):
                to_numbers[block + b, f] = 0.0
        for level in range(levels):
            at = level * each + ROWS * size
            z, u = part(memory, level * each, ROWS * size), part(memory, at, ROWS * dim)
            c = part(memory, at + ROWS * dim, _OF_ROW)
            w = part(memory, at + ROWS * dim + _OF_ROW, several * _OF_FACTOR)
            _vectors(factors, addresses[level], like, block, count, step, dim, u, c, w)
            _bounds(bound, rows, c)
            if level + 1 < levels:
                there = part(memory, (level + 1) * each, ROWS * size)
                for f in range(several):
                    _again(factors[f], kept, f, z, u, dim, size, origin and level == 0, count, block, level, there)
        copy(part(g, 0, count * size), part(grad, block * size, count * size))
        for level in range(levels - 1, -1, -1):
            at = level * each + ROWS * size
            z, u = part(memory, level * each, ROWS * size), part(memory, at, ROWS * dim)
            c = part(memory, at + ROWS * dim, _OF_ROW)
            part(c, _ALONG, ROWS)[:] = 0.0
            still = origin and level == 0
            for f in range(several):
                w = part(memory, at + ROWS * dim + _OF_ROW + f * _OF_FACTOR, _OF_FACTOR)
                _step_back(factors[f], numbers[f], z, size, u, dim, g, kept, f, still, block, level, count, rows, c, w)
                for b in range(count):
                    to_numbers[block + b, f] += w[_TO_NUMBER + b]
            for f in range(several):
                w = part(memory, at + ROWS * dim + _OF_ROW + f * _OF_FACTOR, _OF_FACTOR)
                _spread_block(factors[f], z, size, u, dim, g, results[level], like, still, block, count, step, c, w)
        if to_start.shape[0]:
            copy(part(to_start, block * size, count * size), part(g, 0, count * size))
    memory[0] = 0.0  # it lives until here


# Each ``_log0_*`` returns by what the coordinates r are multiplied, then the derivatives of that in q = |r|^2, in z0
# and in the number.


@inlined
def _log0_hyperboloid(radius, z0, q):
    a, slope = arsinhc(q / radius**2)
    return a, slope / radius**2, 0.0, -2 * slope * q / radius**3


@inlined
def _log0_sphere(number, z0, q):
    above, in_z0, in_q = _above(z0, q)
    t = q / above**2
    f, slope = arctanc(t)
    to_above = -(2 * f + 4 * slope * t) / above**2
    return 2 * f / above, 2 * slope / above**3 + to_above * in_q, to_above * in_z0, 0.0


@inlined
def _log0_poincare(kappa, z0, q):
    u = kappa * q
    inside = u >= RIM
    a, slope = artanhc(-u if inside else -RIM)
    slope = -slope if inside else 0.0
    return 2 * a, 2 * slope * kappa, 0.0, 2 * slope * q


@inlined
def _log0_projected(kappa, z0, q):
    a, slope = arctanc(kappa * q)
    return 2 * a, 2 * slope * kappa, 0.0, 2 * slope * q


@inlined
def _logarithms(rule, number, rows, w):
    for b in range(rows):
        a, to_q, to_z0, to_number = rule(number, w[_Z0 + b], w[_Q + b])
        w[_ALPHA + b], w[_BETA + b], w[_G0 + b], w[_TO_NUMBER + b] = a, to_q, to_z0, to_number


@inlined
def _log0_block(factor, number, z, block, count, rows, r, w):
    """Coordinates ``r`` of the points of a block, from what they point along, and the numbers of their logarithms."""
    kind, point, dim = factor[0], factor[1], factor[3]
    lift, size = int(kind in (HYPERBOLOID, SPHERE)), z.shape[1]
    for b in range(count):
        at, mine = (block + b) * size + point, part(r, b * dim, dim)
        copy(mine, part(z, at + lift, dim))
        w[_Z0 + b], w[_ANTIPODE + b] = z[block + b, point], 0.0
        if kind == SPHERE and _direction(w[_Z0 + b], mine):
            w[_ANTIPODE + b] = 1.0
        w[_Q + b] = _two_dots(mine, mine, mine)[0]
    if kind == HYPERBOLOID:
        _logarithms(_log0_hyperboloid, number, rows, w)
    elif kind == SPHERE:
        _logarithms(_log0_sphere, number, rows, w)
    elif kind == EUCLIDEAN:
        for b in range(rows):
            w[_ALPHA + b], w[_BETA + b], w[_G0 + b], w[_TO_NUMBER + b] = 1.0, 0.0, 0.0, 0.0
    elif number < 0:
        _logarithms(_log0_poincare, number, rows, w)
    else:
        _logarithms(_log0_projected, number, rows, w)


@compiled
def log0(factors, numbers, z, rows, first, last, out):
    """Logarithm at the origin, ``[N, D]`` to ``[N, d]`` of any type; ``rows`` is :data:`ROWS`."""
    width = out.shape[1]
    memory = np.zeros(_OF_FACTOR + ROWS * z.shape[1])
    w, r = part(memory, 0, _OF_FACTOR), part(memory, _OF_FACTOR, ROWS * z.shape[1])
    for block in range(first, last, ROWS):
        count = min(ROWS, last - block)
        for f in range(factors.shape[0]):
            _log0_block(factors[f], numbers[f], z, block, count, rows, r, w)
            vector, dim = factors[f, 2], factors[f, 3]
            for b in range(count):
                _scale(part(out, (block + b) * width + vector, dim), w[_ALPHA + b], part(r, b * dim, dim))
    memory[0] = 0.0  # it lives until here


@compiled
def log0_back(factors, numbers, z, grad, rows, first, last, to_z, to_numbers):
    """Derivatives of :func:`log0`."""
    size, width = z.shape[1], grad.shape[1]
    memory = np.zeros(_OF_FACTOR + ROWS * size)
    w, r = part(memory, 0, _OF_FACTOR), part(memory, _OF_FACTOR, ROWS * size)
    for block in range(first, last, ROWS):
        count = min(ROWS, last - block)
        for f in range(factors.shape[0]):
            _log0_block(factors[f], numbers[f], z, block, count, rows, r, w)
            kind, point, vector, dim = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
            lift = int(kind in (HYPERBOLOID, SPHERE))
            for b in range(count):
                i, mine = block + b, part(r, b * dim, dim)
                g, to = part(grad, i * width + vector, dim), part(to_z, i * size + point + lift, dim)
                along = _two_dots(g, mine, mine)[0]
                stays = 0.0 if w[_ANTIPODE + b] > 0 else 1.0
                _combine(to, stays * w[_ALPHA + b], g, stays * 2 * along * w[_BETA + b], mine)
                if lift:
                    to_z[i, point] = along * w[_G0 + b]
                to_numbers[i, f] = along * w[_TO_NUMBER + b]
    memory[0] = 0.0  # it lives until here
