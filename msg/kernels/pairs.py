r"""Squared distances and inner products of pairs of rows, compiled by numba.

Neither the rows of a pair nor their difference are ever written: a pair is read once forward, and once from each of its
ends back. All derivatives lie in the span of the two rows,

.. math::
    \frac{\partial f}{\partial x} = \alpha\,(x - y) + \beta\,x + \gamma\,y, \qquad
    \frac{\partial f}{\partial y} = \alpha\,(y - x) + \beta'\,y + \gamma\,x,

with the first term apart, since it vanishes as the two come together. A pair keeps these four slopes for each factor
of the manifold, whose table is that of :mod:`msg.kernels.geometry`. Formulas are those of the families.
"""

import math

import numpy as np

from msg.kernels.constants import CHORD, EUCLIDEAN, HYPERBOLOID, INNER_PRODUCT, RIM, SPHERE, TINY
from msg.kernels.jit import compiled, inlined, reordering
from msg.kernels.parts import part
from msg.kernels.quotients import arctanc, arsinhc, artanhc

SLOPES = 4
"""Numbers that a pair keeps for each factor: alpha, beta, beta' and gamma."""


@reordering
def _sum(x, sign, y):
    """``|x + sign y|^2``."""
    total = 0.0
    for j in range(x.size):
        both = np.float64(x[j]) + sign * np.float64(y[j])
        total += both * both
    return total


@reordering
def _inner(x, y):
    """``<x, y>``."""
    total = 0.0
    for j in range(x.size):
        total += np.float64(x[j]) * np.float64(y[j])
    return total


@reordering
def _lengths(x, y):
    """``|x|^2``, ``|y|^2`` and their difference, which holds all digits for close points."""
    one = other = between = 0.0
    for j in range(x.size):
        a, b = np.float64(x[j]), np.float64(y[j])
        one += a * a
        other += b * b
        between += (a - b) * (a + b)
    return one, other, between


# Each returns the value, the four slopes and the derivative in the factor's number.


@inlined
def _chord(radius, x, y):
    """Squared length of the chord between two points, given by all but their first coordinates."""
    square, (one, other, between) = _sum(x, -1.0, y), _lengths(x, y)
    x0, y0 = math.sqrt(radius**2 + one), math.sqrt(radius**2 + other)
    up = between / (x0 + y0)
    chord = square - up * up
    if chord < 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    at_x, at_y = -2 * up / x0, 2 * up / y0
    # homogeneous of degree two in x, y and the radius
    to_radius = (2 * chord - 2 * square - at_x * one - at_y * other) / radius
    return chord, 2.0, at_x, at_y, 0.0, to_radius


@inlined
def _hyperboloid(radius, x, y):
    chord, away, at_x, at_y, _, to_radius = _chord(radius, x, y)
    w = chord / (4 * radius**2)
    a, _ = arsinhc(w)
    value, slope = chord * a * a, a / math.sqrt(1 + w)
    # of degree two in the radius and the root of the chord
    to_radius = slope * to_radius + 2 * (value - slope * chord) / radius
    return value, slope * away, slope * at_x, slope * at_y, 0.0, to_radius


@inlined
def _sphere(number, x, y):
    square, both = _sum(x, -1.0, y), _sum(x, 1.0, y)
    bottom = both if both > TINY else TINY
    t = square / bottom
    a, _ = arctanc(t)
    slope = 4 * a / (1 + t)
    to_both = -slope * t / bottom if both > TINY else 0.0
    return 4 * t * a * a, 2 * slope / bottom, 2 * to_both, 2 * to_both, 2 * to_both, 0.0


@inlined
def _stereographic(kappa, x, y):
    square, inner, (one, other, _) = _sum(x, -1.0, y), _inner(x, y), _lengths(x, y)
    full = 1 + 2 * kappa * inner + kappa**2 * one * other
    bottom = full if full > TINY else TINY
    p = square / bottom
    u = kappa * p
    if u < 0:
        inside = u >= RIM
        a, slope = artanhc(-u if inside else -RIM)
        slope = -slope if inside else 0.0
    else:
        a, slope = arctanc(u)
    to_p = 4 * a * a + 8 * u * a * slope
    to_bottom = -to_p * p / bottom if full > TINY else 0.0
    gamma, beta = 2 * kappa * to_bottom, 2 * kappa**2 * to_bottom
    to_kappa = 8 * p * p * a * slope + to_bottom * (2 * inner + 2 * kappa * one * other)
    return 4 * p * a * a, 2 * to_p / bottom, beta * other, beta * one, gamma, to_kappa


