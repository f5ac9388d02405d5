"""What critics of spiking networks ask: would the same network with quantised activations cost less?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from msg.energy.costs import HOROWITZ_45NM_INT8, CostTable, cost_tables
from msg.energy.counts import Count, Firing, Operations
from msg.energy.modules import rounding


@dataclass(frozen=True)
class BreakEven:
    r"""A spiking network against one that sends each activation once, as an integer of as many bits as it has levels.

    Attributes:
        rate: firing rate of all layers, spikes per neuron and step.
        spikes_per_synapse: mean number of spikes that cross a synapse in one inference.
        bits: :math:`\lceil\log_2(T + 1)\rceil`, of the quantised activations.
        spiking_mj: energy of the neurons and of the synapses above them.
        quantised_mj: of the quantised network in their place.
        break_even_rate: the firing rate below which spikes cost less, all layers in proportion; 0 if what happens in
            every step costs more already, ``None`` if nothing fires or a spike has no price.
        memory: whether memory traffic is priced too.
    """

    rate: float
    spikes_per_synapse: float
    bits: int
    spiking_mj: float
    quantised_mj: float
    break_even_rate: float | None
    memory: bool

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON would have them."""
        return asdict(self)


def break_even(
    ops: Operations, costs: CostTable = HOROWITZ_45NM_INT8, memory: bool = False, timesteps: int | None = None
) -> BreakEven | None:
    r"""Compare a spiking network with a quantised one of the same layers.

    ``None`` for a model without spikes, or without a linear synapse that reads them.

    In the quantised network a neuron is a rounding (two comparisons and an addition; of one bit a comparison), each
    product a multiply-accumulate whose multiplier is as wide as the activation,
    :math:`E_\times b / \text{bits} + E_+` (of one bit an addition), and each aggregation happens once instead of in
    every step. Encoder, manifold and read-out are the same, so left out of both.
    A layer whose synapse is not linear is left out of both too. Spikes take the way (see the architecture of counts in
    the documentation: rows shared by a node's messages, or each spike delivered by itself) that suits them best.

    Sources: `Yan et al. 2024, Reconsidering the energy efficiency of spiking neural networks
    <https://arxiv.org/abs/2409.08290>`_ (the comparison); Dampfhoffer et al. 2023, Are SNNs really more
    energy-efficient than ANNs? (spikes per synapse).

    Args:
        ops: what was counted.
        costs: prices; 8-bit integers unless given.
        memory: whether to price memory traffic too.
        timesteps: as if the network ran for so many steps, at the same rate; as many as it did unless given.
    """
    layers = [firing for firing in ops.firing.values() if firing.ways]
    if not layers:
        return None
    ran = max(firing.timesteps for firing in layers)
    times = (timesteps or ran) / ran
    bits = (timesteps or ran).bit_length()  # = ceil(log2(T + 1))
    multiply, add = costs.picojoules.get("multiply", 0.0), costs.picojoules.get("accumulate", 0.0)
    narrow_product = add + (multiply * bits / costs.bits if bits > 1 else 0.0)
    prices = {**costs.picojoules, "multiply_accumulate": narrow_product}
    narrow = replace(costs, picojoules=prices)

    def energy(table: CostTable, count: Count) -> float:
        parts = [*table.arithmetic_mj(count).values(), *(table.memory_mj(count).values() if memory else ())]
        return sum(parts)

    def fixed(firing: Firing, number: int) -> float:
        whole = energy(costs, firing.ways[number][1])
        once = energy(costs, firing.once[number]) if firing.once else 0.0
        return once + times * (whole - once)

    ways = [
        (
            sum(times * energy(costs, firing.ways[number][0]) for firing in layers),
            sum(fixed(firing, number) for firing in layers),
        )
        for number in range(len(layers[0].ways))
    ]
    quantised = sum(energy(narrow, _of_bits(firing, bits)) for firing in layers)
    priced = "accumulate" in costs.picojoules  # what a spike does
    rates = [(quantised - still) / driven for driven, still in ways if driven and priced]
    rate = sum(f.spikes for f in layers) / max(1, sum(f.neurons * f.timesteps for f in layers))
    synapses = sum(f.synapses for f in layers)
    return BreakEven(
        rate=rate,
        spikes_per_synapse=times * sum(f.delivered for f in layers) / synapses if synapses else 0.0,
        bits=bits,
        spiking_mj=min(sum(way) for way in ways),
        quantised_mj=quantised,
        break_even_rate=max(0.0, *(rate * one for one in rates)) if rate and rates else None,
        memory=memory,
    )


def _of_bits(firing: Firing, bits: int) -> Count:
    """The quantised layer with integers of so many bits, which are rounded in another way if there is one alone."""
    before, now = rounding(firing.timesteps.bit_length()), rounding(bits)
    if before == now:
        return firing.quantised
    counts = dict(firing.quantised.nonzero)
    for kind in {**before, **now}:
        counts[kind] = counts.get(kind, 0) + firing.neurons * (now.get(kind, 0) - before.get(kind, 0))
    return Count.of(counts, firing.quantised.footprint)


@dataclass(frozen=True)
class BreakEvenMap:
    r"""Where the boundary between spikes and quantised activations lies.

    Attributes:
        boundaries: by table, numbers of steps, each with the firing rate below which spikes cost less; the quantised
            network has :math:`\lceil\log_2(T + 1)\rceil` bits.
        layers: steps and firing rate of each layer of neurons, as measured.
    """

    boundaries: Mapping[str, Sequence[tuple[int, float]]]
    layers: Mapping[str, tuple[int, float]]

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON would have them."""
        boundaries = {name: [list(point) for point in line] for name, line in self.boundaries.items()}
        return {"boundaries": boundaries, "layers": {name: list(point) for name, point in self.layers.items()}}

    def figure(self) -> Any:
        """Boundaries as lines over time steps, layers as dots: those below a line cost less than its twin."""
        from msg.report.figures import boundaries

        figure = boundaries(self.boundaries, self.layers, "time steps", "firing rate")
        figure.axes[0].set_ylim(0.0, 1.02)  # no neuron fires more than once a step
        return figure


def break_even_map(
    ops: Operations, costs: Sequence[CostTable] | None = None, timesteps: Sequence[int] = range(1, 17)
) -> BreakEvenMap | None:
    """The boundary of :func:`break_even` over the number of time steps; ``None`` for a model that has none.

    Args:
        ops: what was counted.
        costs: tables; all that are registered unless given. One without a price of an addition or a multiplication has
            no boundary.
        timesteps: where it is computed.
    """
    tables = [one for one in (cost_tables() if costs is None else costs) if "multiply" in one.picojoules]
    boundaries = {}
    for table in tables:
        for memory in (False, True) if table.memory else (False,):
            found = [break_even(ops, table, memory, steps) for steps in timesteps]
            rates = [one.break_even_rate for one in found if one is not None and one.break_even_rate is not None]
            if len(rates) == len(found):
                boundaries[f"{table.name}{' + memory' if memory else ''}"] = list(zip(timesteps, rates))
    if not boundaries:
        return None
    return BreakEvenMap(boundaries, {name: (one.timesteps, one.rate) for name, one in ops.firing.items()})
