r"""Steps on manifolds and the logarithm at the origin, one pass over the rows each, compiled by numba.

On every space of constant curvature a step leads from the coordinates :math:`r` of a point (on hyperboloid and sphere
all but :math:`z_0`) to :math:`m = \alpha v + \beta r`, pulled back inside the radius bound, where :math:`\alpha` and
:math:`\beta` are functions of :math:`s = |v|^2`, :math:`p = \langle r, v\rangle`, :math:`q = |r|^2` and
:math:`z_0`. All derivatives lie in the span of the arriving gradient :math:`g`, of :math:`v` and of :math:`r`. So what
differs between manifolds is arithmetic on a few numbers a row (``_forward_*``, ``_backward_*``), and rows are read for
their inner products, then written. Formulas are those of :mod:`msg.manifolds`, which says where they come from and is
their oracle.

A manifold is a table of factors, ``[kind, point, vector, dim]`` a row, with a number for each: the radius of curvature
of a hyperboloid, the curvature of a stereographic model.
"""

import math

import numpy as np
from numba import types
from numba.np.arrayobj import populate_array

from msg.kernels.constants import (
    ARCSINHC,
    ARCTANC,
    BACK,
    HYPERBOLIC_RADIUS,
    LARGEST,
    NEAR_ZERO,
    NEAREST,
    SINC,
    SPHERICAL_RADIUS,
    TANC,
    TERMS,
    TINY,
)
from msg.kernels.jit import compiled, inlined, operation, reordering

EUCLIDEAN, HYPERBOLOID, SPHERE, STEREOGRAPHIC = range(4)

SINH, COS, SIN = math.sinh(HYPERBOLIC_RADIUS), math.cos(SPHERICAL_RADIUS), math.sin(SPHERICAL_RADIUS)
TANH, TAN = math.tanh(HYPERBOLIC_RADIUS / 2) ** 2, math.tan(SPHERICAL_RADIUS / 2) ** 2


@operation
def _part(typing, array, start, size):
    """``array.ravel()[start:][:size]`` of a contiguous array, without owner or check: a slice costs ten times this.

    Whoever owns the array keeps it alive, by using it afterwards.
    """
    part = types.Array(array.dtype, 1, "C")

    def generate(context, builder, signature, args):
        whole = context.make_array(signature.args[0])(context, builder, args[0])
        found = context.make_array(signature.return_type)(context, builder)
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        data = builder.gep(whole.data, [args[1]])
        populate_array(found, data=data, shape=[args[2]], strides=[item], itemsize=item, meminfo=None)
        return found._getvalue()

    return part(array, types.intp, types.intp), generate


