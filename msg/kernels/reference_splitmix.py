"""Random numbers of SplitMix64, counted, in NumPy: what the compiled ones are, vectorised.

Number ``j`` of stream ``i`` is a function of the key, ``i`` and ``j`` alone, so it makes no difference who draws it, or
when.

Source: `Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators
<https://doi.org/10.1145/2714064.2660195>`_.
"""

from typing import Any

import numpy as np

GAMMA, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
UNIT = 2.0**-53
"""Distance of two neighbouring random numbers."""


def mix(z: Any) -> Any:
    """SplitMix64's permutation of 64-bit words, for an array of ``uint64``."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND)
    return z ^ (z >> np.uint64(31))


def streams_of(key: Any, item: Any) -> Any:
    """Where the random numbers of each item begin."""
    return mix(item.astype(np.uint64) * np.uint64(GAMMA) + key)


def random(stream: Any, number: Any) -> Any:
    """Number ``number`` of each stream, in ``[0, 1)``."""
    counted = (number + 1).astype(np.uint64) * np.uint64(GAMMA)
    return (mix(stream + counted) >> np.uint64(11)) * UNIT
