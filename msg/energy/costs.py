"""What an operation costs: named tables with their source, in picojoules."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from msg.energy.counts import OPERATIONS, TRAFFIC, Convention, Count, Operations, operations
from msg.names import COSTS

_INDEX_BITS = 32


@dataclass(frozen=True)
class MemoryTable:
    """A model of memory: energy of one access by the size of the memory, as `Lemaire et al. 2022
    <https://arxiv.org/abs/2210.13107>`_ count it (on-chip memory as large as what it keeps, main memory for what fits
    in none), where sums are kept that spikes add to, and what finding an address costs.

    Args:
        name: shown in reports.
        source: where the figures come from.
        sram: pJ per 64 bits by size in bytes, in increasing order; linear in the size between two of them.
        dram: pJ per 64 bits of anything larger.
        accumulators: whether each addition of a spike reads and writes its sum in memory; else sums stay in registers.
        addresses: pJ to find the address of a word, by kind of traffic; nothing for kinds that are absent.
    """

    name: str
    source: str
    sram: Mapping[int, float]
    dram: float
    accumulators: bool = True
    addresses: Mapping[str, float] = field(default_factory=dict)

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
        low: lower prices that have a source too, of kinds whose price is a band; ``picojoules`` has the higher ones.
        ways: how spikes can travel on this hardware, of ``Count.ways``; of them the cheapest is taken.
    """

    name: str
    source: str
    picojoules: Mapping[str, float] = field(default_factory=dict)
    memory: MemoryTable | None = None
    bits: int = 32
    low: Mapping[str, float] = field(default_factory=dict)
    ways: tuple[str, ...] = ("shared", "delivered", "rates")

    def at_low(self) -> "CostTable":
        """The same table at the lower end of every band; itself if it has none."""
        if not self.low:
            return self
        return replace(self, name=f"{self.name}, low", picojoules={**self.picojoules, **self.low}, low={})

    def chosen(self, count: Count, convention: Convention = "nonzero", memory: bool = False) -> Count:
        """Of the ways in which a module can do what it does, the one that costs least here.

        A way is not cheap because its operations have no price: one with fewer unpriced kinds goes first.

        Args:
            count: of the module; itself if it has no ways.
            convention: for zeros and ones.
            memory: whether its traffic is paid for too.
        """
        able = [way for name, way in count.ways.items() if name in self.ways] or list(count.ways.values()) or [count]

        def price(way: Count) -> tuple[int, float]:
            traffic = self._memory_mj(way, convention).values() if memory else ()
            return len(self._unpriced(way.under(convention))), sum(
                [*self._arithmetic_mj(way, convention).values(), *traffic]
            )

        return able[0] if len(able) == 1 else min(able, key=price)

    def _arithmetic_mj(self, count: Count, convention: Convention) -> dict[str, float]:
        counts = count.under(convention)
        kinds = dict.fromkeys((*OPERATIONS, *operations(counts)))
        return {kind: 1e-9 * self.picojoules[kind] * counts[kind] for kind in kinds if kind in self.picojoules}

    def _memory_mj(self, count: Count, convention: Convention) -> dict[str, float]:
        if self.memory is None:
            return {}
        counts, energy = count.under(convention), {}
        for kind in TRAFFIC:
            if kind == "accumulators" and not self.memory.accumulators:
                continue
            bits = _INDEX_BITS if kind == "indices" else self.bits
            price = self.memory.picojoules(count.footprint[kind] * bits / 8) * bits / 64
            energy[kind] = 1e-9 * counts[kind] * (price + self.memory.addresses.get(kind, 0.0))
        return energy

    def arithmetic_mj(self, count: Count, convention: Convention = "nonzero") -> dict[str, float]:
        """Energy of a module's operations of each priced kind, in mJ, in the way that costs least."""
        return self._arithmetic_mj(self.chosen(count, convention), convention)

    def memory_mj(self, count: Count, convention: Convention = "nonzero") -> dict[str, float]:
        """Energy of a module's traffic with each kind of memory, in mJ, in the way that costs least with it; empty
        without prices of memory.
        """
        return self._memory_mj(self.chosen(count, convention, memory=True), convention)

    def module_mj(self, count: Count, convention: Convention = "nonzero", memory: bool = False) -> dict[str, float]:
        """Energy of a module by kind of operation (and of memory, if asked for), in mJ."""
        if not memory:
            return self.arithmetic_mj(count, convention)
        way = self.chosen(count, convention, memory=True)
        return {**self._arithmetic_mj(way, convention), **self._memory_mj(way, convention)}

    def inference_mj(
        self, ops: Operations, convention: Convention = "nonzero", memory: bool = False
    ) -> dict[str, float]:
        """Energy of the forward passes by kind of operation (and of memory, if asked for), in mJ."""
        total: Counter[str] = Counter()
        for count in ops.inference.values():
            priced = self.module_mj(count, convention, memory)
            total.update(priced)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return dict(total)

    def total(self, ops: Operations, convention: Convention = "nonzero") -> Counter[str]:
        """Counts of all kinds of the forward passes, in the ways whose arithmetic costs least."""
        return sum((self.chosen(count, convention).under(convention) for count in ops.inference.values()), Counter())

    def _unpriced(self, counts: Counter[str]) -> dict[str, int]:
        return {kind: counts[kind] for kind in operations(counts) if kind not in self.picojoules}

    def unpriced(self, ops: Operations, convention: Convention = "nonzero") -> dict[str, int]:
        """Kinds of operation that occur but have no price here, with their counts."""
        return self._unpriced(self.total(ops, convention))


