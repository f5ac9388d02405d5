"""The long short-term memory spiking network."""

import math
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from msg.calls import altered, full_precision
from msg.gradients import SurrogateBPTT, resolve_step_rule
from msg.graph import GraphMemo
from msg.layers import Conv, RecurrentSpikingLayer, RecurrentState
from msg.neurons import ALIF, Triangle
from msg.sizes import check_sizes


class LSNNState(NamedTuple):
    """What an :class:`LSNN` carries from one train to the next.

    Attributes:
        layer: spikes and neurons of the recurrent layer.
        trace: low-pass filtered output before the bias, ``[N, C]``.
    """

    layer: RecurrentState
    trace: Tensor


class LSNNOutput(NamedTuple):
    """What an :class:`LSNN` returns.

    Attributes:
        outputs: of the leaky read-out, ``[T, N, C]``.
        spikes: of the recurrent layer, ``[T, N, H]``, to regularise firing rates, say.
        state: to go on from.
    """

    outputs: Tensor
    spikes: Tensor
    state: LSNNState


def _parts(state: Any, num_nodes: int, out_channels: int) -> tuple[RecurrentState, Tensor]:
    if not isinstance(state, LSNNState):
        raise ValueError(f"state must be an LSNNState that this model returned, not {type(state).__name__}")
    if state.trace.shape[1:] != (out_channels,):
        raise ValueError(
            f"the state has a trace of shape {list(state.trace.shape)}, but this model needs [{num_nodes}, "
            f"{out_channels}]: it is another model's"
        )
    return state


class LSNN(nn.Module):
    r"""Recurrent network of spiking neurons, some with adaptive thresholds, under a leaky read-out.

    .. math::
        i_t = x_t W_{in} + z_{t-1} W_{rec}, \qquad z_t = \mathrm{ALIF}(i_t), \qquad
        y_t = \kappa y_{t-1} + (1-\kappa)\, z_t W_{out}, \qquad \kappa = e^{-\Delta t/\tau_{out}},

    and outputs :math:`y_t + b`. The last ``adaptive`` neurons have the given ``beta``, the others zero: they are plain
    leaky integrate-and-fire neurons, and with ``adaptive=0`` the whole network is. The recurrence is that of
    :class:`~msg.layers.RecurrentSpikingLayer`, over a graph if there is a ``conv``.

    Source: `Bellec et al. 2018, Long short-term memory and learning-to-learn in networks of spiking neurons
    <https://arxiv.org/abs/1803.09574>`_. All synapses have a delay of one step, where the authors' code draws delays of
    1 to 10 ms; the read-out has a bias.

    *Recommended* where something must be kept for longer than the membrane remembers. *Not recommended* for static
    inputs.

    Args:
        in_channels: number of inputs ``F``.
        out_channels: number of outputs ``C``.
        hidden_channels: number of neurons ``H`` of a node.
        adaptive: how many of them adapt; ``None`` for half, rounded down.
        tau: membrane time constant, in the unit of ``dt``, as all times here.
        tau_adaptation: time constant of the threshold.
        tau_readout: time constant of the read-out ``τ_out``.
        beta: how much a spike raises the threshold of an adaptive neuron.
        threshold: at rest, in units of the current.
        refractory: number of steps after a spike in which a neuron cannot fire.
        dt: duration of a step.
        conv: aggregation in the recurrence, as in :class:`~msg.layers.RecurrentSpikingLayer`.
        gradient: how to train through time: a :class:`~msg.gradients.SurrogateBPTT`. By default the paper's, with a
            triangle of height 0.3 and *through* the reset: cut there, gradients grow over hundreds of steps.

    Shapes:
        ``x``: ``[T, N, F]`` with a batch or the nodes of a graph as ``N``; ``edge_index``: ``[2, E]``,
        ``edge_weight``: ``[E]``, with ``conv`` only; returns an :class:`LSNNOutput`.

    Raises:
        ValueError: for impossible settings, or a rule that cannot train a recurrent network.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 20,
        adaptive: int | None = None,
        tau: float = 20.0,
        tau_adaptation: float = 1200.0,
        tau_readout: float = 20.0,
        beta: float = 1.7,
        threshold: float = 0.01,
        refractory: int = 0,
        dt: float = 1.0,
        conv: Conv | None = None,
        gradient: SurrogateBPTT | None = None,
    ):
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels, hidden_channels=hidden_channels)
        adaptive = hidden_channels // 2 if adaptive is None else adaptive
        if not isinstance(adaptive, Integral) or not 0 <= adaptive <= hidden_channels:
            raise ValueError(
                f"adaptive must be in 0..hidden_channels={hidden_channels}, a whole number, not {adaptive}"
            )
        if not tau_readout > 0:
            raise ValueError(f"tau_readout must be positive, not {tau_readout}")
        rule = SurrogateBPTT(Triangle(0.3), detach_reset=False) if gradient is None else gradient
        betas = torch.zeros(hidden_channels)
        betas[hidden_channels - adaptive :] = beta
        neuron = ALIF(tau, tau_adaptation, betas, threshold, refractory, dt)
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.adaptive, self.tau_readout = adaptive, float(tau_readout)
        self.gradient = resolve_step_rule(rule, "LSNN")
        self.layer = RecurrentSpikingLayer(in_channels, hidden_channels, neuron, conv)
        self.lin = nn.Linear(hidden_channels, out_channels)
        self._graphs = GraphMemo()

    @property
    def _kappa(self) -> float:
        return math.exp(-self.layer.neuron.dt / self.tau_readout)  # pyright: ignore

    def reset_parameters(self) -> None:
        """Reset all learnable parameters."""
        self.layer.reset_parameters()
        self.lin.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None = None,
        edge_weight: Tensor | None = None,
        state: LSNNState | None = None,
    ) -> LSNNOutput:
        """Run through a train, from rest or from where another one ended.

        Raises:
            ValueError: for shapes that do not fit, a missing graph, or one that nobody would read.
        """
        if x.dim() != 3:
            raise ValueError(f"x has shape {list(x.shape)}, but LSNN needs [time steps, num_nodes, {self.in_channels}]")
        if edge_weight is not None and edge_index is None:
            raise ValueError("edge_weight weighs the edges of edge_index: give both, or neither")
        graph = None
        if edge_index is not None:
            graph = self._graphs.graph(edge_index, edge_weight, x.size(1))
        layer, trace = (None, None) if state is None else _parts(state, x.size(1), self.out_channels)
        rule = self.gradient
        # under autocast the state would have fewer digits than what it adds up over long times
        with full_precision(self.lin.weight):
            spikes, layer = self.layer(x, layer, graph, rule.surrogate, rule.detach_reset)
            currents = self._driven(spikes)
            trace = torch.zeros_like(currents[0]) if trace is None else trace
            traces = []
            for current in currents.unbind():
                trace = torch.lerp(current, trace, self._kappa)
                traces.append(trace)
            return LSNNOutput(torch.stack(traces) + self.lin.bias, spikes, LSNNState(layer, trace))

    def _driven(self, spikes: Tensor) -> Tensor:
        """What spikes drive the read-out by, without its bias, which is no part of what leaks."""
        return self.lin(spikes) - self.lin.bias if altered(self.lin) else spikes @ self.lin.weight.t()

    def extra_repr(self) -> str:
        """What is not a submodule."""
        return (
            f"{self.in_channels}, {self.out_channels}, adaptive={self.adaptive}, tau_readout={self.tau_readout:g}, "
            f"gradient={self.gradient!r}"
        )
