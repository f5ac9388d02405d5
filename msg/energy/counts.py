"""What is counted: kinds of operation, words of memory and events, under three conventions for zeros and ones."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

OPERATIONS = (
    "multiply_accumulate",
    "accumulate",
    "multiply",
    "comparison",
    "transcendental",
    "state_update",
    "multiplier_bit",
)
"""Arithmetic. ``transcendental`` is everything of a special-function unit, so roots and divisions too;
``state_update`` is one neuron integrating its input in a step (its decay, comparison and reset are counted apart);
``multiplier_bit`` is one bit of a multiplier: a product with an operand of ``b`` bits takes ``b`` of them, and an
accumulate."""

TRAFFIC = ("weights", "state", "indices", "activations", "accumulators")
"""Words read from and written to memory: parameters, membrane potentials, the graph's indices, sums that spikes add to
in any order (a read and a write for each addition), everything else."""

EVENTS = ("spike", "message", "synaptic_mac", "synaptic_ac")
"""Spikes fired, numbers sent along edges, and which multiply-accumulates and accumulates are of synapses: of products
with weights, biases left out, and of sums along edges. They cost nothing of their own: what they cause is counted
above."""


def operations(counts: Counter[str]) -> list[str]:
    """Kinds of arithmetic that occur: :data:`OPERATIONS`, and those that somebody's own rule or manifold counts."""
    own = [kind for kind in counts if kind not in (*OPERATIONS, *TRAFFIC, *EVENTS)]
    return [kind for kind in (*OPERATIONS, *own) if counts[kind]]


Convention = Literal["nonzero", "events", "dense"]
"""``nonzero``: a product with a zero is not computed. ``events``: nor is one with 1 or -1, which adds the other
operand, for every model and every input alike. ``dense``: all are, on every real-valued input of every model.

Source of ``events``: the synaptic operations of `Yik et al. 2025, The NeuroBench framework
<https://arxiv.org/abs/2304.04640>`_."""

CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
"""All of them, in the order reports show them."""

BACKWARD, OUTSIDE = "(backward)", "(outside the model)"
"""Where operators are counted that no module runs: autograd's backward pass, and the loss or an optimizer."""


@dataclass
class Count:
    """Counts of one module, to be added up.

    Attributes:
        nonzero: counts of every kind where products with zeros are skipped.
        dense: the same where they are computed.
        footprint: words of each kind of memory that are kept, whatever the traffic.
        events: as ``nonzero``, but that an operand of 1 or -1 makes an addition; as ``nonzero`` where it is not given.
        ways: where the same can be done in several ways, the count of each by name. Then the other fields are those of
            the way with fewest operations under each convention, a multiply-accumulate being two; a
            :class:`~msg.energy.CostTable` chooses by its own prices.
    """

    nonzero: Counter[str] = field(default_factory=Counter)
    dense: Counter[str] = field(default_factory=Counter)
    footprint: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default=None)  # pyright: ignore[reportAssignmentType] - set below
    ways: dict[str, "Count"] = field(default_factory=dict)

    def __post_init__(self):
        if self.events is None:
            self.events = Counter(self.nonzero)

    @classmethod
    def of(cls, counts: Mapping[str, int], footprint: Mapping[str, int] | None = None) -> "Count":
        """The same counts under all conventions."""
        return cls(Counter(counts), Counter(counts), Counter(footprint or {}))

    @classmethod
    def cheapest(cls, ways: Mapping[str, "Count"]) -> "Count":
        """What can be done in each of several ways."""
        found = {kind: min((way.under(kind) for way in ways.values()), key=_effort) for kind in CONVENTIONS}
        footprint: Counter[str] = Counter()
        for way in ways.values():
            footprint |= way.footprint
        return cls(**found, footprint=footprint, ways=dict(ways))

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.nonzero + other.nonzero,
            self.dense + other.dense,
            self.footprint | other.footprint,  # memory is used again
            self.events + other.events,
            {name: self._way(name) + other._way(name) for name in {**self.ways, **other.ways}},
        )

    def _way(self, name: str) -> "Count":
        return self.ways.get(name, Count(self.nonzero, self.dense, self.footprint, self.events))

    def under(self, convention: Convention) -> Counter[str]:
        """Counts under one convention, without zeros.

        Raises:
            ValueError: for an unknown convention.
        """
        if convention not in CONVENTIONS:
            raise ValueError(f"unknown convention {convention!r}: use 'nonzero', 'events' or 'dense'")
        return +getattr(self, convention)