class PublishedMSG(CostTable):
    r"""The published formula, kept to compare with published figures; it is not a table of costs.

    .. math::
        E_{SNN} = 4.6 \sum_t N d S_t + 3.7 \sum_t \sum_l S^l_t, \qquad E_{ANN} = 4.6\,(N d_{in} d_{out} + |E| d_{out}),

    so 4.6 pJ for each spike of the encoder and 3.7 pJ (the price of a multiplication) for each spike above it. It
    leaves out the encoder's products, the fan-out of spikes, the aggregation, the neurons and the manifold. A spiking
    peer that has no :class:`~msg.models.SpikingStack`, SpikeNet or GC-SNN say, is priced as one that does not spike.
    """

    def inference_mj(
        self, ops: Operations, convention: Convention = "nonzero", memory: bool = False
    ) -> dict[str, float]:
        """See the class. Products are dense whatever is asked for, and memory is not known, as published."""
        if not ops.firing:
            total = ops.total("dense")
            # those of synapses, narrow ones too; counts of one's own may not tell them apart
            products = total["synaptic_mac"] or total["multiply_accumulate"]
            return {"published formula": 1e-9 * 4.6 * (products + total["message"])}
        spikes = [firing.spikes for firing in ops.firing.values()]
        return {"published formula": 1e-9 * (4.6 * spikes[0] + 3.7 * sum(spikes[1:]))}

    def unpriced(self, ops: Operations, convention: Convention = "nonzero") -> dict[str, int]:
        """Everything the formula leaves out."""
        total = self.total(ops, convention)
        priced = () if ops.firing else ("multiply_accumulate", "multiplier_bit")
        return {kind: total[kind] for kind in operations(total) if kind not in priced}


_HOROWITZ = "Horowitz 2014, Computing's energy problem (ISSCC), figure 1.1.9"

SRAM_45NM = MemoryTable(
    name="45 nm SRAM, DRAM beyond 1 MB",
    source=f"{_HOROWITZ}, the lower of its two DRAM figures, 1.3 nJ; an event-driven core, where each addition of a "
    "spike reads and writes its sum in memory, as on Loihi (Davies et al. 2018, IEEE Micro)",
    sram={8 * 1024: 10.0, 32 * 1024: 20.0, 1024**2: 100.0},
    dram=1300.0,
)

SRAM_45NM_REGISTERS = replace(
    SRAM_45NM,
    name=f"{SRAM_45NM.name}, sums in registers",
    source=f"{_HOROWITZ}, the lower of its two DRAM figures, 1.3 nJ; sums stay in registers until they are complete, "
    "as a CPU or GPU does it (output stationary: Chen et al. 2016, Eyeriss, ISCA)",
    accumulators=False,
)

_INT32_ADD, _INT32_MULTIPLY = 0.1, 3.1

SRAM_45NM_LEMAIRE = replace(
    SRAM_45NM,
    name=f"{SRAM_45NM.name}, with addresses",
    source=f"{_HOROWITZ}; after Lemaire et al. 2022 (arXiv 2210.13107): each addition of a spike reads and writes a "
    "potential, and addresses are computed with 32-bit integers, an addition for each activation and each such sum, "
    "and (our reading for graphs) a multiplication and an addition for each index",
    # a sum's two words have one address
    addresses={
        "activations": _INT32_ADD,
        "accumulators": _INT32_ADD / 2,
        "indices": _INT32_MULTIPLY + _INT32_ADD,
    },
)

MEMORY_MODELS: Mapping[str, MemoryTable] = {
    "event-driven core": SRAM_45NM,
    "registers": SRAM_45NM_REGISTERS,
    "Lemaire et al.": SRAM_45NM_LEMAIRE,
}
"""Models of memory by name: where sums are kept that spikes add to, and whether addresses are paid for."""


def _horowitz(name: str, multiply: float, add: float, bits: int) -> CostTable:
    prices = {
        "multiply_accumulate": multiply + add,
        "multiply": multiply,
        "accumulate": add,
        "comparison": add,
        "state_update": add,
        "transcendental": 10 * multiply,
        # a multiplier as wide as its operand
        "multiplier_bit": multiply / bits,
    }
    source = (
        f"{_HOROWITZ}; comparisons and state updates as additions; transcendental operations as 10 multiplications (a "
        "division takes 7.1 on a Cortex-M4F: PMC8934428, table 3), at the least as 1 (3.73 pJ an approximate "
        "exponential: Wu et al. 2019, SECO, ISLPED)"
    )
    return CostTable(name, source, prices, SRAM_45NM, bits, low={"transcendental": multiply})


HOROWITZ_45NM_FP32 = _horowitz("45 nm, FP32", 3.7, 0.9, 32)
HOROWITZ_45NM_FP16 = _horowitz("45 nm, FP16", 1.1, 0.4, 16)
HOROWITZ_45NM_INT8 = _horowitz("45 nm, INT8", 0.2, 0.03, 8)

LOIHI = CostTable(
    name="Loihi",
    source="Davies et al. 2018, Loihi (IEEE Micro): 23.6 pJ a synaptic operation, 81 pJ an active neuron update",
    picojoules={"accumulate": 23.6, "state_update": 81.0, "comparison": 0.0},  # an update compares
    ways=("delivered",),  # a message is a spike, not a sum or a rate
)

MSG_AS_PUBLISHED = PublishedMSG(
    name="as-published MSG",
    source="Sun et al. 2024 (arXiv 2410.17941), energy formula of the paper: most operations left out",
)


def cost_tables() -> tuple[CostTable, ...]:
    """All tables of :data:`msg.names.COSTS`, in the order reports show them."""
    return tuple(COSTS.values())
