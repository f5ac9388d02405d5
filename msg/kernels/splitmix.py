"""Random numbers that are counted, compiled by numba: number ``j`` of stream ``i`` is a function of the key, ``i`` and
``j`` alone, so it makes no difference who draws it, or when. ``reference_splitmix`` has the same.
"""

import numpy as np

from msg.kernels import reference_splitmix
from msg.kernels.jit import inlined

_GAMMA, _FIRST, _SECOND = (
    np.uint64(n) for n in (reference_splitmix.GAMMA, reference_splitmix.FIRST, reference_splitmix.SECOND)
)
_UNIT = reference_splitmix.UNIT


@inlined
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@inlined
def stream_of(key, item):
    """Where the random numbers of an item begin."""
    return _mix(np.uint64(item) * _GAMMA + key)


@inlined
def random(stream, number):
    """Number ``number`` of a stream, in ``[0, 1)``."""
    return np.int64(_mix(stream + np.uint64(number + 1) * _GAMMA) >> np.uint64(11)) * _UNIT
