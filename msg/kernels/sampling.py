"""Sampling of neighbours, compiled by numba; arguments and samples are those of ``reference_sampling``."""

from math import log

import numpy as np

from msg.kernels.jit import compiled, inlined
from msg.kernels.parts import soon
from msg.kernels.splitmix import random, stream_of

_SEARCHED = 48  # picks of a node among which one is looked for one by one; more are marked
_BLOCK = 32  # nodes whose edges are asked for from memory before the first of them is read


@inlined
def _read(source, offsets, start, first, last, edge, origin, col):
    """Both ends of the edges of nodes ``first`` to ``last``."""
    for i in range(first, last):
        for e in range(offsets[i], offsets[i + 1]):
            origin[e] = source[edge[e]]
            col[e] = start + i


@compiled
def count(pointers, nodes, fanout, replace, offsets):
    """How many edges each node gets, summed up."""
    total = 0
    offsets[0] = 0
    for i in range(nodes.shape[0]):
        number = pointers[nodes[i] + 1] - pointers[nodes[i]]
        if fanout >= 0 and (number > fanout or (replace and number > 0)):
            number = fanout
        total += number
        offsets[i + 1] = total


@inlined
def _distinct(stream, begin, degree, number, at, edge, marks):
    """A set of edges by Floyd's algorithm, each as likely as another."""
    met = np.uint64(0)  # a bit for each pick, shared by those that are 64 apart
    for j in range(number):
        top = degree - number + j
        pick = np.int64(random(stream, j) * (top + 1))
        bit = np.uint64(1) << np.uint64(pick & 63)
        if number > _SEARCHED:
            pick = top if marks[pick] else pick
            marks[pick] = True
        elif met & bit:
            for other in range(j):
                if edge[at + other] == begin + pick:
                    pick = top
                    bit = np.uint64(1) << np.uint64(pick & 63)
                    break
        met |= bit
        edge[at + j] = begin + pick
    if number > _SEARCHED:
        for e in range(at, at + number):
            marks[edge[e] - begin] = False


@compiled
def uniform(pointers, source, nodes, offsets, start, fanout, replace, key, longest, first, last, edge, origin, col):
    """Each neighbour alike, with replacement or without."""
    marks = np.zeros(longest if fanout > _SEARCHED and not replace else 0, np.bool_)
    for block in range(first, last, _BLOCK):
        stop = min(block + _BLOCK, last)
        for i in range(block, stop):
            begin, at = pointers[nodes[i]], offsets[i]
            degree, number = pointers[nodes[i] + 1] - begin, offsets[i + 1] - at
            stream = stream_of(key, start + i)
            if replace and fanout >= 0:
                for j in range(number):
                    edge[at + j] = begin + np.int64(random(stream, j) * degree)
            elif number == degree:
                for j in range(number):
                    edge[at + j] = begin + j
            else:
                _distinct(stream, begin, degree, number, at, edge, marks)
            for e in range(at, at + number):
                soon(source, edge[e])
        _read(source, offsets, start, block, stop, edge, origin, col)


@compiled
def successive(pointers, source, weight, nodes, offsets, start, key, first, last, edge, origin, col):
    """In proportion to the weights of those that are left: the first to ring of exponential clocks."""
    widest = 0
    for i in range(first, last):
        widest = max(widest, offsets[i + 1] - offsets[i])
    times = np.empty(widest)  # of the edges that rang so far, in order
    for i in range(first, last):
        begin, at = pointers[nodes[i]], offsets[i]
        degree, number = pointers[nodes[i] + 1] - begin, offsets[i + 1] - at
        stream = stream_of(key, start + i)
        if number == degree:
            for j in range(number):
                edge[at + j] = begin + j
        elif number > 0:
            latest = 0.0
            for j in range(degree):
                u = random(stream, j)
                # most ring too late by this bound, -log(1 - u) >= u, which spares them the logarithm
                if j >= number and not u < latest * weight[begin + j]:
                    continue
                time = -log(1 - u) / weight[begin + j]
                if j >= number and not time < latest:
                    continue
                place = min(j, number - 1)
                while place > 0 and times[place - 1] > time:
                    times[place] = times[place - 1]
                    edge[at + place] = edge[at + place - 1]
                    place -= 1
                times[place] = time
                edge[at + place] = begin + j
                latest = times[number - 1]
    _read(source, offsets, start, first, last, edge, origin, col)


@compiled
def proportional(pointers, source, total, nodes, offsets, start, key, first, last, edge, origin, col):
    """In proportion to weights, with replacement; ``total`` are the weights of a node's edges, summed up."""
    for i in range(first, last):
        begin, at = pointers[nodes[i]], offsets[i]
        end, stream = pointers[nodes[i] + 1], stream_of(key, start + i)
        for e in range(at, offsets[i + 1]):
            low, high = begin, end - 1
            goal = random(stream, e - at) * total[high]
            while low < high:
                middle = (low + high) // 2
                if total[middle] > goal:
                    high = middle
                else:
                    low = middle + 1
            edge[e] = low
    _read(source, offsets, start, first, last, edge, origin, col)


@compiled
def relabel(nodes, starts, hop, offsets, origin, place, row):
    """Number the nodes that edges come from: first those that are known, then the others as they come."""
    groups = starts.shape[1] - 1
    begin, known = starts[hop, 0], starts[hop, groups]
    for g in range(groups):
        starts[hop + 1, g] = known
        for h in range(hop, -1, -1):
            # backwards: a seed that is given twice is known by its first place
            for i in range(starts[h, g + 1] - 1, starts[h, g] - 1, -1):
                place[nodes[i]] = i
        for e in range(offsets[starts[hop, g] - begin], offsets[starts[hop, g + 1] - begin]):
            # without a branch, which could not be foretold
            number = place[origin[e]]
            fresh = number < 0
            number = known if fresh else number
            place[origin[e]] = row[e] = number
            nodes[known] = origin[e]
            known += fresh
        for h in range(hop + 1):
            for i in range(starts[h, g], starts[h, g + 1]):
                place[nodes[i]] = -1
        for i in range(starts[hop + 1, g], known):
            place[nodes[i]] = -1
    starts[hop + 1, groups] = known


@compiled
def induced(pointers, source, nodes, place):
    """All edges between nodes: row, column, edge."""
    for i in range(nodes.shape[0] - 1, -1, -1):
        place[nodes[i]] = i
    total = 0
    for i in range(nodes.shape[0]):
        for e in range(pointers[nodes[i]], pointers[nodes[i] + 1]):
            total += place[source[e]] >= 0
    row, col, edge = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.int64)
    at = 0
    for i in range(nodes.shape[0]):
        for e in range(pointers[nodes[i]], pointers[nodes[i] + 1]):
            if place[source[e]] >= 0:
                row[at], col[at], edge[at] = place[source[e]], i, e
                at += 1
    for i in range(nodes.shape[0]):
        place[nodes[i]] = -1
    return row, col, edge
