"""A layer of spiking neurons that hear each other, and the nodes next door, one step later."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msg.calls import altered, full_precision, widened
from msg.graph import Graph
from msg.kernels.tracing import traced
from msg.layers.state import check_state
from msg.layers.synapse import Conv, Synapse, make_synapse
from msg.neurons import ATan, Fire, Neuron


class RecurrentState(NamedTuple):
    """What a :class:`RecurrentSpikingLayer` carries from step to step.

    Attributes:
        spikes: of the last step, ``[N, H]``.
        neuron: state of the neurons, whatever they return.
    """

    spikes: Tensor
    neuron: Any


_RESTING: WeakKeyDictionary[Neuron, RecurrentState] = WeakKeyDictionary()


def resting_state(neuron: Neuron, spikes: Tensor) -> RecurrentState:
    """A state of no nodes, to compare others with; found out once for each neuron.

    Args:
        neuron: whose state it is; no hook of it is told, since nothing happens.
        spikes: of no nodes, ``[0, H]``.
    """
    found = _RESTING.get(neuron)
    if found is None or found.spikes.shape != spikes.shape:
        with torch.no_grad():
            found = _RESTING[neuron] = RecurrentState(spikes, neuron.forward(spikes, None)[1])
    return found


def recurrent_steps(
    neuron: nn.Module,
    currents: Iterable[Tensor],
    state: RecurrentState | None,
    recur: Callable[[Tensor], Tensor] | None,
    fire: Fire,
    detach_reset: bool,
) -> Iterator[tuple[Tensor, RecurrentState]]:
    """Step by step the whole current of neurons that hear their own last spikes, and what they carry on.

    Args:
        neuron: that fires on the current.
        currents: from elsewhere, ``[N, H]`` a step.
        state: after the last step; ``None`` is rest.
        recur: from the spikes of one step to the current they cause in the next; ``None``: none.
        fire: the step function.
        detach_reset: cut the gradient through the neuron's reset.
    """
    spikes, hidden = (None, None) if state is None else state
    for current in currents:
        # nothing has been fired at rest
        now = current if spikes is None or recur is None else current + recur(spikes)
        spikes, hidden = neuron(now, hidden, fire, detach_reset)
        yield now, RecurrentState(spikes, hidden)


class RecurrentSpikingLayer(nn.Module):
    r"""Recurrently connected spiking neurons, as in :class:`torch.nn.RNN`, with time in front.

    .. math::
        i_t = x_t W_{in} + z_{t-1} W_{rec}, \qquad z_t, h_t = \mathrm{neuron}(i_t, h_{t-1}),

    without connections of a neuron to itself (the diagonal of :math:`W_{rec}` is ignored). With ``conv`` the recurrence
    passes over the graph, for ``"gcn"`` :math:`i_t = x_t W_{in} + \hat A z_{t-1} W_{rec}`; then the weights are the
    convolution's own, and whether a neuron hears itself is up to its self-loops. Nothing adds a constant current.

    Source: `Bellec et al. 2018, Long short-term memory and learning-to-learn in networks of spiking neurons
    <https://arxiv.org/abs/1803.09574>`_, section 2. Weights start as there, normal with variance one over the number
    of inputs; those of a ``conv`` start as it starts them. All synapses have a delay of one step.

    Args:
        in_channels: number of inputs ``F``.
        hidden_channels: number of neurons ``H`` of a node.
        neuron: prototype, copied.
        conv: aggregation in the recurrence, ``"gcn"``, ``"sage"``, ``"gin"`` or a function ``(in, out) -> conv``;
            ``None`` leaves the ``N`` rows of a batch apart.

    Shapes:
        ``x``: one step ``[N, F]`` or a train ``[T, N, F]``; returns spikes ``[N, H]`` or ``[T, N, H]``, and a
        :class:`RecurrentState`.

    Raises:
        ValueError: for an unknown ``conv``.
    """

    def __init__(self, in_channels: int, hidden_channels: int, neuron: Neuron, conv: Conv | None = None):
        super().__init__()
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.input = nn.Linear(in_channels, hidden_channels, bias=False)
        self.recurrent: nn.Linear | Synapse
        if conv is None:
            self.recurrent = nn.Linear(hidden_channels, hidden_channels, bias=False)
        else:
            self.recurrent = make_synapse(conv, hidden_channels, hidden_channels, bias=False)
        self.neuron = copy.deepcopy(neuron)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset weights and neuron."""
        nn.init.normal_(self.input.weight, std=self.in_channels**-0.5)
        if isinstance(self.recurrent, Synapse):
            self.recurrent.reset_parameters()
        else:
            nn.init.normal_(self.recurrent.weight, std=self.hidden_channels**-0.5)
        self.neuron.reset_parameters()

    def forward(
        self,
        x: Tensor,
        state: RecurrentState | None = None,
        graph: Graph | Tensor | None = None,
        fire: Fire = ATan(),  # noqa: B008 - a frozen value
        detach_reset: bool = True,
    ) -> tuple[Tensor, RecurrentState]:
        """One step or many.

        Args:
            x: input ``[N, F]`` or ``[T, N, F]``; spikes may be integers or truth values.
            state: after the last step; ``None`` is rest.
            graph: ``edge_index`` ``[2, E]`` or a :class:`~msg.graph.Graph`, if and only if the layer has a ``conv``.
            fire: the step function, with the derivative of your choice.
            detach_reset: cut the gradient through the neuron's reset.

        Raises:
            ValueError: for shapes that do not fit, the state of other nodes or another network, a missing graph, or one
                that nobody would read.
        """
        if x.dim() not in (2, 3) or x.size(-1) != self.in_channels or (x.dim() == 3 and not len(x)):
            raise ValueError(
                f"x has shape {list(x.shape)}, but the layer needs [num_nodes, {self.in_channels}] "
                f"or [time steps, num_nodes, {self.in_channels}]"
            )
        weight = self.input.weight
        # spikes of others may be whole numbers or booleans
        x = widened(x, weight.dtype) if x.is_floating_point() else x.to(weight.dtype)
        if x.dtype != weight.dtype:
            raise ValueError(
                f"x is {x.dtype}, but the weights are {weight.dtype}: convert one of them, as in x.float() or "
                "model.double()"
            )
        if state is not None:
            like = None if traced() else resting_state(self.neuron, x.new_empty(0, self.hidden_channels))
            check_state(state, x.size(-2), x.dtype, like)
        train = []
        with full_precision(weight):  # under autocast the next input would have another precision than the state
            recur = self._recurrence(graph, x.size(-2))
            currents = self.input(x)
            each = list(currents.unbind()) if x.dim() == 3 else [currents]
            steps = recurrent_steps(self.neuron, each, state, recur, fire, detach_reset)
            for _, state in steps:
                train.append(state.spikes)
        assert state is not None
        return torch.stack(train) if x.dim() == 3 else train[0], state

    def _recurrence(self, graph: Graph | Tensor | None, num_nodes: int) -> Callable[[Tensor], Tensor]:
        """From the spikes of one step to the current they cause in the next; what all steps share is done once."""
        synapse = self.recurrent
        if isinstance(synapse, Synapse):
            if graph is None:
                raise ValueError(f"{type(synapse.conv).__name__} passes spikes over a graph: give its edge_index")
            known = Graph(graph, None, num_nodes) if isinstance(graph, Tensor) else graph
            return lambda spikes: synapse(spikes, known)
        if graph is not None:
            raise ValueError("the recurrence has no convolution that would read the graph: use conv='gcn', say")
        if altered(synapse):
            return lambda spikes: synapse(spikes) - spikes * synapse.weight.diagonal()
        weight = synapse.weight - torch.diag(synapse.weight.diagonal())
        return lambda spikes: F.linear(spikes, weight)
