"""A temporal graph network's memory whose cell spikes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_structure, tree_unflatten
from torch_geometric.nn import TGNMemory
from torch_geometric.nn.inits import reset

from msg.gradients import SurrogateBPTT, resolve_step_rule
from msg.layers import RecurrentSpikingLayer
from msg.neurons import ALIF, NeuronLike, Triangle, stepwise_neuron


class _Cell(nn.Module):
    """Spiking neurons called as :class:`torch.nn.GRUCell`, with all that they carry side by side in one row.

    Args:
        in_channels: width of the message.
        hidden_channels: number of neurons ``H`` of a node.
        neuron: prototype, copied.
        decay: of the spikes' trace, which comes first in the row.
        rule: how spikes are differentiated.
    """

    def __init__(self, in_channels: int, hidden_channels: int, neuron: NeuronLike, decay: float, rule: SurrogateBPTT):
        super().__init__()
        self.layer = RecurrentSpikingLayer(in_channels, hidden_channels, stepwise_neuron(neuron))
        self.decay, self.rule = decay, rule
        with torch.no_grad():
            self._like = self.layer(torch.zeros(1, in_channels))[1]  # how a row is taken apart
        leaves = tree_leaves(self._like)
        if any(not isinstance(leaf, Tensor) or leaf.shape != (1, hidden_channels) for leaf in leaves):
            raise ValueError(
                f"{type(self.layer.neuron).__name__} keeps something that all nodes share, and here each is updated "
                "when it meets an event: use ALIF(), LIF() or another neuron whose state is its own"
            )
        self.width = (1 + len(leaves)) * hidden_channels

    def reset_parameters(self) -> None:
        self.layer.reset_parameters()

    def forward(self, message: Tensor, row: Tensor) -> Tensor:
        trace, *leaves = row.split(self.layer.hidden_channels, dim=1)
        state = tree_unflatten(leaves, tree_structure(self._like))
        spikes, state = self.layer(message, state, None, self.rule.surrogate, self.rule.detach_reset)
        return torch.cat([torch.lerp(spikes, trace, self.decay), *tree_leaves(state)], dim=1)

    def extra_repr(self) -> str:
        return f"decay={self.decay:g}, gradient={self.rule!r}"


class _Message(nn.Module):
    """A message function that reads the memory alone out of rows that hold more."""

    def __init__(self, module: Callable, memory_dim: int):
        super().__init__()
        self.module, self.memory_dim = module, memory_dim
        self.out_channels: int = module.out_channels  # pyright: ignore[reportFunctionMemberAccess]

    def reset_parameters(self) -> None:
        reset(self.module)

    def forward(self, z_src: Tensor, z_dst: Tensor, raw_msg: Tensor, t_enc: Tensor) -> Tensor:
        return self.module(z_src[:, : self.memory_dim], z_dst[:, : self.memory_dim], raw_msg, t_enc)


class _Aggregator(nn.Module):
    """An aggregator from which nodes without a message receive none.

    PyG's ``LastAggregator`` gives them another node's where torch-scatter is not installed.
    """

    def __init__(self, module: Callable):
        super().__init__()
        self.module = module

    def reset_parameters(self) -> None:
        reset(self.module)

    def forward(self, msg: Tensor, index: Tensor, t: Tensor, dim_size: int) -> Tensor:
        reached = torch.zeros(dim_size, 1, dtype=torch.bool, device=msg.device)
        reached[index] = True
        return self.module(msg, index, t, dim_size).masked_fill(~reached, 0)


class SpikingTGNMemory(TGNMemory):
    r"""PyG's :class:`~torch_geometric.nn.models.TGNMemory` with spiking neurons in the place of its GRU.

    An event ``(src, dst, t, raw_msg)`` becomes a message for each of its two nodes, and what a node has received when
    it is next asked for is one step of its neurons,

    .. math::
        i = W_{in}\,\bar m + W_{rec}\, z, \qquad z', h' = \mathrm{neuron}(i, h), \qquad
        s' = \kappa s + (1 - \kappa)\, z',

    with the aggregated message :math:`\bar m`, the last spikes ``z`` and states ``h`` of its neurons. The memory that
    others read is the trace of spikes ``s``, numbers from 0 to 1. Messages, aggregation, time encoding, and when what
    is updated are PyG's, so it stands wherever a ``TGNMemory`` does: in PyG's ``examples/tgn.py`` by its name alone.
    One thing is mended: a node without a message receives none, whoever aggregates.

    Source: `Rossi et al. 2020, Temporal Graph Networks for Deep Learning on Dynamic Graphs
    <https://arxiv.org/abs/2006.10637>`_, with the neurons of `Bellec et al. 2018
    <https://arxiv.org/abs/1803.09574>`_ as the memory updater.

    *Recommended* for event streams, where work is done when something happens. *Not recommended* where time between
    events has to change the state itself: neurons leak with events, not with time, which they are told by the encoding
    in the message.

    Args:
        num_nodes: number of nodes ``N``.
        raw_msg_dim: width of an event's message.
        memory_dim: number of neurons ``H`` of a node, and width of its memory.
        time_dim: width of the time encoding.
        message_module: as in PyG, ``(z_src, z_dst, raw_msg, t_enc) -> [E, out_channels]``, with ``out_channels``.
        aggregator_module: as in PyG.
        neuron: prototype or name, copied; ``None`` is an :class:`~msg.neurons.ALIF` that remembers for some ten events.
        memory_decay: :math:`\kappa` in ``[0, 1)``, of the trace.
        gradient: a :class:`~msg.gradients.SurrogateBPTT` or ``"bptt"``; ``None`` has a triangle of height 0.3.

    Attributes:
        memory: buffer ``[N, (1 + k) H]``: the trace, then the ``k`` tensors that neurons carry.
        last_update: buffer ``[N]``, time of the last event.

    Shapes:
        ``n_id``: ``[M]``; returns the memory ``[M, H]`` and the times of the last events ``[M]``.

    Raises:
        ValueError: for a decay out of bounds, a neuron whose state is not each node's own, or a rule that cannot train
            a recurrent network.
    """

    def __init__(
        self,
        num_nodes: int,
        raw_msg_dim: int,
        memory_dim: int,
        time_dim: int,
        message_module: Callable,
        aggregator_module: Callable,
        neuron: NeuronLike | None = None,
        memory_decay: float = 0.5,
        gradient: SurrogateBPTT | str | None = None,
    ):
        if not 0 <= memory_decay < 1:
            raise ValueError(f"memory_decay must be at least 0 and below 1, not {memory_decay}")
        rule = resolve_step_rule(gradient or SurrogateBPTT(Triangle(0.3)), "SpikingTGNMemory")
        given = ALIF(tau=2.0, tau_adaptation=10.0, beta=1.0, threshold=0.1) if neuron is None else neuron
        message = _Message(message_module, memory_dim)
        super().__init__(num_nodes, raw_msg_dim, memory_dim, time_dim, message, _Aggregator(aggregator_module))
        cell: Any = _Cell(message.out_channels, memory_dim, given, memory_decay, rule)
        self.gru = cell  # PyG's name of the cell
        self.register_buffer("memory", torch.zeros(num_nodes, cell.width))

    def forward(self, n_id: Tensor) -> tuple[Tensor, Tensor]:
        """Memory of some nodes, and when it was last changed."""
        rows, last_update = super().forward(n_id)
        return rows[:, : self.memory_dim], last_update