@reordering
def _dot(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@reordering
def _two_dots(g, a, b):
    """``<g, a>`` and ``<g, b>``."""
    first = second = 0.0
    for j in range(g.size):
        first += g[j] * a[j]
        second += g[j] * b[j]
    return first, second


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
def _series(u, series):
    """Derivative of a power series."""
    slope = 0.0
    for k in range(TERMS - 1, 0, -1):
        slope = slope * u + k * series[k]
    return slope


@inlined
def _tanc(u):
    r""":math:`\tan\sqrt u / \sqrt u`, for negative ``u`` tanh, and its derivative."""
    if u < 0:
        r = math.sqrt(-u)
        if r > 20.0:
            f = 1.0 / r
        else:
            e = math.expm1(2 * r)
            f = e / (e + 2) / r
    elif u > 0:
        r = math.sqrt(u)
        f = math.tan(r) / r
    else:
        f = 1.0 + 0.0 * u
    if abs(u) < NEAR_ZERO:
        return f, _series(u, TANC)
    return f, (1 + u * f * f - f) / (2 * u)


@inlined
def _arctanc(u):
    r""":math:`\arctan\sqrt u / \sqrt u`, for negative ``u`` artanh, and its derivative."""
    if u < 0:
        r = math.sqrt(-u)
        f = math.atanh(r) / r
    elif u > 0:
        r = math.sqrt(u)
        f = math.atan(r) / r
    else:
        f = 1.0 + 0.0 * u
    if abs(u) < NEAR_ZERO:
        return f, _series(u, ARCTANC)
    return f, (1 / (1 + u) - f) / (2 * u)


@inlined
def _arcsinhc(w):
    r""":math:`\operatorname{arsinh}\sqrt w / \sqrt w` and its derivative."""
    r = math.sqrt(w)
    f = math.asinh(r) / r if r > 0 else 1.0 + 0.0 * w
    if w < NEAR_ZERO:
        return f, _series(w, ARCSINHC)
    return f, (1 / math.sqrt(1 + w) - f) / (2 * w)


@inlined
def _above(z0, q):
    r""":math:`1 + \cos\varphi` on the unit sphere, without cancellation, and its derivatives in ``z0`` and ``q``."""
    if z0 < BACK:
        return q / (1 - z0), q / (1 - z0) ** 2, 1 / (1 - z0)
    return 1 + z0, 1.0, 0.0


@inlined
def _circular(s, kappa):
    r""":math:`\cos\sqrt u, \sin\sqrt u/\sqrt u` for :math:`u = \kappa s` and their derivatives in ``s``."""
    u = kappa * s
    r = math.sqrt(abs(u))
    if u < 0:
        e = math.expm1(r)
        c = 1 + e * e / (2 * (e + 1))
        f = (e + e / (e + 1)) / (2 * r)
    elif u > 0:
        c, f = math.cos(r), math.sin(r) / r
    else:
        c, f = 1.0 + u, 1.0 + u
    slope = _series(u, SINC) if abs(u) < NEAR_ZERO else (c - f) / (2 * u)
    return c, f, -kappa * f / 2, kappa * slope


@inlined
def _hyperbolic_step(s, radius):
    """First step: cosh, factor of the vector, and their derivatives in ``s``; longer than the bound twice is enough."""
    longest = (2 * HYPERBOLIC_RADIUS * radius) ** 2
    if s > longest:
        c, f, _, _ = _circular(longest, -1 / radius**2)
        f *= math.sqrt(longest / s)
        return c, f, 0.0, -f / (2 * s)
    return _circular(s, -1 / radius**2)


@inlined
def _bound(s, bound):
    """Factor that bounds the length of a vector of squared length ``s``, and its derivative in ``s``."""
    f, slope = _tanc(-s / bound**2)
    return f, -slope / bound**2


@inlined
def _forward_hyperboloid(radius, s, p, q):
    c, f, _, _ = _hyperbolic_step(s, radius)
    return f, c + f * p / (radius * (radius + math.sqrt(radius**2 + q)))


@inlined
def _backward_hyperboloid(radius, s, p, q, end, g0, gv, gr):
    """Coefficients of ``g, v, r`` in the derivatives in ``v`` and in ``r``; then those in ``z0`` and in the radius.

    The result is homogeneous of degree one in ``r``, ``v`` and the radius, so the last follows from the others (Euler).
    """
    z0 = math.sqrt(radius**2 + q)
    c, f, dc, df = _hyperbolic_step(s, radius)
    over = 1 / (radius * (radius + z0))
    beta = c + f * p * over
    limit, along = radius * SINH, f * gv + beta * gr
    if end > limit**2:
        shrink = limit / math.sqrt(end)
        back = -shrink * along / end
        total = g0 * math.sqrt(radius**2 + limit**2) + shrink * along
    else:
        shrink, last = 1.0, math.sqrt(radius**2 + end)
        back = g0 / last
        total = g0 * last + along
    a, b = shrink * gv + back * (f * s + beta * p), shrink * gr + back * (f * p + beta * q)
    to_f = a + b * p * over
    to_s, to_p = b * dc + to_f * df, b * f * over
    to_q = -b * f * p * over / (radius + z0) / (2 * z0)
    v1, v2, v3 = f * shrink, f * back * f + 2 * to_s, f * back * beta + to_p
    r1, r2, r3 = beta * shrink, beta * back * f + to_p, beta * back * beta + 2 * to_q
    rest = total - (r1 * gr + r2 * p + r3 * q) - (v1 * gv + v2 * s + v3 * p)
    return v1, v2, v3, r1, r2, r3, 0.0, rest / radius


@inlined
def _forward_sphere(z0, s, p, q):
    """``alpha``, ``beta`` and the first coordinate, before it is pulled back."""
    c, f, _, _ = _circular(s, 1.0)
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
def _backward_sphere(z0, s, p, q, end, g0, gv, gr, antipodal):
    """As :func:`_backward_hyperboloid`."""
    c, f, dc, df = _circular(s, 1.0)
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
    if antipodal:
        r1 = r2 = r3 = 0.0
    return v1, v2, v3, r1, r2, r3, to_first * c + to_above * in_z0, 0.0


@inlined
def _limit(kappa):
    return TANH if kappa < 0 else TAN


@inlined
def _forward_stereographic(kappa, s, p, q):
    h = _tanc(kappa * s / 4)[0] / 2
    bottom = max(1 - 2 * kappa * h * p + kappa**2 * q * h * h * s, TINY)
    return h * (1 + kappa * q) / bottom, (1 - 2 * kappa * h * p - kappa * h * h * s) / bottom


@inlined
def _backward_stereographic(kappa, s, p, q, end, gv, gr):
    """As :func:`_backward_hyperboloid`, the last in the curvature."""
    h, slope = _tanc(kappa * s / 4)
    h, slope = h / 2, slope / 2
    full = 1 - 2 * kappa * h * p + kappa**2 * q * h * h * s
    bottom = max(full, TINY)
    up, right = 1 - 2 * kappa * h * p - kappa * h * h * s, 1 + kappa * q
    alpha, beta = h * right / bottom, up / bottom
    shrink, back, to_kappa = 1.0, 0.0, 0.0
    if abs(kappa) * end > _limit(kappa):
        along = alpha * gv + beta * gr
        shrink = math.sqrt(_limit(kappa) / (abs(kappa) * end))
        back, to_kappa = -shrink * along / end, -shrink * along / (2 * kappa)
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
def _antipodal(z0, r):
    return z0 < 0 and _dot(r, r) < NEAREST * NEAREST


@inlined
def _direction(z0, r):
    """The other coordinates of a point of the sphere point along the first axis at the antipode; whether it is one."""
    found = _antipodal(z0, r)
    if found:
        r[:] = 0.0
        r[0] = NEAREST
    return found


# what is kept of a factor's step, for the way back
_S, _P, _Q, _END, _ANTIPODE, _KEPT = 0, 1, 2, 3, 4, 5


@inlined
def _step(kind, number, z, u, factor, out, kept):
    """One step of one factor along ``factor u``, from ``z`` (whose coordinates it may tidy up) to ``out``."""
    if kind == EUCLIDEAN:
        _combine(out, factor, u, 1.0, z)
        return
    dim, first = u.size, z.size - u.size
    r, m = _part(z, first, dim), _part(out, first, dim)
    if kind == SPHERE:
        kept[_ANTIPODE] = _direction(z[0], r)
    s, p, q = factor**2 * kept[_S], factor * _dot(u, r), _dot(r, r)
    kept[_P], kept[_Q] = p, q
    if kind == HYPERBOLOID:
        alpha, beta = _forward_hyperboloid(number, s, p, q)
        end, limit = _combine(m, alpha * factor, u, beta, r), number * SINH
        kept[_END] = end
        if end > limit**2:
            end = _combine(m, limit / math.sqrt(end), m, 0.0, m)
        out[0] = math.sqrt(number**2 + end)
    elif kind == SPHERE:
        alpha, beta, z0 = _forward_sphere(z[0], s, p, q)
        kept[_END] = _combine(m, alpha * factor, u, beta, r)
        z0, shrink, size = _sphere_end(z0, kept[_END])
        _combine(m, shrink / size, m, 0.0, m)
        out[0] = z0 / size
    else:
        alpha, beta = _forward_stereographic(number, s, p, q)
        end = _combine(m, alpha * factor, u, beta, r)
        kept[_END] = end
        if abs(number) * end > _limit(number):
            _combine(m, math.sqrt(_limit(number) / (abs(number) * end)), m, 0.0, m)


@inlined
def _step_back(kind, number, z, u, factor, g, kept, found):
    """Coefficients of one factor's derivatives; then the inner product of that in ``factor u`` with ``u``."""
    dim, first = u.size, z.size - u.size
    r, gm = _part(z, first, dim), _part(g, first, dim)
    gu, gr = _two_dots(gm, u, r)
    s, p, q, end, gv = factor**2 * kept[_S], kept[_P], kept[_Q], kept[_END], factor * gu
    if kind == EUCLIDEAN:
        v1, v2, v3, r1, r2, r3, to_z0, to_number = 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0
    elif kind == HYPERBOLOID:
        v1, v2, v3, r1, r2, r3, to_z0, to_number = _backward_hyperboloid(number, s, p, q, end, g[0], gv, gr)
    elif kind == SPHERE:
        antipodal = kept[_ANTIPODE] > 0
        v1, v2, v3, r1, r2, r3, to_z0, to_number = _backward_sphere(z[0], s, p, q, end, g[0], gv, gr, antipodal)
    else:
        v1, v2, v3, r1, r2, r3, to_z0, to_number = _backward_stereographic(number, s, p, q, end, gv, gr)
    found[0], found[1], found[2], found[3] = v1, v2 * factor, v3, r1
    found[4], found[5], found[6] = r2 * factor, r3, to_z0
    pu = p / factor if factor != 0 else 0.0
    return to_number, v1 * gu + v2 * factor * kept[_S] + v3 * pu


@operation
def _rows(typing, address, like, start, size):
    """``size`` numbers from number ``start`` on of an array of the type of ``like`` at an address."""
    part = types.Array(like.dtype, 1, "C")

    def generate(context, builder, signature, args):
        found = context.make_array(signature.return_type)(context, builder)
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(like.dtype)))
        data = builder.gep(builder.inttoptr(args[0], found.data.type), [args[2]])
        populate_array(found, data=data, shape=[args[3]], strides=[item], itemsize=item, meminfo=None)
        return found._getvalue()

    return part(types.intp, like, types.intp, types.intp), generate


