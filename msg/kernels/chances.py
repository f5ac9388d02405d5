"""Spikes that are drawn, compiled by numba; arguments and draws are those of ``reference_chances``.

Whether an input fires is told by how long it waits: the steps before its next spike are geometric, so one random number
a spike is drawn, not one a step. An input that fires often draws one a step, which is cheaper than a logarithm a spike,
and one whose probability is zero draws none.
"""

from math import log, log1p

import numpy as np

from msg.kernels import reference_chances
from msg.kernels.jit import compiled, inlined
from msg.kernels.parts import add, copy, part
from msg.kernels.splitmix import random, stream_of

_OFTEN = reference_chances.OFTEN


@inlined
def _spikes(chance, stream, steps, at):
    """Write the steps in which an input fires to ``at``; how many there are."""
    number, t = 0, 0
    if np.float64(chance) > _OFTEN:
        for step in range(steps):
            at[number] = step
            number += random(stream, step) < chance
        return number
    scale = 1.0 / log1p(-np.float64(chance))
    while True:
        wait = log(1.0 - random(stream, number)) * scale
        if not wait < steps - t:  # compared before it is a whole number, which it may be too long for
            return number
        t += np.int64(wait)
        at[number] = t
        number += 1
        t += 1


@compiled
def draw(chances, key, steps, first, last, out):
    """Ones where ``chances [N, F]`` fire, in ``out [T, N, F]``, which is zero."""
    inputs = chances.shape[1]
    at = np.empty(steps, np.int64)
    for i in range(first, last):
        for k in range(inputs):
            if chances[i, k] > 0:
                for j in range(_spikes(chances[i, k], stream_of(key, i * inputs + k), steps, at)):
                    out[at[j], i, k] = 1


@compiled
def currents(chances, numbers, key, steps, weight, first, last, out):
    """Products of what fires and ``weight [F, C]``: ``out [T, N, C]``; a row draws by its number, ``numbers [N]``."""
    inputs, channels = weight.shape
    at, now, one = np.empty(steps, np.int64), np.empty((steps, channels), out.dtype), out.dtype.type(1)
    for i in range(first, last):
        now[:] = 0
        for k in range(inputs):
            if chances[i, k] > 0:
                for j in range(_spikes(chances[i, k], stream_of(key, numbers[i] * inputs + k), steps, at)):
                    add(part(now, at[j] * channels, channels), one, part(weight, k * channels, channels))
        for t in range(steps):
            copy(part(out, (t * chances.shape[0] + i) * channels, channels), part(now, t * channels, channels))


@compiled
def currents_back(chances, numbers, key, steps, grad, rows, first, last, to_weight):
    """Add to ``to_weight [F, C]`` what ``rows[first:last]`` send back of ``grad [T, N, C]``, drawing once more."""
    inputs, channels = to_weight.shape
    at, now, one = np.empty(steps, np.int64), np.empty((steps, channels), grad.dtype), grad.dtype.type(1)
    for i in rows[first:last]:
        for t in range(steps):
            copy(part(now, t * channels, channels), part(grad, (t * chances.shape[0] + i) * channels, channels))
        for k in range(inputs):
            if chances[i, k] > 0:
                for j in range(_spikes(chances[i, k], stream_of(key, numbers[i] * inputs + k), steps, at)):
                    add(part(to_weight, k * channels, channels), one, part(now, at[j] * channels, channels))
