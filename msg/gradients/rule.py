"""What a gradient rule is: a value that owns the loop over layers and time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from msg.nn.layer import SpikingLayer
    from msg.nn.sparse import Graph, SparseMatrix


class Activity(NamedTuple):
    """What the layers did in one forward.

    Attributes:
        drives: mean input current of every layer, ``[N, d]`` each, attached to autograd as the rule sees fit.
        rates: firing rate of every layer whose spikes are read (all but the last), ``[N, d]`` each.
    """

    drives: list[Tensor]
    rates: list[Tensor]


@dataclass(frozen=True)
class GradientRule(ABC):
    """A way of training through time, as a value: no tensors, nothing in ``state_dict``, shown by ``repr(model)``.

    A rule decides what of the simulation is differentiated, never what is simulated: every rule computes the same
    spikes. All of them work with the user's own ``loss.backward()``.
    """

    through_spikes: ClassVar[bool] = True
    """Whether a layer's parameters get gradient through its own spikes (and so through the layers above)."""

    def check(self, layers: Sequence["SpikingLayer"]) -> None:  # noqa: B027 - most rules can train anything
        """Raise ``ValueError``, naming the rule and what it needs, if it cannot train these layers."""

    @abstractmethod
    def run(
        self, layers: Sequence["SpikingLayer"], x: "Tensor | SparseMatrix", graph: "Graph", timesteps: int
    ) -> Activity:
        """Simulate ``layers`` on ``x`` for ``timesteps`` steps.

        Args:
            layers: the encoder and the hidden layers, in order.
            x: node features: a constant current ``[N, F]`` (dense or sparse), or a train ``[T, N, F]``.
            graph: the graph that all layers read.
            timesteps: number of time steps ``T``.
        """

    def online(
        self, layers: Sequence["SpikingLayer"], x: "Tensor | SparseMatrix", graph: "Graph", timesteps: int
    ) -> Iterator[Activity]:
        """Simulate step by step, giving after each the activity so far, with the gradient of that step alone.

        Arguments are those of :meth:`run`. Parameters may be updated between two steps.

        Raises:
            ValueError: if the rule has no gradient before the end of the simulation.
        """
        raise ValueError(f"{type(self).__name__} has no gradient before the end of the simulation: use OTTT")

    def describe(self, timesteps: int) -> str:
        """The rule as a model of ``timesteps`` steps prints it."""
        return repr(self)