@inlined
def _vector(row, step, factors, kept, u):
    """``u = step row``, made smaller where its square overflows; its squared length, and by what it was made smaller.

    ``kept`` of each factor gets its own part of the squared length.
    """
    total = 0.0
    for f in range(factors.shape[0]):
        vector, dim = factors[f, 2], factors[f, 3]
        squared = _scale(_part(u, vector, dim), step, _part(row, vector, dim))
        kept[f * _KEPT + _S] = squared
        total += squared
    if total <= LARGEST * LARGEST or np.isnan(total):
        return total, 1.0
    largest = 0.0
    for j in range(u.size):
        largest = max(largest, abs(u[j]))
    smaller, total = min(1.0, LARGEST / largest), 0.0
    for f in range(factors.shape[0]):
        part = _part(u, factors[f, 2], factors[f, 3])
        kept[f * _KEPT + _S] = _combine(part, smaller, part, 0.0, part)
        total += kept[f * _KEPT + _S]
    return total, smaller


@inlined
def _walk_row(factors, numbers, row, step, bound, z, u, out, kept):
    """One step of one row: factor of ``u``, its derivative in the squared length, by what ``u`` was made smaller."""
    squared, smaller = _vector(row, step, factors, kept, u)
    factor, slope = _bound(squared, bound) if bound > 0 else (1.0, 0.0)
    for f in range(factors.shape[0]):
        kind, point, vector, dim = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
        size = dim + (kind in (HYPERBOLOID, SPHERE))
        part, by = _part(kept, f * _KEPT, _KEPT), _part(u, vector, dim)
        _step(kind, numbers[f], _part(z, point, size), by, factor, _part(out, point, size), part)
    return factor, slope, smaller


