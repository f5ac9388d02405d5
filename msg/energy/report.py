"""One model's energy, as text, JSON, Markdown and a figure."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from msg.energy.break_even import BreakEven, break_even
from msg.energy.costs import HOROWITZ_45NM_FP32, CostTable
from msg.energy.counts import EVENTS, OPERATIONS, TRAFFIC, Convention, Count, Operations
from msg.report.tables import Style, fixed, heading, render
from msg.report.tables import count as number
from msg.report.tables import significant as mj

NOT_COUNTED = (
    "what depends on the graph alone and is made once (degrees, normalised weights)",
    "clock, leakage and network on chip",
    "random numbers",
)
"""What no count here includes, for any model, named in every report."""

_SHORT = {
    "multiply_accumulate": "MAC",
    "accumulate": "add",
    "multiply": "multiply",
    "comparison": "compare",
    "transcendental": "transc.",
    "state_update": "updates",
}


@dataclass(frozen=True)
class Report:
    """What a model did, priced; ``print`` it.

    Attributes:
        ops: what was counted.
        costs: the table that prices it.
    """

    ops: Operations
    costs: CostTable

    def energy_mj(self, convention: Convention = "nonzero", memory: bool = False) -> float:
        """Energy of the forward passes in mJ, of what the table prices."""
        return sum(self.costs.inference_mj(self.ops, convention, memory).values())

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it. ``energy_mj`` is arithmetic alone, by non-zeros."""
        ops, costs = self.ops, self.costs
        even = [found.as_dict() for memory in (False, True) if (found := break_even(ops, memory=memory)) is not None]
        return {
            "energy_mj": self.energy_mj(),
            "energy_with_memory_mj": None if costs.memory is None else self.energy_mj(memory=True),
            "dense_energy_mj": self.energy_mj("dense"),
            "dense_energy_with_memory_mj": None if costs.memory is None else self.energy_mj("dense", memory=True),
            "training_besides_mj": self._besides(False) if ops.training else None,
            "counts": _counts(ops.total()),
            "dense_counts": _counts(ops.total("dense")),
            "modules": {name: self._module(count) for name, count in ops.modules.items()},
            "firing": {name: firing.as_dict() for name, firing in ops.firing.items()},
            "break_even": even,
            "unpriced": costs.unpriced(ops),
            "unknown": dict(ops.unknown),
            "not_counted": list(NOT_COUNTED),
            "forwards": ops.forwards,
            "costs": {"name": costs.name, "source": costs.source, **costs.picojoules},
        }

    def _besides(self, memory: bool) -> float:
        counts = self.ops.training.values()
        spent = sum(sum(self.costs.arithmetic_mj(count).values()) for count in counts)
        return spent + sum(sum(self.costs.memory_mj(count).values()) for count in counts) * memory

    def _module(self, count: Count) -> dict[str, Any]:
        return {
            "energy_mj": sum(self.costs.arithmetic_mj(count).values()),
            "memory_mj": sum(self.costs.memory_mj(count).values()),
            "counts": _counts(count.nonzero),
            "dense_counts": _counts(count.dense),
        }

    def __str__(self) -> str:
        return self._render("text")

    def markdown(self) -> str:
        """The report as Markdown."""
        return self._render("markdown")

    def figure(self) -> Any:
        """Energy of each module, a bar each, stacked by kind of operation and memory."""
        from msg.report.figures import stacked_bars

        bars = {
            name or "model": {**self.costs.arithmetic_mj(count), **self.costs.memory_mj(count)}
            for name, count in self.ops.inference.items()
        }
        return stacked_bars({self.costs.name: bars})

    def _render(self, style: Style) -> str:
        parts = [heading(f"Energy of {self._what()}, {self.costs.name}", style), render(self._rows(), style)]
        if self.ops.firing:
            parts.append(render(self._firing(), style))
        parts.append("\n".join(f"- {line}" for line in self._notes()))
        return "\n\n".join(parts)

    def _what(self) -> str:
        return "one inference" if self.ops.forwards in (0, 1) else f"{self.ops.forwards} inferences"

    def _rows(self) -> list[dict[str, str]]:
        def row(name: str, counts: Counter[str], energy: float, memory: float) -> dict[str, str]:
            return {
                "module": name,
                **{short: number(counts[kind]) for kind, short in _SHORT.items()},
                "words": number(sum(counts[kind] for kind in TRAFFIC)),
                "mJ": mj(energy),
                "mJ with memory": mj(memory if self.costs.memory is not None else None),
            }

        def of_module(name: str, count: Count) -> dict[str, str]:
            arithmetic = sum(self.costs.arithmetic_mj(count).values())
            return row(name, count.nonzero, arithmetic, arithmetic + sum(self.costs.memory_mj(count).values()))

        totals: dict[str, Convention] = {"inference": "nonzero", "the same, dense inputs": "dense"}
        return [
            *(of_module(name or "model", count) for name, count in self.ops.inference.items()),
            *(
                row(name, self.ops.total(kind), self.energy_mj(kind), self.energy_mj(kind, memory=True))
                for name, kind in totals.items()
            ),
            *(of_module(name, count) for name, count in self.ops.training.items()),
        ]

    def _firing(self) -> list[dict[str, str]]:
        return [
            {
                "neurons": name,
                "spikes": number(firing.spikes),
                "firing rate": fixed(firing.rate, 4),
                "spikes per synapse": fixed(firing.spikes_per_synapse, 3),
            }
            for name, firing in self.ops.firing.items()
        ]

    def _notes(self) -> list[str]:
        unpriced = ", ".join(f"{kind} ({number(n)})" for kind, n in self.costs.unpriced(self.ops).items())
        unknown = ", ".join(f"{name} ({times}×)" for name, times in self.ops.unknown.items())
        notes = [f"prices: {self.costs.source}"]
        if self.costs.memory is not None:
            notes.append(f"memory: {self.costs.memory.name}; {self.costs.memory.source}")
        for memory in (False, True):
            even = break_even(self.ops, memory=memory)
            if even is not None:
                notes.append(_verdict(even, memory))
        notes += [f"numbers sent along edges: {number(self.ops.total()['message'])}"]
        notes += [
            f"not priced by this table: {unpriced or 'nothing'}",
            f"not known, so in no count: {unknown or 'nothing'}",
        ]
        return [*notes, f"not counted for any model: {'; '.join(NOT_COUNTED)}"]


def _verdict(even: BreakEven, memory: bool) -> str:
    limit = (
        "nothing fires"
        if even.break_even_rate is None
        else f"break-even at a firing rate of {even.break_even_rate:.4f}"
    )
    if even.break_even_rate == 0:
        limit = "no break-even: what happens in every step costs more already"
    return (
        f"against {even.bits}-bit activations{' with memory' if memory else ''} (INT8): "
        f"spiking layers {mj(even.spiking_mj)} mJ, quantised {mj(even.quantised_mj)} mJ; {limit}, here {even.rate:.4f}"
    )


def _counts(counts: Counter[str]) -> dict[str, int]:
    return {kind: counts[kind] for kind in (*OPERATIONS, *TRAFFIC, *EVENTS)}


def report(ops: Operations, costs: CostTable = HOROWITZ_45NM_FP32) -> Report:
    """Price what was counted.

    Args:
        ops: from :func:`~msg.energy.count`.
        costs: a table: :data:`~msg.energy.HOROWITZ_45NM_FP32` (also FP16 and INT8), :data:`~msg.energy.LOIHI`,
            :data:`~msg.energy.MSG_AS_PUBLISHED`, or your own.
    """
    return Report(ops, costs)
