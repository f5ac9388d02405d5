"""What critics of spiking networks ask: would the same network with quantised activations cost less?"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from msg.energy.costs import HOROWITZ_45NM_INT8, CostTable
from msg.energy.counts import Count, Operations


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
            every step costs more already, ``None`` if nothing fires.
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


def break_even(ops: Operations, costs: CostTable = HOROWITZ_45NM_INT8, memory: bool = False) -> BreakEven | None:
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
    """
    layers = [firing for firing in ops.firing.values() if firing.ways]
    if not layers:
        return None
    bits = max(firing.timesteps for firing in layers).bit_length()  # = ceil(log2(T + 1))
    multiply, add = costs.picojoules.get("multiply", 0.0), costs.picojoules.get("accumulate", 0.0)
    narrow_product = add + (multiply * bits / costs.bits if bits > 1 else 0.0)
    prices = {**costs.picojoules, "multiply_accumulate": narrow_product}
    narrow = replace(costs, picojoules=prices)

    def energy(table: CostTable, count: Count) -> float:
        parts = [*table.arithmetic_mj(count).values(), *(table.memory_mj(count).values() if memory else ())]
        return sum(parts)

    ways = [
        (sum(energy(costs, driven) for driven, _ in way), sum(energy(costs, fixed) for _, fixed in way))
        for way in zip(*(firing.ways for firing in layers))
    ]
    quantised = sum(energy(narrow, firing.quantised) for firing in layers)
    rate = sum(f.spikes for f in layers) / sum(f.neurons * f.timesteps for f in layers)
    synapses = sum(f.synapses for f in layers)
    return BreakEven(
        rate=rate,
        spikes_per_synapse=sum(f.delivered for f in layers) / synapses if synapses else 0.0,
        bits=bits,
        spiking_mj=min(driven + fixed for driven, fixed in ways),
        quantised_mj=quantised,
        break_even_rate=max(0.0, *(rate * (quantised - fixed) / driven for driven, fixed in ways)) if rate else None,
        memory=memory,
    )