@compiled
def walk(factors, numbers, start, addresses, like, dim, step, bound, first, last, out):
    """Steps one after another, from ``start [N or 1, D]`` to ``out [N, D]``.

    The vectors of each step are an array ``[N, d]`` of the type of ``like`` at an address, since copying them side by
    side would cost as much as a step. A ``bound`` of zero is none.
    """
    size, levels, kept_of_row = out.shape[1], addresses.size, factors.shape[0] * _KEPT
    memory = np.zeros(2 * size + dim + kept_of_row)
    u, kept = _part(memory, 2 * size, dim), _part(memory, 2 * size + dim, kept_of_row)
    for i in range(first, last):
        here = _part(memory, 0, size)
        here[:] = _part(start, min(i, start.shape[0] - 1) * size, size)
        for level in range(levels):
            there = _part(memory, (level + 1) % 2 * size, size)
            if level + 1 == levels:
                there = _part(out, i * size, size)
            _walk_row(factors, numbers, _rows(addresses[level], like, i * dim, dim), step, bound, here, u, there, kept)
            here = there
    memory[0] = 0.0  # it lives until here


@compiled
def walk_back(
    factors, numbers, start, addresses, like, dim, step, bound, grad, first, last, to_start, results, to_numbers
):
    """Derivatives of :func:`walk`: ``to_start [N, D]``, the vectors' at addresses, ``to_numbers [N, factors]``."""
    levels, size, count = addresses.size, grad.shape[1], factors.shape[0]
    kept_of_row = count * _KEPT
    each = size + dim + kept_of_row + 3
    memory = np.zeros((levels + 2) * each + 7 * count)
    g, found = _part(memory, (levels + 1) * each, size), _part(memory, (levels + 2) * each, 7 * count)
    for i in range(first, last):
        _part(memory, 0, size)[:] = _part(start, min(i, start.shape[0] - 1) * size, size)
        for level in range(levels):
            at = level * each
            z, u, there = _part(memory, at, size), _part(memory, at + size, dim), _part(memory, at + each, size)
            row, kept = _rows(addresses[level], like, i * dim, dim), _part(memory, at + size + dim, kept_of_row)
            factor, slope, smaller = _walk_row(factors, numbers, row, step, bound, z, u, there, kept)
            scalars = _part(memory, at + each - 3, 3)
            scalars[0], scalars[1], scalars[2] = factor, slope, smaller
        g[:] = _part(grad, i * size, size)
        for f in range(count):
            to_numbers[i, f] = 0.0
        for level in range(levels - 1, -1, -1):
            at = level * each
            z, u, kept = (
                _part(memory, at, size),
                _part(memory, at + size, dim),
                _part(memory, at + size + dim, kept_of_row),
            )
            scalars, result = _part(memory, at + each - 3, 3), _rows(results[level], like, i * dim, dim)
            factor, slope, smaller = scalars[0], scalars[1], scalars[2]
            total = 0.0
            for f in range(count):
                kind, point, vector, width = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
                tall = width + (kind in (HYPERBOLOID, SPHERE))
                coefficients, part = _part(found, 7 * f, 7), _part(kept, f * _KEPT, _KEPT)
                here, by, arriving = _part(z, point, tall), _part(u, vector, width), _part(g, point, tall)
                learned, along = _step_back(kind, numbers[f], here, by, factor, arriving, part, coefficients)
                to_numbers[i, f] += learned
                total += along
            for f in range(count):
                kind, point, vector, width = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
                lift = int(kind in (HYPERBOLOID, SPHERE))
                r, by, gm = _part(z, point + lift, width), _part(u, vector, width), _part(g, point + lift, width)
                c = _part(found, 7 * f, 7)
                along_u = factor * c[1] + 2 * slope * total
                scale = np.float64(step) * smaller
                _spread(_part(result, vector, width), scale, factor * c[0], gm, along_u, by, factor * c[2], r)
                _spread(gm, 1.0, c[3], gm, c[4], by, c[5], r)
                if lift:
                    g[point] = c[6]
        if to_start.shape[0]:
            _part(to_start, i * size, size)[:] = g
    memory[0] = 0.0  # it lives until here


