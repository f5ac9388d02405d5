"""What an operation costs: named tables with their source, in picojoules."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CostTable:
    """Energy of each kind of operation.

    Args:
        name: shown in reports.
        source: where the figures come from.
        picojoules: energy of one operation of each kind, in pJ. Kinds that are absent are reported as not priced.
    """

    name: str
    source: str
    picojoules: Mapping[str, float] = field(default_factory=dict)


HOROWITZ_45NM_FP32 = CostTable(
    name="45 nm, FP32",
    source="Horowitz 2014, Computing's energy problem (ISSCC), figure 1.1.9; a comparison is priced as an addition",
    picojoules={"multiply_accumulate": 4.6, "multiply": 3.7, "accumulate": 0.9, "comparison": 0.9},
)
