"""A spiking graph network that reads one snapshot of a dynamic graph a call, and carries its state to the next."""

import copy
from typing import NamedTuple

import geoopt
import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from msg.calls import full_precision
from msg.gradients import SurrogateBPTT, resolve_step_rule
from msg.graph import Graph, SparseMatrix
from msg.kernels.tracing import traced
from msg.layers import (
    Conv,
    Dropout,
    LastCurrent,
    ManifoldPath,
    RecurrentState,
    SpikeLinear,
    SpikeSynapse,
    TangentHead,
    check_state,
    make_synapse,
    recurrent_steps,
    resting_state,
)
from msg.manifolds import resolve
from msg.models.network import GraphNetwork
from msg.neurons import Neuron, NeuronLike, stepwise_neuron
from msg.neurons.timesteps import Timesteps
from msg.sizes import check_sizes


class SnapshotState(NamedTuple):
    """What a :class:`RecurrentSpikingGNN` carries from one snapshot to the next.

    Attributes:
        layers: last spikes and neurons of each layer that fires.
        currents: filtered mean currents that the read-out sees, ``[N, d]`` each; none without a filter.
    """

    layers: tuple[RecurrentState, ...]
    currents: tuple[Tensor, ...]


class _Layer(nn.Module):
    """Neurons on what their convolution and their own last spikes send.

    Args:
        conv: see :class:`RecurrentSpikingGNN`.
        sizes: widths of input and output.
        neuron: prototype, copied; ``None`` for a last layer, whose current alone is read.
        recurrent: whether neurons of a node hear each other.
        bias: of the convolution.
    """

    def __init__(self, conv: Conv, sizes: tuple[int, int], neuron: Neuron | None, recurrent: bool, bias: bool):
        super().__init__()
        self.synapse = SpikeSynapse(make_synapse(conv, *sizes, bias).conv)
        self.neuron = copy.deepcopy(neuron)
        self.recurrent = SpikeLinear(sizes[1], sizes[1], bias=False) if recurrent and neuron is not None else None
        self.width = sizes[1]

    def reset_parameters(self) -> None:
        for part in (self.synapse, self.neuron, self.recurrent):
            if part is not None:
                part.reset_parameters()

    def currents(self, x: Tensor | SparseMatrix, graph: Graph, timesteps: int) -> list[Tensor]:
        """What arrives along edges at each step, ``[N, d]``, from features ``[N, F]`` or spikes ``[N, T, d]``."""
        current = self.synapse(x, graph)
        if current.size(-1) != self.width:
            raise ValueError(
                f"{type(self.synapse.conv).__name__} returned width {current.size(-1)}, but the layer has {self.width} "
                "channels: with several heads, average them (concat=False) or divide the width"
            )
        return [current] * timesteps if current.dim() == 2 else list(current.unbind(1))

    def fire(
        self, currents: list[Tensor], state: RecurrentState | None, rule: SurrogateBPTT
    ) -> tuple[list[Tensor], Tensor, RecurrentState]:
        """Current ``[N, d]`` of each step, spikes ``[N, T, d]`` and the new state."""
        assert self.neuron is not None
        heard, train = [], []
        steps = recurrent_steps(self.neuron, currents, state, self.recurrent, rule.surrogate, rule.detach_reset)
        for current, state in steps:
            heard.append(current)
            train.append(state.spikes)
        assert state is not None
        return heard, torch.stack(train, dim=1), state


def _mean(steps: list[Tensor]) -> Tensor:
    return steps[0] if len(steps) == 1 else torch.stack(steps).mean(0)