@compiled
def log0(factors, numbers, z, first, last, out):
    """Logarithm at the origin, ``[N, D]`` to ``[N, d]``."""
    size, width, rest = z.shape[1], out.shape[1], np.empty(z.shape[1])
    for i in range(first, last):
        for f in range(factors.shape[0]):
            kind, point, vector, dim = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
            to, at = _part(out, i * width + vector, dim), i * size + point
            if kind == HYPERBOLOID:
                row = _part(z, at + 1, dim)
                a, _ = _arcsinhc(_dot(row, row) / numbers[f] ** 2)
                _combine(to, a, row, 0.0, row)
            elif kind == SPHERE:
                row = _part(rest, 0, dim)
                row[:] = _part(z, at + 1, dim)
                _direction(z[i, point], row)
                q = _dot(row, row)
                above, _, _ = _above(z[i, point], q)
                _combine(to, 2 * _arctanc(q / above**2)[0] / above, row, 0.0, row)
            elif kind == STEREOGRAPHIC:
                row = _part(z, at, dim)
                a, _ = _arctanc(max(numbers[f] * _dot(row, row), np.finfo(np.float64).eps - 1))
                _combine(to, 2 * a, row, 0.0, row)
            else:
                to[:] = _part(z, at, dim)
    rest[0] = 0.0  # it lives until here


