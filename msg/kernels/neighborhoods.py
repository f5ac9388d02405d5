"""What two nodes of a graph have in common, compiled by numba. :class:`msg.graph.Neighborhoods` says what that is, and
does the same by SciPy.
"""

import numpy as np

from msg.kernels.jit import compiled


@compiled
def counts(pointers, col, weights, pointers_of_pairs, order, far, first, last, out):
    """CN, AA, RA and, where ``out [M, 4]`` has a fourth column, L3, of pairs that are grouped by one of their ends.

    ``far[m]`` is the other end of pair ``m``; those of node ``i`` are ``order[pointers_of_pairs[i]:][...]``. What leads
    two steps away from ``i`` is added up once for all of them. ``pointers`` and ``col`` are neighbours in CSR, without
    loops; ``weights [N, 3]`` are those of a node on the way in CN, AA and RA.
    """
    nodes, walks = pointers.size - 1, out.shape[1] > 3
    near, reached = np.zeros(nodes, np.bool_), np.zeros(nodes if walks else 0, weights.dtype)
    for i in range(first, last):
        if pointers_of_pairs[i] == pointers_of_pairs[i + 1]:
            continue
        steps = 0
        for e in range(pointers[i], pointers[i + 1]):
            k = col[e]
            near[k] = True
            if walks:
                steps += pointers[k + 1] - pointers[k]
                weight = weights[k, 2]
                for step in range(pointers[k], pointers[k + 1]):
                    reached[col[step]] += weight
        for place in range(pointers_of_pairs[i], pointers_of_pairs[i + 1]):
            m = order[place]
            common = adamic = allocated = walked = 0.0
            for e in range(pointers[far[m]], pointers[far[m] + 1]):
                k = col[e]
                if near[k]:
                    common += weights[k, 0]
                    adamic += weights[k, 1]
                    allocated += weights[k, 2]
                if walks:
                    walked += weights[k, 2] * reached[k]
            out[m, 0], out[m, 1], out[m, 2] = common, adamic, allocated
            if walks:
                out[m, 3] = walked
        few = steps < nodes // 8  # else all are forgotten at once
        if not few:
            reached[:] = 0
        for e in range(pointers[i], pointers[i + 1]):
            k = col[e]
            near[k] = False
            if few:
                for step in range(pointers[k], pointers[k + 1] if walks else pointers[k]):
                    reached[col[step]] = 0


@compiled
def places(pointers, col, source, target, out):
    """Where each pair stands among the sorted entries of a matrix, or -1."""
    for m in range(source.size):
        wanted, low, high = target[m], pointers[source[m]], pointers[source[m] + 1]
        last = high
        while low < high:
            middle = (low + high) >> 1
            if col[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        out[m] = low if low < last and col[low] == wanted else -1
