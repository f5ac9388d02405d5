"""Calls timed in turns, so that what slows the machine down slows all of them, and their ratios in the same round."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from msg.process import keep_freed_memory


def timed(call: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def quartiles(values: Sequence[float]) -> Sequence[float]:
    """Lower, median and upper; of a single value, itself."""
    return statistics.quantiles(values, n=4) if len(values) > 1 else 3 * [values[0]]


def compared(calls: Mapping[str, Callable[[], object]], rounds: int, digits: int = 3) -> tuple[float, list[str]]:
    """The median of the first call in milliseconds, and of each other its ratio to the first, median and quartiles.

    A round before the first that counts warms up.
    """
    keep_freed_memory()
    found = [{name: timed(call) for name, call in calls.items()} for _ in range(rounds + 1)][1:]
    first, *others = calls
    ratios = []
    for other in others:
        low, middle, high = quartiles([one[other] / one[first] for one in found])
        ratios.append(f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})")
    return statistics.median(one[first] for one in found), ratios