@compiled
def log0_back(factors, numbers, z, grad, first, last, to_z, to_numbers):
    """Derivatives of :func:`log0`."""
    size, width, rest = z.shape[1], grad.shape[1], np.empty(z.shape[1])
    for i in range(first, last):
        for f in range(factors.shape[0]):
            kind, point, vector, dim = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
            g, at = _part(grad, i * width + vector, dim), i * size + point
            to_numbers[i, f] = 0.0
            if kind == HYPERBOLOID:
                row, to = _part(z, at + 1, dim), _part(to_z, at + 1, dim)
                w = _dot(row, row) / numbers[f] ** 2
                a, slope = _arcsinhc(w)
                along = _dot(g, row)
                _combine(to, a, g, 2 * along * slope / numbers[f] ** 2, row)
                to_z[i, point] = 0.0
                to_numbers[i, f] = -2 * along * slope * w / numbers[f]
            elif kind == SPHERE:
                row, to = _part(rest, 0, dim), _part(to_z, at + 1, dim)
                row[:] = _part(z, at + 1, dim)
                antipodal = _direction(z[i, point], row)
                q = _dot(row, row)
                above, in_z0, in_q = _above(z[i, point], q)
                t = q / above**2
                f0, slope = _arctanc(t)
                along = _dot(g, row)
                to_above = -along * (2 * f0 + 4 * slope * t) / above**2
                to_q = along * 2 * slope / above**3 + to_above * in_q
                if antipodal:
                    to[:] = 0.0
                else:
                    _combine(to, 2 * f0 / above, g, 2 * to_q, row)
                to_z[i, point] = to_above * in_z0
            elif kind == STEREOGRAPHIC:
                row, to = _part(z, at, dim), _part(to_z, at, dim)
                q = _dot(row, row)
                u, least = numbers[f] * q, np.finfo(np.float64).eps - 1
                a, slope = _arctanc(max(u, least))
                inner = 2 * _dot(g, row) * slope if u >= least else 0.0
                _combine(to, 2 * a, g, 2 * inner * numbers[f], row)
                to_numbers[i, f] = inner * q
            else:
                _part(to_z, at, dim)[:] = g
    rest[0] = 0.0  # it lives until here
