"""One model's energy, as text, JSON, Markdown and a figure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msg.energy.break_even import BreakEven, break_even
from msg.energy.costs import HOROWITZ_45NM_FP32, CostTable
from msg.energy.counts import BACKWARD, CONVENTIONS, EVENTS, OPERATIONS, OUTSIDE, TRAFFIC, Convention, Count, Operations
from msg.report.tables import Style, fixed, heading, render
from msg.report.tables import count as number
from msg.report.tables import significant as mj

NOT_COUNTED = (
    "what depends on the graph alone and is made once (degrees, normalised weights)",
    "clock, leakage and network on chip",
    "random numbers",
    "computing addresses, but for the memory model of Lemaire et al.",
)
"""What no count here includes, for any model, named in every report."""

_SHORT = {
    "multiply_accumulate": "MAC",
    "accumulate": "add",
    "multiply": "multiply",
    "comparison": "compare",
    "transcendental": "transc.",
    "state_update": "updates",
    "multiplier_bit": "mult. bits",
}

READINGS: dict[Convention, str] = {
    "nonzero": "non-zero inputs: products with zeros are skipped",
    "events": "events: zeros are skipped, and an input of 1 or -1 makes an addition",
    "dense": "dense inputs: all products are computed",
}
"""What is said of each convention, in the order of tables."""


@dataclass(frozen=True)
class Report:
    """What a model did, priced; ``print`` it.

    Attributes:
        ops: what was counted.
        costs: the table that prices it.
        inputs: the convention that the table of modules, the figure and :meth:`energy_mj` show.

    Raises:
        ValueError: for an unknown convention.
    """

    ops: Operations
    costs: CostTable
    inputs: Convention = "nonzero"

    def __post_init__(self):
        Count().under(self.inputs)

    def energy_mj(self, convention: Convention | None = None, memory: bool = False) -> float:
        """Energy of the forward passes in mJ, of what the table prices; under ``inputs`` unless said."""
        return sum(self.costs.inference_mj(self.ops, convention or self.inputs, memory).values())

    def low_mj(self, memory: bool = False) -> float:
        """The same at the lower end of prices that are a band."""
        return sum(self.costs.at_low().inference_mj(self.ops, self.inputs, memory).values())

    def energies(self) -> dict[str, float | None]:
        """Energy in mJ under every convention by name: ``energy_mj`` is arithmetic alone, by non-zeros, with
        ``events_`` and ``dense_`` beside it, and each ``_with_memory``, ``None`` where that has no prices.
        """
        found: dict[str, float | None] = {}
        for kind in CONVENTIONS:
            prefix = _prefix(kind)
            found[f"{prefix}energy_mj"] = self.energy_mj(kind)
            dear = None if self.costs.memory is None else self.energy_mj(kind, memory=True)
            found[f"{prefix}energy_with_memory_mj"] = dear
        return found

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it, the same for all ``inputs``; see :meth:`energies`."""
        ops, costs = self.ops, self.costs
        even = [found.as_dict() for memory in (False, True) if (found := break_even(ops, memory=memory)) is not None]
        return {
            **self.energies(),
            "low_energy_mj": sum(costs.at_low().inference_mj(ops).values()),
            "training_besides_mj": self._besides(False) if ops.training else None,
            **{f"{_prefix(kind)}counts": _counts(costs.total(ops, kind)) for kind in CONVENTIONS},
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
        arithmetic = sum(self.costs.module_mj(count).values())
        return {
            "energy_mj": arithmetic,
            "memory_mj": sum(self.costs.module_mj(count, memory=True).values()) - arithmetic,
            **{f"{_prefix(kind)}counts": _counts(self.costs.chosen(count, kind).under(kind)) for kind in CONVENTIONS},
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
            name or "model": self.costs.module_mj(count, self.inputs, memory=True)
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
            plain, dear = (self.costs.module_mj(count, self.inputs, memory) for memory in (False, True))
            counts = self.costs.chosen(count, self.inputs).under(self.inputs)
            return row(name, counts, sum(plain.values()), sum(dear.values()))

        others = {"nonzero": "non-zero inputs", "events": "events", "dense": "dense inputs"}
        totals: dict[Convention, str] = {self.inputs: "inference"}
        totals |= {kind: f"the same, {others[kind]}" for kind in CONVENTIONS if kind != self.inputs}
        return [
            *(of_module(name or "model", count) for name, count in self.ops.inference.items()),
            *(
                row(name, self.costs.total(self.ops, kind), self.energy_mj(kind), self.energy_mj(kind, memory=True))
                for kind, name in totals.items()
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
        unpriced = ", ".join(f"{kind} ({number(n)})" for kind, n in self.costs.unpriced(self.ops, self.inputs).items())
        unknown = ", ".join(f"{name} ({times}×)" for name, times in self.ops.unknown.items())
        notes = [f"inputs: {READINGS[self.inputs]}", f"prices: {self.costs.source}"]
        if (low := self.low_mj()) < self.energy_mj():
            kinds = ", ".join(kind for kind in self.costs.low if self.costs.total(self.ops, self.inputs)[kind])
            notes.append(f"with the lower price of {kinds}: {mj(low)} mJ instead of {mj(self.energy_mj())}")
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


def _prefix(convention: Convention) -> str:
    return "" if convention == "nonzero" else f"{convention}_"


def parts_mj(
    kept: Mapping[str, Any], costs: CostTable = HOROWITZ_45NM_FP32, inputs: Convention = "nonzero"
) -> dict[str, dict[str, float]]:
    """Energy of an inference's modules by kind of operation, in mJ, without memory, from what :meth:`Report.as_dict`
    kept of it under the same table; modules that cost nothing are left out.

    Args:
        kept: a report's plain data.
        costs: the table that it was made with.
        inputs: the reading of zeros and ones.

    Raises:
        KeyError: if something is missing.
    """
    parts = {
        name or "model": {
            kind: 1e-9 * price * module[f"{_prefix(inputs)}counts"][kind] for kind, price in costs.picojoules.items()
        }
        for name, module in kept["modules"].items()
        if name not in (BACKWARD, OUTSIDE)
    }
    return {name: energies for name, energies in parts.items() if any(energies.values())}


def report(ops: Operations, costs: CostTable = HOROWITZ_45NM_FP32, inputs: Convention = "nonzero") -> Report:
    """Price what was counted.

    Args:
        ops: from :func:`~msg.energy.count`.
        costs: a table: :data:`~msg.energy.HOROWITZ_45NM_FP32` (also FP16 and INT8), :data:`~msg.energy.LOIHI`,
            :data:`~msg.energy.MSG_AS_PUBLISHED`, or your own.
        inputs: what the table of modules and :meth:`Report.energy_mj` show: ``"nonzero"`` (products with zeros are
            skipped), ``"events"`` (and those with 1 and -1 are additions) or ``"dense"``. The totals show all three.

    Raises:
        ValueError: for an unknown convention, and where the model was not called.
        TypeError: for the name of a table in its place.
    """
    if not isinstance(costs, CostTable):
        raise TypeError(f"costs must be a CostTable, such as msg.energy.HOROWITZ_45NM_FP32, not {costs!r}")
    if not ops.forwards and ops.modules and set(ops.modules) <= {BACKWARD, OUTSIDE}:
        raise ValueError(
            "nothing was counted of the model: call it inside the block, model(x, edge_index); what goes past its "
            "forward, as model.online(x, edge_index) does, is not counted"
        )
    return Report(ops, costs, inputs)
