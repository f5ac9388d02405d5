"""Counts of operations, by part of a model and by kind."""

from collections import Counter
from dataclasses import dataclass

from msg.energy.costs import CostTable

KINDS = ("multiply_accumulate", "multiply", "accumulate", "comparison", "transcendental")
"""Kinds of operation that are counted."""

NOT_COUNTED = ("memory traffic", "addressing", "divisions and other scalar operations of manifold steps")
"""What no estimate here includes, named in every report."""


@dataclass(frozen=True)
class EnergyEstimate:
    """Operations of one inference over the whole graph, and their energy.

    Attributes:
        parts: count of each kind of operation, for each part of the model.
        costs: the table that prices them.
    """

    parts: dict[str, Counter[str]]
    costs: CostTable

    @property
    def counts(self) -> Counter[str]:
        """Total count of each kind of operation."""
        return sum(self.parts.values(), Counter())

    @property
    def energy_mj(self) -> float:
        """Energy of one inference over the whole graph in millijoules, of the kinds the table prices."""
        return sum(self.part_mj(part) for part in self.parts)

    def part_mj(self, part: str) -> float:
        """Energy of one part in millijoules."""
        prices = self.costs.picojoules
        return sum(prices.get(kind, 0.0) * count for kind, count in self.parts[part].items()) * 1e-9

    @property
    def unpriced(self) -> dict[str, int]:
        """Kinds that occur but that the table does not price, with their counts."""
        return {kind: count for kind, count in self.counts.items() if kind not in self.costs.picojoules}

    def as_dict(self) -> dict:
        """Everything, as JSON would have it."""
        return {
            "energy_mj": self.energy_mj,
            "counts": {kind: self.counts.get(kind, 0) for kind in KINDS},
            "parts_mj": {part: self.part_mj(part) for part in self.parts},
            "unpriced": self.unpriced,
            "not_counted": list(NOT_COUNTED),
            "costs": {"name": self.costs.name, "source": self.costs.source, **self.costs.picojoules},
        }
