"""A model that is compared with others."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msg.energy.counts import Operations


@dataclass(frozen=True)
class Candidate:
    """A model that is compared.

    Attributes:
        name: shown.
        runs: what was counted, once for each seed.
        metric: accuracy (or another) of each seed, between 0 and 1; empty if unknown.
    """

    name: str
    runs: Sequence[Operations]
    metric: Sequence[float] = ()

    def mean(self, measure: Callable[[Operations], float]) -> float:
        """Mean over the seeds."""
        return statistics.fmean(measure(ops) for ops in self.runs)
