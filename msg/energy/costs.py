"""What an operation costs: named tables with their source, in picojoules."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from msg.energy.counts import OPERATIONS, TRAFFIC, Convention, Count, Operations
from msg.names import COSTS

_INDEX_BITS = 32


@dataclass(frozen=True)
class MemoryTable:
    """Energy of one access by the size of the memory, as `Lemaire et al. 2022 <https://arxiv.org/abs/2210.13107>`_
    count it: on-chip memory as large as what it keeps, main memory for what fits in none.

    Args:
        name: shown in reports.
        source: where the figures come from.
        sram: pJ per 64 bits by size in bytes, in increasing order; linear in the size between two of them.
        dram: pJ per 64 bits of anything larger.
    """

    name: str
    source: str
    sram: Mapping[int, float]
    dram: float

    def picojoules(self, size: float) -> float:
        """Energy of 64 bits from a memory of ``size`` bytes, in pJ."""
        points = list(self.sram.items())
        if size <= points[0][0]:
            return points[0][1]
        for (small, low), (large, high) in pairwise(points):
            if size <= large:
                return low + (high - low) * (size - small) / (large - small)
        return self.dram


@dataclass(frozen=True)
class CostTable:
    """Energy of each kind of operation.

    A table of your own takes three lines::

        from msg.energy import CostTable
        MINE = CostTable("my chip", "its data sheet", {"multiply_accumulate": 0.3, "accumulate": 0.05})
        print(report(ops, costs=MINE))

    Args:
        name: shown in reports.
        source: where the figures come from.
        picojoules: energy of one operation of each kind of :data:`~msg.energy.OPERATIONS`, in pJ. Kinds that occur but
            are absent are reported as not priced.
        memory: price of memory traffic; ``None`` if the table knows none.
        bits: size of a weight, membrane potential or activation; an index has 32.
    """

    name: str
    source: str
    picojoules: Mapping[str, float] = field(default_factory=dict)
    memory: MemoryTable | None = None
    bits: int = 32

    def arithmetic_mj(self, count: Count, convention: Convention = "nonzero") -> dict[str, float]:
        """Energy of a module's operations of each priced kind, in mJ."""
        counts = count.under(convention)
        return {kind: 1e-9 * self.picojoules[kind] * counts[kind] for kind in OPERATIONS if kind in self.picojoules}

    def memory_mj(self, count: Count, convention: Convention = "nonzero") -> dict[str, float]:
        """Energy of a module's traffic with each kind of memory, in mJ; empty without prices of memory."""
        if self.memory is None:
            return {}
        counts, energy = count.under(convention), {}
        for kind in TRAFFIC:
            bits = _INDEX_BITS if kind == "indices" else self.bits
            price = self.memory.picojoules(count.footprint[kind] * bits / 8)
            energy[kind] = 1e-9 * counts[kind] * bits / 64 * price
        return energy

    def inference_mj(
        self, ops: Operations, convention: Convention = "nonzero", memory: bool = False
    ) -> dict[str, float]:
        """Energy of the forward passes by kind of operation (and of memory, if asked for), in mJ."""
        total: Counter[str] = Counter()
        for count in ops.inference.values():
            total.update(self.arithmetic_mj(count, convention))  # pyright: ignore[reportCallIssue, reportArgumentType]
            if memory:
                total.update(self.memory_mj(count, convention))  # pyright: ignore[reportCallIssue, reportArgumentType]
        return dict(total)

    def unpriced(self, ops: Operations, convention: Convention = "nonzero") -> dict[str, int]:
        """Kinds of operation that occur but have no price here, with their counts."""
        total = ops.total(convention)
        return {kind: total[kind] for kind in OPERATIONS if total[kind] and kind not in self.picojoules}


class PublishedMSG(CostTable):
    r"""The published formula, kept to compare with published figures; it is not a table of costs.

    .. math::
        E_{SNN} = 4.6 \sum_t N d S_t + 3.7 \sum_t \sum_l S^l_t, \qquad E_{ANN} = 4.6\,(N d_{in} d_{out} + |E| d_{out}),

    so 4.6 pJ for each spike of the encoder and 3.7 pJ (the price of a multiplication) for each spike above it. It
    leaves out the encoder's products, the fan-out of spikes, the aggregation, the neurons and the manifold.
    """

    def inference_mj(
        self, ops: Operations, convention: Convention = "nonzero", memory: bool = False
    ) -> dict[str, float]:
        """See the class. Products are dense whatever is asked for, and memory is not known, as published."""
        if not ops.firing:
            total = ops.total("dense")
            return {"published formula": 1e-9 * 4.6 * (total["multiply_accumulate"] + total["message"])}
        spikes = [firing.spikes for firing in ops.firing.values()]
        return {"published formula": 1e-9 * (4.6 * spikes[0] + 3.7 * sum(spikes[1:]))}

    def unpriced(self, ops: Operations, convention: Convention = "nonzero") -> dict[str, int]:
        """Everything the formula leaves out."""
        total = ops.total(convention)
        priced = () if ops.firing else ("multiply_accumulate",)
        return {kind: total[kind] for kind in OPERATIONS if total[kind] and kind not in priced}


SRAM_45NM = MemoryTable(
    name="45 nm SRAM, DRAM beyond 1 MB",
    source="Horowitz 2014 (ISSCC), figure 1.1.9; the lower of its two DRAM figures, 1.3 nJ",
    sram={8 * 1024: 10.0, 32 * 1024: 20.0, 1024**2: 100.0},
    dram=1300.0,
)


def _horowitz(name: str, multiply: float, add: float, bits: int) -> CostTable:
    prices = {
        "multiply_accumulate": multiply + add,
        "multiply": multiply,
        "accumulate": add,
        "comparison": add,
        "state_update": add,
    }
    source = (
        "Horowitz 2014, Computing's energy problem (ISSCC), figure 1.1.9; comparisons and state updates as additions"
    )
    return CostTable(name, source, prices, SRAM_45NM, bits)


HOROWITZ_45NM_FP32 = _horowitz("45 nm, FP32", 3.7, 0.9, 32)
HOROWITZ_45NM_FP16 = _horowitz("45 nm, FP16", 1.1, 0.4, 16)
HOROWITZ_45NM_INT8 = _horowitz("45 nm, INT8", 0.2, 0.03, 8)

LOIHI = CostTable(
    name="Loihi",
    source="Davies et al. 2018, Loihi (IEEE Micro): 23.6 pJ a synaptic operation, 81 pJ an active neuron update",
    picojoules={"accumulate": 23.6, "state_update": 81.0, "comparison": 0.0},  # an update compares
)

MSG_AS_PUBLISHED = PublishedMSG(
    name="as-published MSG",
    source="Sun et al. 2024 (arXiv 2410.17941), energy formula of the paper: most operations left out",
)


def cost_tables() -> tuple[CostTable, ...]:
    """All tables of :data:`msg.names.COSTS`, in the order reports show them."""
    return tuple(COSTS.values())
