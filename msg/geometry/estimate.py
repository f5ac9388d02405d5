"""A number that was found by sampling, with what is known of its error."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """Mean of independent repeats.

    Attributes:
        mean: of them.
        error: its standard error; NaN of a single repeat.
        values: what each repeat gave.
    """

    mean: float
    error: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """The estimate from what repeats gave."""
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), error, tuple(values))

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if math.isnan(self.error) else f"{self.mean:.3f} ± {self.error:.3f}"
