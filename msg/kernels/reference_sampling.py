"""Sampling of neighbours in NumPy: what the compiled loops do, vectorised. A twin draws the very same sample.

Edges are in CSC: those into node ``v`` come from ``source[pointers[v]:pointers[v + 1]]``, and an edge is told by its
place there. Random numbers are those of :mod:`msg.kernels.reference_splitmix`.
"""

from typing import Any

import numpy as np

from msg.kernels.reference_splitmix import random, streams_of


def _repeat(count: Any) -> tuple[Any, Any]:
    """Which item each of ``sum(count)`` things belongs to, and which of the item's own it is."""
    item = np.repeat(np.arange(len(count)), count)
    return item, np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)


def count(pointers, nodes, fanout, replace, offsets) -> None:
    """How many edges each node gets, summed up: node ``i`` has ``offsets[i]`` to ``offsets[i + 1]``."""
    degree = pointers[nodes + 1] - pointers[nodes]
    if fanout < 0:
        number = degree
    elif replace:
        number = np.where(degree > 0, fanout, 0)
    else:
        number = np.minimum(degree, fanout)
    offsets[0] = 0
    np.cumsum(number, out=offsets[1:])


def _begin(pointers, nodes, offsets, start, first, last) -> tuple[Any, ...]:
    """Where the edges of each node begin, how many there are, how many it gets, and its place among all nodes."""
    v = nodes[first:last]
    return (
        pointers[v],
        pointers[v + 1] - pointers[v],
        np.diff(offsets[first : last + 1]),
        start + np.arange(first, last),
    )


def _finish(source, local, number, chosen, out, edge, origin, col) -> None:
    edge[out] = chosen
    origin[out] = source[chosen]
    col[out] = np.repeat(local, number)


def uniform(
    pointers, source, nodes, offsets, start, fanout, replace, key, longest, first, last, edge, origin, col
) -> None:
    """Each neighbour alike, with replacement or (by Floyd's algorithm) without."""
    begin, degree, number, local = _begin(pointers, nodes, offsets, start, first, last)
    stream = streams_of(key, local)
    item, j = _repeat(number)
    chosen = j.copy()
    if replace and fanout >= 0:
        chosen = (random(stream[item], j) * degree[item]).astype(np.int64)
    elif fanout >= 0:
        # a node's picks are marked among all neighbours of these nodes
        short = np.flatnonzero(number < degree)
        room = np.cumsum(degree[short]) - degree[short]
        marks = np.zeros(int(degree[short].sum()), dtype=bool)
        at = (offsets[first:last] - offsets[first])[short]
        for step in range(fanout if len(short) else 0):
            top = degree[short] - fanout + step
            pick = (random(stream[short], np.full(len(short), step)) * (top + 1)).astype(np.int64)
            pick = np.where(marks[room + pick], top, pick)
            marks[room + pick] = True
            chosen[at + step] = pick
    _finish(source, local, number, begin[item] + chosen, slice(offsets[first], offsets[last]), edge, origin, col)


def successive(pointers, source, weight, nodes, offsets, start, key, first, last, edge, origin, col) -> None:
    """In proportion to the weights of those that are left: the first to ring of exponential clocks."""
    begin, degree, number, local = _begin(pointers, nodes, offsets, start, first, last)
    stream = streams_of(key, local)
    item, j = _repeat(degree)
    with np.errstate(over="ignore"):
        time = -np.log(1 - random(stream[item], j)) / weight[begin[item] + j]
    time[(number == degree)[item]] = 0  # all of them, in their own order
    order = np.lexsort((time, item))
    chosen = (begin[item] + j)[order][j < number[item]]
    _finish(source, local, number, chosen, slice(offsets[first], offsets[last]), edge, origin, col)


def proportional(pointers, source, total, nodes, offsets, start, key, first, last, edge, origin, col) -> None:
    """In proportion to weights, with replacement; ``total`` are the weights of a node's edges, summed up."""
    begin, degree, number, local = _begin(pointers, nodes, offsets, start, first, last)
    item, j = _repeat(number)
    low, high = begin[item], begin[item] + degree[item] - 1
    goal = random(streams_of(key, local)[item], j) * total[high]
    while np.any(low < high):
        middle = (low + high) // 2
        above = total[middle] > goal
        low, high = np.where(above, low, np.minimum(middle + 1, high)), np.where(above, middle, high)
    _finish(source, local, number, low, slice(offsets[first], offsets[last]), edge, origin, col)


def _first_places(keys, place) -> Any:
    """Write where each key comes first; returns ``0, 1, ...``."""
    number = np.arange(len(keys), dtype=place.dtype)
    place[keys] = len(keys)
    np.minimum.at(place, keys, number)
    return number


def relabel(nodes, starts, hop, offsets, origin, place, row) -> None:
    """Number the nodes that edges come from, ``row``: first those that are known, then the others as they come.

    Args:
        nodes: known ones, with room for as many more as there are edges, which are appended.
        starts: ``[hops + 1, groups + 1]``, where the nodes begin that a group met at a hop; the row after ``hop`` is
            written. A group knows its own nodes only.
        hop: whose nodes the edges lead to.
        offsets: where the edges of each of these nodes begin.
        origin: nodes that the edges come from.
        place: ``[N]``, all -1, and so it is left.
        row: ``[E]``, written.
    """
    known, groups = starts[hop, -1], starts.shape[1] - 1
    of_edge = np.repeat(np.arange(groups), np.diff(offsets[starts[hop] - starts[hop, 0]]))
    keys = np.concatenate((nodes[:known], origin))
    if groups > 1:
        of_node = np.concatenate([np.repeat(np.arange(groups), np.diff(starts[h])) for h in range(hop + 1)])
        _, keys = np.unique(np.concatenate((of_node, of_edge)) * len(place) + keys, return_inverse=True)
        place = np.empty(len(keys), dtype=place.dtype)
    number = _first_places(keys, place)
    first = place[keys[known:]]
    place[keys] = -1
    fresh = np.flatnonzero(first == number[known:])
    number[known + fresh] = known + np.arange(len(fresh))
    row[:] = number[first]
    nodes[known : known + len(fresh)] = origin[fresh]
    starts[hop + 1] = known + np.searchsorted(of_edge[fresh], np.arange(groups + 1))


def induced(pointers, source, nodes, place) -> tuple[Any, Any, Any]:
    """All edges between nodes: row, column, edge."""
    _first_places(nodes, place)
    col, j = _repeat(pointers[nodes + 1] - pointers[nodes])
    edge = pointers[nodes][col] + j
    row = place[source[edge]].astype(np.int64)
    place[nodes] = -1
    inside = row >= 0
    return row[inside], col[inside], edge[inside]