@inlined
def _place(factor):
    """Where the coordinates that a pair is scored by begin, and how many they are."""
    kind, point, dim = factor[0], factor[1], factor[3]
    return point + int(kind in (HYPERBOLOID, CHORD)), dim + int(kind == SPHERE)


@compiled
def score(factors, numbers, z, first_ends, second_ends, first, last, out, slopes, to_numbers):
    """Of rows ``z [N, D]`` of any type, the sum over factors, ``out [M]``; ``slopes [M, factors, 4]`` and ``to_numbers
    [M, factors]`` where they have rows.
    """
    width, kept = z.shape[1], slopes.shape[0] > 0
    for m in range(first, last):
        total = 0.0
        for f in range(factors.shape[0]):
            kind, (start, dim) = factors[f, 0], _place(factors[f])
            x, y = part(z, first_ends[m] * width + start, dim), part(z, second_ends[m] * width + start, dim)
            number = numbers[f]
            if kind == EUCLIDEAN:
                found = _sum(x, -1.0, y), 2.0, 0.0, 0.0, 0.0, 0.0
            elif kind == INNER_PRODUCT:
                found = _inner(x, y), 0.0, 0.0, 0.0, 1.0, 0.0
            elif kind == HYPERBOLOID:
                found = _hyperboloid(number, x, y)
            elif kind == CHORD:
                found = _chord(number, x, y)
            elif kind == SPHERE:
                found = _sphere(number, x, y)
            else:
                found = _stereographic(number, x, y)
            total += found[0]
            if kept:
                slopes[m, f, 0], slopes[m, f, 1], slopes[m, f, 2], slopes[m, f, 3] = found[1:5]
                to_numbers[m, f] = found[5]
        out[m] = total


@compiled
def by_node(first_ends, second_ends, grad, slopes, pointers, others, weights, own):
    """Lay out what :func:`score_back` reads of pairs in the order in which it does, node by node.

    A node's pairs keep their order: the other end of each in ``others [2 M]``, and derivatives of :func:`score` times
    ``grad [M]`` in ``weights [2 M, factors, 2]``, in the difference of the rows and in the other row; those in its own
    row are summed up in ``own [N, factors]``. ``pointers [N + 1]`` and ``own`` are zeros before.
    """
    pairs, nodes = first_ends.size, pointers.size - 1
    for m in range(pairs):
        pointers[first_ends[m] + 1] += 1
        pointers[second_ends[m] + 1] += 1
    for i in range(nodes):
        pointers[i + 1] += pointers[i]
    free = pointers[:nodes].copy()
    for m in range(pairs):
        for side in range(2):
            i, j = (second_ends[m], first_ends[m]) if side else (first_ends[m], second_ends[m])
            place = free[i]
            free[i] += 1
            others[place] = j
            for f in range(slopes.shape[1]):
                weights[place, f, 0], weights[place, f, 1] = grad[m] * slopes[m, f, 0], grad[m] * slopes[m, f, 3]
                own[i, f] += grad[m] * slopes[m, f, 1 + side]


@reordering
def _add(total, away, x, towards, y):
    """``total += away (x - y) + towards y``."""
    for j in range(total.size):
        a, b = np.float64(x[j]), np.float64(y[j])
        total[j] += away * (a - b) + towards * b


@compiled
def score_back(factors, z, pointers, others, weights, own, first, last, to_z):
    """Derivatives of :func:`score` in its rows; a node's are added up by one thread, in the order of its pairs."""
    width = z.shape[1]
    memory = np.zeros(width)
    for i in range(first, last):
        for f in range(factors.shape[0]):
            start, dim = _place(factors[f])
            mine, total = part(z, i * width + start, dim), part(memory, 0, dim)
            total[:] = 0.0
            for place in range(pointers[i], pointers[i + 1]):
                other = part(z, others[place] * width + start, dim)
                _add(total, weights[place, f, 0], mine, weights[place, f, 1], other)
            to = part(to_z, i * width + start, dim)
            for k in range(dim):
                to[k] = total[k] + own[i, f] * mine[k]
    memory[0] = 0.0  # it lives until here
