"""What a gradient rule is: a value that owns the loop over layers and time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from msg.calls import casting_anew
from msg.gradients import packed, simulation
from msg.graph import Graph, SparseMatrix
from msg.kernels.first_order import first_order
from msg.kernels.tracing import transformed
from msg.layers import AttentiveCell, SpikingLayer
from msg.names import GRADIENTS, build
from msg.registry import Registry


class Activity(NamedTuple):
    """What the layers did in one forward.

    Attributes:
        currents: mean input current of every layer, ``[N, d]`` each, attached to autograd as the rule sees fit.
        rates: firing rate of every layer whose spikes are read (all but the last), ``[N, d]`` each.
    """

    currents: Sequence[Tensor]
    rates: Sequence[Tensor]


class Recall(NamedTuple):
    """What a recurrence with memories did in one forward; ``T`` steps, ``N`` nodes, ``h`` channels.

    Attributes:
        hidden: :math:`h_t`, ``[T, N, h]``.
        summary: :math:`s_t`, what was recalled, ``[T, N, h]``.
        weights: :math:`w_{ti}` of the memories, ``[T, N, M]``, without gradient; memory 0 is the state at the start,
            memory ``m`` the hidden state after ``m * k_att`` steps.
        state: of the cell after the last step.
    """

    hidden: Tensor
    summary: Tensor
    weights: Tensor
    state: Any


@dataclass(frozen=True)
class GradientRule(ABC):
    """A way of training through time, as a value: no tensors, nothing in ``state_dict``, shown by ``repr(model)``.

    A rule decides what of the simulation is differentiated, never what is simulated: every rule computes the same
    spikes. All of them work with the user's own ``loss.backward()``. What a rule unrolls is said by its class: layers
    (:class:`FeedForwardRule`), a recurrent cell (:class:`RecurrentRule`) or a network that settles
    (:class:`~msg.gradients.SettlingRule`).
    """

    trains: ClassVar[str]
    """What rules of this class train, with examples, for error messages."""

    examples: ClassVar[str]
    """Rules of this class, for error messages."""

    registry: ClassVar[Registry] = GRADIENTS
    """Where they have names."""

    def describe(self, timesteps: int) -> str:
        """The rule as a model of ``timesteps`` steps prints it."""
        return repr(self)


Kind = TypeVar("Kind", bound=GradientRule)


def resolve_rule(rule: Any, kind: type[Kind], model: str) -> Kind:
    """The rule that is meant by a value, a class, a name (of the ``registry`` of its kind) or a dictionary with one.

    Args:
        rule: what the user gave.
        kind: the class of rules that the model can be trained by.
        model: its name, for the message.

    Raises:
        ValueError: if it is no rule, or one that trains something else.
    """
    given = build(rule, kind.registry)
    given = given() if isinstance(given, type) and issubclass(given, GradientRule) else given
    if isinstance(given, kind):
        return given
    if not isinstance(given, GradientRule):
        raise ValueError(f"gradient must be a gradient rule such as {kind.examples}, not {rule!r}")
    raise ValueError(f"{type(given).__name__} trains {given.trains}, and {model} is none: use {kind.examples}")


@dataclass(frozen=True)
class FeedForwardRule(GradientRule):
    """A rule for layers of spiking neurons, one above the other. A subclass supplies :meth:`simulate`."""

    trains: ClassVar[str] = "layers of spiking neurons (MSG, SpikingGNN)"
    examples: ClassVar[str] = "DvM, RateBackprop or SurrogateBPTT"

    twice: ClassVar[bool] = False
    """Whether second derivatives are those of the first ones; else they are refused."""

    through_spikes: ClassVar[bool] = True
    """Whether a layer's parameters get gradient through its own spikes (and so through the layers above)."""

    transformable: ClassVar[bool] = True
    """Whether ``torch.func`` differentiates it: not where the backward pass simulates again."""

    across: ClassVar[bool] = False
    """Whether it also runs on a part of a graph, where every process does the same at the same time."""

    def check(self, layers: Sequence[SpikingLayer]) -> None:
        """Raise ``ValueError``, naming the rule and what it needs, if it cannot train these layers."""

    def run(self, layers: Sequence[SpikingLayer], x: Tensor | SparseMatrix, graph: Graph, timesteps: int) -> Activity:
        """Simulate ``layers`` on ``x`` for ``timesteps`` steps.

        Args:
            layers: the encoder and the hidden layers, in order.
            x: node features: a constant current ``[N, F]`` (dense or sparse), or a train ``[T, N, F]``.
            graph: the graph that all layers read.
            timesteps: number of time steps ``T``.

        Raises:
            ValueError: if a train ``x`` has another number of time steps, the rule needs the whole graph, or
                ``torch.func`` is to differentiate what it cannot.
            RuntimeError: in a backward pass with ``create_graph=True``, where the rule has no second derivatives.
        """
        if not self.across:
            graph.whole_only(type(self).__name__, "DvM, RateBackprop or SurrogateBPTT")
        if not self.transformable and transformed() and torch.is_grad_enabled():
            raise ValueError(
                f"{type(self).__name__} simulates again on the way back, which torch.func cannot follow: use "
                "SurrogateBPTT, loss.backward(), or torch.no_grad() where nothing learns"
            )
        current = simulation.encoder_current(layers, x, graph, timesteps)
        if len(layers) == 1:
            return Activity([simulation.mean(current)], [])
        dynamics = simulation.Dynamics(layers, graph, timesteps)
        # without gradient the spikes are those of any rule
        found = None if torch.is_grad_enabled() else packed.simulate(dynamics, current)
        with casting_anew(current):  # some rules simulate without gradient first
            currents, rates = self.simulate(dynamics, current) if found is None else found.activity(dynamics)
        return self._attached(Activity([simulation.mean(current), *currents], rates))

    def _attached(self, activity: Activity) -> Activity:
        """The same, without second derivatives where the rule has none."""
        if self.twice or not torch.is_grad_enabled():
            return activity
        # what the rule leaves out of the first derivatives would be missing from the second
        return Activity(
            *([first_order(one, type(self).__name__, "SurrogateBPTT") for one in kind] for kind in activity)
        )

    @abstractmethod
    def simulate(self, dynamics: simulation.Dynamics, current: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Mean currents of all layers but the encoder, and rates of all but the last, attached to autograd.

        Args:
            dynamics: at least two layers.
            current: the encoder's, ``[N, d]`` if constant or ``[N, T, d]``; attached to autograd.
        """


RuleLike = FeedForwardRule | type[FeedForwardRule] | str | Mapping[str, Any]
"""A rule for feed-forward layers, or what :func:`resolve_rule` makes one of."""


@runtime_checkable
class Online(Protocol):
    """A feed-forward rule that has a gradient before the end of the simulation."""

    def online(
        self, layers: Sequence[SpikingLayer], x: Tensor | SparseMatrix, graph: Graph, timesteps: int
    ) -> Iterator[Activity]:
        """Simulate step by step, giving after each the activity so far, with the gradient of that step alone.

        Arguments are those of :meth:`FeedForwardRule.run`. Parameters may be updated between two steps.
        """
        ...


@dataclass(frozen=True)
class RecurrentRule(GradientRule):
    """A rule for a recurrent cell that remembers. A subclass supplies :meth:`unroll`."""

    trains: ClassVar[str] = "a recurrent cell with memories (AttentiveRecurrence)"
    examples: ClassVar[str] = "SparseAttentiveBacktracking"

    @abstractmethod
    def unroll(self, cell: AttentiveCell, x: Tensor, state: Any, graph: Any = None) -> Recall:
        """Run a cell through time.

        Args:
            cell: with the attention that scores its memories.
            x: input ``[T, N, F]``.
            state: of the cell before the first step; ``None`` is zero.
            graph: handed on to the cell.
        """