class RecurrentSpikingGNN(GraphNetwork):
    r"""Spiking graph network for discrete-time dynamic graphs: one snapshot a call, with an explicit state between.

    .. math::
        c^l_t = \mathrm{conv}^l(s^{l-1}_t, G_t) + W^l_{rec}\, s^l_{t-1}, \qquad
        s^l_t, h^l_t = \mathrm{neuron}(c^l_t, h^l_{t-1}), \qquad
        v^l_t = \kappa v^l_{t-1} + (1-\kappa)\,c^l_t,

    with :math:`s^0_t = x_t`, the features of snapshot :math:`G_t`. Without a ``manifold`` the output is a linear map of
    the last layer's spikes, filtered by :math:`\kappa` with its bias (:class:`LSNN` adds that of its own afterwards).
    With one, the last convolution has no neurons, the filtered currents move a point from the origin as in
    :class:`MSG`, and the output is linear in its logarithm there. So with one step the first snapshot, at
    :math:`\kappa = 0`, is what :class:`SpikingGNN` or :class:`MSG` returns.

    .. code-block:: python

        state = None
        for snapshot in snapshots:
            out, state = model(snapshot.x, snapshot.edge_index, snapshot.edge_weight, state)

    :func:`~msg.layers.detach_state` cuts the past off for truncated backpropagation through time;
    :func:`~msg.layers.grow_state` adds nodes, :func:`~msg.layers.index_state` picks them, and
    :func:`~msg.layers.cat_states` makes one state of those of several graphs.

    Source: the neurons of `Bellec et al. 2018 <https://arxiv.org/abs/1803.09574>`_ under graph convolutions, one step a
    snapshot as in `Seo et al. 2018, Structured Sequence Modeling with Graph Convolutional Recurrent Networks
    <https://arxiv.org/abs/1612.07659>`_, model 1, with neurons that fire in place of an LSTM.

    *Recommended* where the answer depends on earlier snapshots. *Not recommended* for a single graph: use
    :class:`SpikingGNN` or :class:`MSG`, whose gradient rules need not go through every step.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of outputs ``C``.
        hidden_channels: width of all layers; ``None`` is what the manifold says, else 32.
        num_layers: number of convolutions: each with neurons above it and at least 1; with a manifold at least 2.
        timesteps: steps that neurons run in each snapshot, whose features are a constant current.
        neuron: prototype, or a name as ``"lif"`` or ``{"name": "lif", "tau": 3.0}``; copied for each layer. ``None`` is
            :class:`~msg.neurons.LIF`. What it remembers is measured in steps.
        conv: synapse, as in :class:`MSG`; its graph is that of the snapshot.
        recurrent: whether the neurons of a node hear each other's last spikes.
        manifold: signature such as ``"H16"``, or a geoopt manifold; ``None``: spikes are read out.
        step_size: :math:`\varepsilon` of the path, as in :class:`MSG`.
        max_step: bound on a step's length, ``None`` for none.
        readout_decay: :math:`\kappa` in ``[0, 1)``, per snapshot.
        dropout: probability of dropping a spike before the read-out, or what :class:`MSG` drops, in training.
        bias: whether synapses given by name add a constant current.
        gradient: a :class:`~msg.gradients.SurrogateBPTT` or ``"bptt"``, how to train through time.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``, or a :class:`~msg.graph.Graph` made once, if the snapshot is read
        again; ``edge_weight``: ``[E]``; returns ``[N, C]`` and a :class:`SnapshotState`.

    Raises:
        ValueError: for impossible settings, neurons that do not spike or whose threshold is to be fitted, or a rule
            that cannot train a recurrent network.
    """

    instead_on_a_part = "SpikingGNN"

    timesteps = Timesteps

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int | None = None,
        num_layers: int = 2,
        timesteps: int = 1,
        neuron: NeuronLike | None = None,
        conv: Conv = "gcn",
        recurrent: bool = True,
        manifold: str | geoopt.Manifold | None = None,
        step_size: float = 0.1,
        max_step: float | None = 1.0,
        readout_decay: float = 0.0,
        dropout: float = 0.0,
        bias: bool = True,
        gradient: SurrogateBPTT | str | None = None,
    ):
        super().__init__()
        check_sizes(1 if manifold is None else 2, num_layers=num_layers)
        if not 0 <= readout_decay < 1:
            raise ValueError(f"readout_decay must be at least 0 and below 1, not {readout_decay}")
        fires = stepwise_neuron("lif" if neuron is None else neuron)
        if manifold is None:
            width, space = 32 if hidden_channels is None else hidden_channels, None
            check_sizes(hidden_channels=width)
        else:
            space, width = resolve(manifold, hidden_channels)
        self.in_channels, self.out_channels, self.timesteps = in_channels, out_channels, timesteps
        self.hidden_channels, self.num_layers, self.readout_decay = width, num_layers, float(readout_decay)
        self.gradient = resolve_step_rule(gradient or SurrogateBPTT(), "RecurrentSpikingGNN")
        firing = num_layers if space is None else num_layers - 1
        self.layers = nn.ModuleList(
            _Layer(conv, (width if number else in_channels, width), fires if number < firing else None, recurrent, bias)
            for number in range(num_layers)
        )
        if space is None:
            self.dropout, self.readout = Dropout(dropout), SpikeLinear(width, out_channels)
            self.path, self.head = LastCurrent(), nn.Identity()
        else:
            self.dropout, self.readout = nn.Identity(), None
            self.path = ManifoldPath(space, width, step_size, max_step, dropout)
            self.head = TangentHead(space, width, out_channels, dropout)

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but a manifold's curvature."""
        for part in (*self.layers, self.readout, self.path, self.head):
            reset(part)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        state: SnapshotState | None = None,
    ) -> tuple[Tensor, SnapshotState]:
        """Read one snapshot, from rest or from the state after the last one.

        Raises:
            ValueError: for shapes or dtypes that do not fit, or the state of other nodes or another network.
        """
        # under autocast the state would have another precision than the features of the next snapshot
        with full_precision(next(self.parameters())):
            point, state = self.embed(x, edge_index, edge_weight, state)
            return self.head(point), state

    def embed(
        self,
        x: Tensor,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        state: SnapshotState | None = None,
    ) -> tuple[Tensor, SnapshotState]:
        """The point of each node on the manifold, in float64, before the head; without one, the output itself."""
        features, graph = self.prepare(x, edge_index, edge_weight)
        if state is not None:
            self._check_state(state, features)
        carried = iter(() if state is None else state.layers)
        read, means, layers = features, [], []
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            currents = layer.currents(read, graph, self.timesteps)
            if layer.neuron is None:
                means.append(_mean(currents))
                break
            heard, read, now = layer.fire(currents, next(carried, None), self.gradient)
            layers.append(now)
            if self.readout is None:
                means.append(_mean(heard))
        if self.readout is not None:
            assert isinstance(read, Tensor)
            means = [self.readout(self.dropout(read)).mean(1)]
        if not self.readout_decay:
            return self.path(means), SnapshotState(tuple(layers), ())
        past = [torch.zeros_like(mean) for mean in means] if state is None else state.currents
        means = [torch.lerp(mean, trace, self.readout_decay) for mean, trace in zip(means, past)]
        return self.path(means), SnapshotState(tuple(layers), tuple(means))

    def _check_state(self, state: SnapshotState, features: Tensor | SparseMatrix) -> None:
        if not isinstance(state, SnapshotState):
            raise ValueError(f"state must be a SnapshotState that this model returned, not {type(state).__name__}")
        neurons = [layer.neuron for layer in self.layers if isinstance(layer, _Layer) and layer.neuron is not None]
        filtered = 0 if not self.readout_decay else 1 if self.readout is not None else self.num_layers
        if (len(state.layers), len(state.currents)) != (len(neurons), filtered):
            raise ValueError(
                f"the state is of {len(state.layers)} layers, {len(state.currents)} of them filtered, but this model "
                f"has {len(neurons)} and filters {filtered}: it is another model's"
            )
        like = None
        if not traced():
            empty = torch.empty(0, self.hidden_channels, dtype=features.dtype, device=next(self.parameters()).device)
            means = empty if self.readout is None else empty.new_empty(0, self.out_channels)
            like = SnapshotState(tuple(resting_state(neuron, empty) for neuron in neurons), (means,) * filtered)
        check_state(state, features.size(0), features.dtype, like)

    def extra_repr(self) -> str:
        """Sizes, and how it is trained."""
        return f"{super().extra_repr()}, timesteps={self.timesteps}, gradient={self.gradient!r}"