def _effort(counts: Counter[str]) -> int:
    return 2 * counts["multiply_accumulate"] + counts["accumulate"] + counts["multiply"]


@dataclass(frozen=True)
class Firing:
    """What one layer of neurons did in one inference, and what a network without spikes would do in its place.

    Attributes:
        spikes: fired by all neurons in all steps.
        neurons: nodes times channels.
        timesteps: ``T``.
        synapses: connections to neurons of the layer above: out-degree times its width, summed over the neurons.
        delivered: spikes times the connections they cross.
        ways: how spikes can travel (rows shared by a node's messages, or each spike delivered by itself): the
            operations that grow in proportion to the spikes, and those that happen in every step whatever fires. Empty
            below a synapse that is not linear.
        quantised: operations of the same layer in a network that sends each activation once, as an integer.
        once: of the second of each pair of ``ways``, what happens once however many steps there are; empty where all of
            it happens in every step.
    """

    spikes: int
    neurons: int
    timesteps: int
    synapses: int
    delivered: int
    ways: tuple[tuple[Count, Count], ...]
    quantised: Count
    once: tuple[Count, ...] = ()

    @property
    def rate(self) -> float:
        """Spikes per neuron and step."""
        return self.spikes / (self.neurons * self.timesteps) if self.neurons else 0.0

    @property
    def spikes_per_synapse(self) -> float:
        """Mean number of spikes that cross a synapse in one inference."""
        return self.delivered / self.synapses if self.synapses else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The figures of the layer, as JSON would have them."""
        return {
            "spikes": self.spikes,
            "neurons": self.neurons,
            "timesteps": self.timesteps,
            "rate": self.rate,
            "spikes_per_synapse": self.spikes_per_synapse,
        }


@dataclass
class Operations:
    """Everything that was counted while a model ran.

    Attributes:
        modules: count of every module that did something, by qualified name (``""`` is the model itself).
        firing: of every layer of neurons, by qualified name.
        unknown: operators that no rule knows: how often each was seen, by name. They are in no count.
        forwards: how many times the model was called.
    """

    modules: dict[str, Count] = field(default_factory=dict)
    firing: dict[str, Firing] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    forwards: int = 0

    def add(self, name: str, count: Count) -> None:
        """Add to what a module did."""
        if not (+count.nonzero or +count.dense):
            return
        self.modules[name] = self.modules.get(name, Count()) + count

    def merge(self, name: str, parts: "Operations") -> None:
        """Add the parts of a module, each under the module's name and its own."""
        prefix = f"{name}." if name else ""
        for part, count in parts.modules.items():
            self.add(prefix + part, count)
        self.firing.update({prefix + part: firing for part, firing in parts.firing.items()})
        self.unknown.update(parts.unknown)

    @property
    def inference(self) -> dict[str, Count]:
        """What the model did in its forward passes."""
        return {name: count for name, count in self.modules.items() if name not in (BACKWARD, OUTSIDE)}

    @property
    def training(self) -> dict[str, Count]:
        """What was done besides: backward pass, loss, optimizer. Empty if only inference was counted."""
        return {name: count for name, count in self.modules.items() if name in (BACKWARD, OUTSIDE)}

    def total(self, convention: Convention = "nonzero") -> Counter[str]:
        """Counts of all kinds of the forward passes."""
        return sum((count.under(convention) for count in self.inference.values()), Counter())
