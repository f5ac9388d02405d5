r"""Spikes that are drawn, in NumPy: what the compiled loops do, vectorised. A twin draws the very same spikes.

Input ``k`` of row ``i`` fires in each step with probability ``min(chances[i, k], 1)``, or never where that is not above
zero. The key and its place decide a stream of random numbers. Where ``p`` is above a tenth, number ``t`` tells of step
``t``. Elsewhere number ``j`` tells how many steps it waits for its spike ``j``, which is geometric:
:math:`\lfloor \ln U / \ln(1 - p) \rfloor` for ``U`` uniform in ``(0, 1]``.

Source: `Devroye 1986, Non-Uniform Random Variate Generation <https://luc.devroye.org/rnbookindex.html>`_, section X.2.
"""

from typing import Any

import numpy as np

from msg.kernels.reference_splitmix import random, streams_of

OFTEN = 0.1
"""Above this a number a step is drawn, not one a spike."""


def _spikes(chances: Any, numbers: Any, key: Any, steps: int) -> tuple[Any, Any, Any]:
    """Step, number of the row and input of each spike of these rows."""
    row, column = np.nonzero(chances > 0)
    chance, row = chances[row, column].astype(np.float64), numbers[row]
    stream = streams_of(key, row * chances.shape[1] + column)
    found, often = [(np.zeros(0, np.int64),) * 3], chance > OFTEN
    for t in range(steps if often.any() else 0):
        fires = random(stream[often], np.array([t])) < chance[often]
        found.append((np.full(fires.sum(), t), row[often][fires], column[often][fires]))
    row, column, stream, scale = row[~often], column[~often], stream[~often], 1.0 / np.log1p(-chance[~often])
    t, number = np.zeros(len(row), np.int64), 0
    while len(row):
        wait = np.log(1.0 - random(stream, np.array([number]))) * scale
        fires = wait < steps - t
        row, column, stream, scale = row[fires], column[fires], stream[fires], scale[fires]
        t = t[fires] + wait[fires].astype(np.int64)
        found.append((t, row, column))
        t, number = t + 1, number + 1
    t, row, column = map(np.concatenate, zip(*found))
    return t, row, column


def draw(chances, key, steps, first, last, out) -> None:
    """Ones where ``chances [N, F]`` fire, in ``out [T, N, F]``, which is zero."""
    out[_spikes(chances[first:last], np.arange(first, last), key, steps)] = 1


def currents(chances, numbers, key, steps, weight, first, last, out) -> None:
    """Products of what fires and ``weight [F, C]``: ``out [T, N, C]``; a row draws by its number, ``numbers [N]``."""
    for i in range(first, last):
        out[:, i] = _fired(chances[[i]], numbers[[i]], key, steps, weight.dtype) @ weight


def currents_back(chances, numbers, key, steps, grad, rows, first, last, to_weight) -> None:
    """Add to ``to_weight [F, C]`` what ``rows[first:last]`` send back of ``grad [T, N, C]``, drawing once more."""
    for i in rows[first:last]:
        to_weight += _fired(chances[[i]], numbers[[i]], key, steps, grad.dtype).T @ grad[:, i]


def _fired(chances: Any, number: Any, key: Any, steps: int, dtype: Any) -> Any:
    """What the inputs of one row do in each step, ``[T, F]``."""
    fired = np.zeros((steps, chances.shape[1]), dtype)
    t, _, column = _spikes(chances, number, key, steps)
    fired[t, column] = 1
    return fired
