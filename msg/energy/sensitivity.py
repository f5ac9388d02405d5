"""Which conclusions about energy depend on what is assumed: who needs less, under every set of assumptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf, isfinite
from typing import Any

from msg.energy.candidate import Candidate
from msg.energy.costs import MEMORY_MODELS, CostTable, MemoryTable, PublishedMSG, cost_tables
from msg.energy.counts import CONVENTIONS, Convention
from msg.report.tables import Style, heading, render, significant

_SHOWN = 3


@dataclass(frozen=True)
class Assumption:
    """What one figure of energy assumes.

    Attributes:
        costs: the prices, memory among them.
        convention: how zeros and ones are read.
        memory: name of the model of memory; ``None`` for arithmetic alone.
    """

    costs: CostTable
    convention: Convention
    memory: str | None

    def __str__(self) -> str:
        return f"{self.costs.name}, {self.convention}, {self.memory or 'no memory'}"

    def energy_mj(self, candidate: Candidate) -> float:
        """Mean energy of one inference, in mJ."""
        priced = self.costs.inference_mj
        return candidate.mean(lambda ops: sum(priced(ops, self.convention, self.memory is not None).values()))

    def complete(self, candidate: Candidate) -> bool:
        """Whether everything that the model does has a price."""
        return not any(self.costs.unpriced(ops, self.convention) for ops in candidate.runs)


def assumptions(
    costs: Sequence[CostTable] | None = None, memories: Mapping[str, MemoryTable] = MEMORY_MODELS
) -> list[Assumption]:
    """Every table at both ends of its bands, under every reading of the inputs, without memory and with each model of
    it.

    Args:
        costs: tables; all that are registered unless given. A published formula is not a table, so it is left out.
        memories: models of memory by name, for tables that price memory at all.
    """
    found = []
    for table in cost_tables() if costs is None else costs:
        if isinstance(table, PublishedMSG):
            continue
        for end in (table, table.at_low()) if table.low else (table,):
            for convention in CONVENTIONS:
                found.append(Assumption(end, convention, None))
                if table.memory is not None:
                    found += [Assumption(replace(end, memory=own), convention, name) for name, own in memories.items()]
    return found


@dataclass(frozen=True)
class Conclusion:
    """That one model needs less energy than another.

    Attributes:
        less: the one that needs less, under most assumptions that price all that both do.
        more: the other one.
        ratios: energy of the second over that of the first, by assumption, where all has a price.
        partial: the same where something of either has none, so that both figures are lower bounds.
    """

    less: str
    more: str
    ratios: Mapping[str, float]
    partial: Mapping[str, float]

    @property
    def exceptions(self) -> list[str]:
        """Assumptions under which it does not hold, of those that price everything."""
        return [name for name, ratio in self.ratios.items() if not ratio > 1]

    @property
    def holds(self) -> bool:
        """Whether it holds under all assumptions that price everything, of which there are some."""
        return bool(self.ratios) and not self.exceptions


@dataclass(frozen=True)
class Sensitivity:
    """The conclusion about each pair of models; ``print`` it.

    Attributes:
        conclusions: one a pair.
        title: of text and Markdown.
    """

    conclusions: Sequence[Conclusion]
    title: str = "Who needs less energy, under all assumptions"

    def as_dict(self) -> list[dict[str, Any]]:
        """All ratios, as JSON would have them: ``None`` where one of the two costs nothing."""
        return [
            {
                "less": one.less,
                "more": one.more,
                "holds": one.holds,
                "ratios": _finite(one.ratios),
                "partly_priced": _finite(one.partial),
            }
            for one in self.conclusions
        ]

    def __str__(self) -> str:
        return self.render("text")

    def markdown(self) -> str:
        """The table as Markdown."""
        return self.render("markdown")

    def render(self, style: Style) -> str:
        """In a style of :mod:`msg.report.tables`."""
        rows = [_row(one) for one in self.conclusions]
        return "\n\n".join([heading(self.title, style), render(rows, style), _LEGEND])


def _finite(ratios: Mapping[str, float]) -> dict[str, float | None]:
    return {name: ratio if isfinite(ratio) else None for name, ratio in ratios.items()}


def _row(one: Conclusion) -> dict[str, str]:
    held = len(one.ratios) - len(one.exceptions)
    others = sum(ratio > 1 for ratio in one.partial.values())
    more = len(one.exceptions) - _SHOWN
    left_out = one.exceptions[:_SHOWN] + [f"and {more} more"] * (more > 0)
    ends = [significant(end(one.ratios.values())) for end in (min, max)] if one.ratios else []
    return {
        "needs less": one.less,
        "than": one.more,
        "under": f"{held} of {len(one.ratios)}",
        "by a factor of": " to ".join(ends) or "–",
        "partly priced": f"{others} of {len(one.partial)}",
        "not under": "; ".join(left_out) or "–",
    }


_LEGEND = (
    "Assumptions: a table of costs at either end of its bands, a reading of zeros and ones, memory left out or a model "
    "of it. Partly priced: something that one of the two does has no price in the table, so that its sums are bounds."
)


def sensitivity(
    candidates: Sequence[Candidate],
    costs: Sequence[CostTable] | None = None,
    memories: Mapping[str, MemoryTable] = MEMORY_MODELS,
) -> Sensitivity:
    """Who needs less energy of each two models, and under which assumptions.

    Args:
        candidates: the models; all counted on the same graph.
        costs: see :func:`assumptions`.
        memories: see :func:`assumptions`.

    Raises:
        ValueError: for fewer than two models, or one that was never counted.
    """
    if len(candidates) < 2 or not all(one.runs for one in candidates):
        raise ValueError("give at least two models, each counted at least once")
    cases = assumptions(costs, memories)
    energies = {id(one): [case.energy_mj(one) for case in cases] for one in candidates}
    complete = {id(one): [case.complete(one) for case in cases] for one in candidates}
    return Sensitivity([_conclude(cases, pair, energies, complete) for pair in combinations(candidates, 2)])


def _conclude(
    cases: Sequence[Assumption],
    pair: tuple[Candidate, Candidate],
    energies: Mapping[int, Sequence[float]],
    complete: Mapping[int, Sequence[bool]],
) -> Conclusion:
    a, b = pair
    known = [x and y for x, y in zip(complete[id(a)], complete[id(b)])]
    wins = [(x < y) - (y < x) for x, y in zip(energies[id(a)], energies[id(b)])]
    most = sum(win for win, all_priced in zip(wins, known) if all_priced) or sum(wins)
    less, more = (a, b) if most >= 0 else (b, a)
    ratios: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for case, all_priced, own, other in zip(cases, known, energies[id(less)], energies[id(more)]):
        ratios[all_priced][str(case)] = other / own if own else inf if other else 1.0
    return Conclusion(less.name, more.name, ratios[True], ratios[False])
