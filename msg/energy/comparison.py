"""Several models side by side, under several tables of costs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from msg.energy.break_even import break_even
from msg.energy.candidate import Candidate
from msg.energy.costs import CostTable, cost_tables
from msg.energy.counts import CONVENTIONS, Convention
from msg.energy.report import NOT_COUNTED, READINGS, report
from msg.energy.sensitivity import Sensitivity, sensitivity
from msg.report.tables import Style, called, fixed, heading, mean_std, render
from msg.report.tables import significant as mj


@dataclass(frozen=True)
class Comparison:
    """Energy of one inference of several models; ``print`` it.

    Attributes:
        candidates: the models.
        costs: the tables.
        title: of text and Markdown.
        metric: name of what stands beside the energy.
    """

    candidates: Sequence[Candidate]
    costs: Sequence[CostTable]
    title: str = "Energy of one inference, mJ"
    metric: str = "accuracy"

    def energy_mj(
        self, candidate: Candidate, costs: CostTable, convention: Convention = "nonzero", memory: bool = False
    ) -> float:
        """Mean energy of one inference of a model, in mJ."""
        return candidate.mean(lambda ops: report(ops, costs).energy_mj(convention, memory))

    def as_dict(self) -> dict[str, Any]:
        """Everything, with each seed's counts, as JSON would have it."""
        pairs = self.sensitivity
        return {
            "metric": self.metric,
            "models": {
                one.name: {
                    self.metric: list(one.metric),
                    "energy_mj": {
                        costs.name: {
                            f"{convention}{' with memory' if memory else ''}": self.energy_mj(
                                one, costs, convention, memory
                            )
                            for convention in CONVENTIONS
                            for memory in ((False, True) if costs.memory else (False,))
                        }
                        for costs in self.costs
                    },
                    "per_seed": [report(ops).as_dict() for ops in one.runs],
                }
                for one in self.candidates
            },
            "costs": {costs.name: costs.source for costs in self.costs},
            "sensitivity": None if pairs is None else pairs.as_dict(),
        }

    @cached_property
    def sensitivity(self) -> Sensitivity | None:
        """Which of each two models needs less under all assumptions; ``None`` of a single model."""
        return sensitivity(self.candidates, self.costs) if len(self.candidates) > 1 else None

    def __str__(self) -> str:
        return self._render("text")

    def markdown(self) -> str:
        """The comparison as Markdown."""
        return self._render("markdown")

    def figure(self) -> Any:
        """A panel without memory and one with, a bar a model, stacked by kind; the first table's prices."""
        first = self.costs[0]
        from msg.report.figures import stacked_bars

        panels = {}
        for memory in (False, True) if first.memory else (False,):
            title = f"{first.name}{', with memory' if memory else ''}"
            panels[title] = {one.name: first.inference_mj(one.runs[0], memory=memory) for one in self.candidates}
        return stacked_bars(panels)

    def _render(self, style: Style) -> str:
        parts = [heading(self.title, style)]
        for convention, label in READINGS.items():
            parts += [f"{label[0].upper()}{label[1:]}.", render(self._rows(convention), style)]
        if spikes := self._spikes():
            parts.append(render(spikes, style))
        if (pairs := self.sensitivity) is not None:
            parts.append(pairs.render(style))
        return "\n\n".join([*parts, "\n".join(f"- {line}" for line in self._notes())])

    def _rows(self, convention: Convention) -> list[dict[str, str]]:
        columns = {
            f"{costs.name}{' + memory' if memory else ''}": (costs, memory)
            for costs in self.costs
            for memory in ((False, True) if costs.memory else (False,))
        }
        return [
            {"model": one.name, f"{called(self.metric)}, %": mean_std(one.metric)}
            | {title: mj(self.energy_mj(one, costs, convention, memory)) for title, (costs, memory) in columns.items()}
            for one in self.candidates
        ]

    def _spikes(self) -> list[dict[str, str]]:
        rows = []
        for one in self.candidates:
            pairs = [(break_even(ops), break_even(ops, memory=True)) for ops in one.runs]
            found = [(plain, memory) for plain, memory in pairs if plain is not None and memory is not None]
            if found:
                limits = [statistics.fmean(even.break_even_rate or 0.0 for even in way) for way in zip(*found)]
                rows.append(
                    {
                        "spiking model": one.name,
                        "firing rate": fixed(statistics.fmean(plain.rate for plain, _ in found), 4),
                        "spikes per synapse": fixed(
                            statistics.fmean(plain.spikes_per_synapse for plain, _ in found), 3
                        ),
                        "break-even rate (INT8)": fixed(limits[0], 4),
                        "with memory": fixed(limits[1], 4),
                    }
                )
        return rows

    def _notes(self) -> list[str]:
        notes = [f"{costs.name}: {costs.source}" for costs in self.costs]
        for costs in self.costs:
            kinds = sorted({kind for one in self.candidates for ops in one.runs for kind in costs.unpriced(ops)})
            if kinds:
                notes.append(f"{costs.name} has no price for: {', '.join(kinds)}")
        unknown = sorted({name for one in self.candidates for ops in one.runs for name in ops.unknown})
        notes.append(f"not known, so in no count: {', '.join(unknown) or 'nothing'}")
        notes.append("break-even rate 0: what happens in every step costs more than the quantised network already")
        return [*notes, f"not counted for any model: {'; '.join(NOT_COUNTED)}"]


def compare(candidates: Sequence[Candidate], costs: Sequence[CostTable] | None = None, **titles: str) -> Comparison:
    """Models side by side, under every table of costs.

    Args:
        candidates: the models; all counted on the same graph.
        costs: tables, all that are registered unless given; the first is drawn.
        titles: ``title`` and ``metric`` of the :class:`Comparison`.

    Raises:
        ValueError: if there is nothing to compare.
    """
    costs = cost_tables() if costs is None else costs
    if not candidates or not all(one.runs for one in candidates) or not costs:
        raise ValueError("nothing to compare: give at least one model, counted at least once, and one table of costs")
    return Comparison(candidates, costs, **titles)
