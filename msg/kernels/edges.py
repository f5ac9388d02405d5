"""Numbers of edges and rows of their ends, several beside each other, compiled by numba: what attention is made of.

Edges stand row by row, as in CSR. Those of row ``i`` are ``pointers[i]`` to ``pointers[i + 1]``, ``columns[e]`` is the
other end of edge ``e``, and ``places[e]`` is where its numbers stand: ``e`` itself where ``places`` is empty, as it is
unless rows and columns have changed places. A row is done by one thread, its edges in their order. No row of an edge's
ends is ever copied.
"""

from msg.kernels.jit import compiled, reordering
from msg.kernels.parts import add, part, soon

_AHEAD = 16  # edges: numbers that lie apart are asked for before they are read


@reordering
def _inner(x, y):
    """``<x, y>``, in the type of the two."""
    total = x[0] * y[0]
    for j in range(1, x.size):
        total += x[j] * y[j]
    return total


@compiled
def weigh(pointers, columns, places, weight, x, first, last, out):
    """``out[i, k] = sum_e weight[e, k] x[columns[e], k]`` for ``weight [E, K]``, ``x [N, K, C]``; ``out`` is zero."""
    many, channels = x.shape[1], x.shape[2]
    width = many * channels
    for i in range(first, last):
        for e in range(pointers[i], pointers[i + 1]):
            sent, place = columns[e] * width, e
            if places.size:
                place = places[e]
                soon(weight, places[min(e + _AHEAD, places.size - 1)] * many)
            for k in range(many):
                mine = part(out, i * width + k * channels, channels)
                add(mine, weight[place, k], part(x, sent + k * channels, channels))


@compiled
def compare(pointers, columns, at_row, at_column, first, last, out):
    """``out[e, k] = <at_row[i, k], at_column[columns[e], k]>`` of an edge of row ``i``, for ``[N, K, C]`` each."""
    many, channels = at_row.shape[1], at_row.shape[2]
    width = many * channels
    for i in range(first, last):
        for e in range(pointers[i], pointers[i + 1]):
            far = columns[e] * width
            for k in range(many):
                here = part(at_row, i * width + k * channels, channels)
                out[e, k] = _inner(here, part(at_column, far + k * channels, channels))


@compiled
def join(pointers, columns, at_row, at_column, one, other, slope, first, last, out):
    """``out[e] = d (at_row[i] + at_column[columns[e]])`` of an edge of row ``i``, for rows ``[N, K]``, with ``d = 1``
    where ``one[i] + other[columns[e]]`` is positive, else ``slope``, which has their type.
    """
    for i in range(first, last):
        for e in range(pointers[i], pointers[i + 1]):
            j = columns[e]
            for k in range(out.shape[1]):
                both = at_row[i, k] + at_column[j, k]
                out[e, k] = both if one[i, k] + other[j, k] > 0 else slope[0] * both


@compiled
def sums(pointers, columns, places, value, one, other, slope, first, last, out):
    """``out[i] = sum_e d value[e]`` for ``value [E, K]``, with ``d`` as in :func:`join`; ``out [N, K]`` is zero."""
    for i in range(first, last):
        for e in range(pointers[i], pointers[i + 1]):
            j, place = columns[e], e
            if places.size:
                place = places[e]
                soon(value, places[min(e + _AHEAD, places.size - 1)] * out.shape[1])
            for k in range(out.shape[1]):
                v = value[place, k]
                out[i, k] += v if one[i, k] + other[j, k] > 0 else slope[0] * v


@compiled
def lower(pointers, first, last, value):
    """Take the highest of its row from each number of an edge, ``value [E, K]``."""
    for i in range(first, last):
        begin, end = pointers[i], pointers[i + 1]
        if begin == end:
            continue
        highest = value[begin].copy()
        for e in range(begin + 1, end):
            for k in range(highest.size):
                highest[k] = max(highest[k], value[e, k])
        for e in range(begin, end):
            for k in range(highest.size):
                value[e, k] -= highest[k]


@compiled
def spread(picks, value, out, first, last):
    """``out[t, picks[t, m, j]] += value[t, m]`` for ``picks [T, M, k]``, ``value [T, M, C]``; ``out`` is zero."""
    rows, drawn = picks.shape[1], picks.shape[2]
    nodes, channels = out.shape[1], out.shape[2]
    for t in range(first, last):
        for m in range(rows):
            mine = part(value, (t * rows + m) * channels, channels)
            for j in range(drawn):
                add(part(out, (t * nodes + picks[t, m, j]) * channels, channels), 1, mine)
