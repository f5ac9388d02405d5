"""Online training through time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from msg.calls import Parameters, autocast_of
from msg.gradients import packed, simulation
from msg.gradients.rule import Activity, FeedForwardRule
from msg.graph import Graph
from msg.layers import SpikingLayer
from msg.layers.state import detach_state
from msg.neurons import IF, LIF, ATan, Neuron, Surrogate
from msg.neurons.surrogates import check_surrogate


@dataclass(frozen=True)
class OTTT(FeedForwardRule):
    r"""Online training through time: weights see a trace of past spikes, and nothing is backpropagated in time.

    The gradient through the membrane potential of the step before is cut; what it would have carried to the weights is
    kept by an eligibility trace of the input,

    .. math::
        a_t = \lambda a_{t-1} + \hat A s^\text{in}_t, \qquad
        \delta_t = \frac{\partial\mathcal L}{\partial u_t}\bigg|_\text{space}, \qquad
        \nabla_W\mathcal L = \sum_t a_t^\top\,\delta_t,

    where :math:`\delta_t` goes down the layers at step ``t`` alone. Mean currents see the spikes of their own
    step, so they are differentiated exactly. For one layer of neurons this is backpropagation through time; above, the
    path of an early spike through the potential of a higher layer is missing.

    Used as any rule (*accumulated*: one update from the user's own ``loss.backward()``), the simulation runs a second
    time in the backward pass, chunk by chunk, so memory does not grow with ``T``. The *online* form updates at every
    step; see :meth:`online` and :meth:`msg.models.SpikingNetwork.online`.

    Source: `Xiao et al. 2022, Online Training Through Time for Spiking Neural Networks
    <https://arxiv.org/abs/2210.04195>`_, eq. 8-10. A learnable time constant gets the gradient of its own step.

    *Recommended* for leaky neurons where an update at each step is wanted, or where inputs vary in time and memory is
    short. *Not recommended* otherwise: :class:`RateBackprop` runs the simulation once, OTTT twice.

    Args:
        surrogate: the derivative that stands in for that of the step. The reset is always detached.

    Raises:
        ValueError: for a surrogate that is a class or a name.
    """

    transformable: ClassVar[bool] = False

    surrogate: Surrogate = ATan()  # noqa: RUF009 - a frozen value

    def __post_init__(self):
        check_surrogate(self.surrogate)

    def check(self, layers) -> None:
        """Refuse what has no trace: other neurons or resets, and synapses that are not linear."""
        for layer in layers[:-1]:
            neuron = layer.neuron
            if neuron is not None and not _has_trace(neuron):
                raise ValueError(
                    f"OTTT needs IF or LIF neurons with reset='subtract', whose memory decays alike in all, not "
                    f"{neuron}: use SurrogateBPTT or RateBackprop"
                )
        for layer in layers[1:]:
            if not layer.linear:
                raise ValueError(
                    f"OTTT needs linear synapses (GCN, SAGE, GIN), not {type(layer.synapse.conv).__name__}, because a "
                    "trace sums inputs: use SurrogateBPTT or RateBackprop"
                )

    def simulate(self, dynamics: simulation.Dynamics, current: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :meth:`FeedForwardRule.simulate`."""
        if not torch.is_grad_enabled():
            rates = dynamics.totals(current, simulation.SILENT).rates
            return dynamics.mean_currents(rates), rates
        hidden: Sequence[Any] = dynamics.layers[1:-1]
        parameters = Parameters(*hidden, _neuron(dynamics.layers[0]))
        learnable: Any = [*parameters.learned, *dynamics.graph.learned]
        rates = list(_Accumulated.apply(self, dynamics, parameters, current, *learnable))
        return dynamics.mean_currents(rates), rates

    def online(self, layers, x, graph, timesteps) -> Iterator[Activity]:
        """See :meth:`Online.online`; mean currents and rates are those so far, their past detached."""
        train = simulation.train(x, timesteps)
        if train is not None and layers[0].norm is not None:
            raise ValueError(
                "OTTT goes online through a train only where its first layer is linear, and a norm is not: leave out "
                "the norm, or call the model and loss.backward()"
            )
        encoder, stages = _Traced(layers[0]), _stages(layers, [_Traced(layer) for layer in layers[1:-1]])
        dynamics, traced = (simulation.Dynamics(some, graph, timesteps) for some in (layers, stages))
        states, counts, past = dynamics.resting, [0.0] * len(dynamics.sources), 0.0
        for t in range(1, timesteps + 1):
            if graph.learned:  # each step has a backward pass of its own, which takes the way to what edges weigh
                anew = graph.of_a_pass()
                dynamics, traced = (simulation.Dynamics(some, anew, timesteps) for some in (layers, stages))
            first = dynamics.graphs[0]
            if train is None:
                mean, current = encoder.constant(x, first)
            else:
                current = encoder.current(train[:, t - 1 : t], first).squeeze(1)
                total = past + layers[0].current(train[:, t - 1], first)
                mean, past = total / t, total.detach()
            sweep = traced.advance(current, states, slice(0, 1), self._firing)
            states = sweep.states
            counts = [count + simulation.summed(spikes) for count, spikes in zip(counts, sweep.trains)]
            rates = [(count / t).to(current.dtype) for count in counts]
            counts = [count.detach() for count in counts]
            yield self._attached(Activity([mean, *dynamics.mean_currents(rates)], rates))

    @property
    def _firing(self) -> simulation.Firing:
        return simulation.Firing(self.surrogate, detach_reset=True, through_spikes=True)


def _has_trace(neuron: Any) -> bool:
    """Whether all of its memory decays by one number; a subclass may have another step or a decay a channel."""
    plain = isinstance(neuron, IF | LIF) and neuron.reset == "subtract" and type(neuron).forward is Neuron.forward
    return plain and torch.as_tensor(neuron.decay(torch.ones(()))).numel() == 1


def _neuron(layer: Any) -> Neuron:
    assert layer.neuron is not None
    return layer.neuron


def _decay(layer: SpikingLayer) -> float:
    with torch.no_grad():
        return 1.0 if layer.neuron is None else float(layer.neuron.decay(torch.ones((), dtype=torch.float64)))


class _Traced:
    r"""A synapse whose weights see the trace :math:`a_t`, while its value and its input see the spikes of their step.

    It keeps :math:`a_t / e_t`, an exponential moving average, with :math:`e_t = \lambda e_{t-1} + 1` the trace of a
    constant one: through :math:`e_t` times the current of the average, a bias gets its gradient too.
    """

    def __init__(self, layer: SpikingLayer):
        self.layer, self.decay = layer, _decay(layer)
        self.average: Tensor | None = None
        self.weight, self.steps = 0.0, 0

    def _remember(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        averages = []
        for now in spikes.detach().unbind(1):
            self.weight = self.decay * self.weight + 1
            self.average = now if self.average is None else torch.lerp(self.average, now, 1 / self.weight)
            averages.append(self.average)
        return torch.stack(averages, dim=1), self._weights(spikes)

    def _weights(self, spikes: Tensor) -> Tensor:
        """:math:`e_t` of a chunk's steps, made where the spikes are: numbers of the host would have to be copied."""
        first, self.steps = self.steps + 1, self.steps + spikes.size(1)
        steps = torch.arange(first, self.steps + 1, dtype=spikes.dtype, device=spikes.device)[:, None]
        return steps if self.decay == 1 else (1 - self.decay**steps) / (1 - self.decay)

    def current(self, spikes: Tensor, graph: Graph) -> Tensor:
        """Current ``[N, steps, d]`` of the spikes of a chunk."""
        average, weight = self._remember(spikes)
        with torch.no_grad():
            value = self.layer.current(spikes, graph)
        trace = weight * self.layer.current(average + (spikes - spikes.detach()) / weight, graph)
        return value + (trace - trace.detach())

    def constant(self, x: Any, graph: Graph) -> tuple[Tensor, Tensor]:
        """The current of a constant input, as the mean current and as the neuron sees it."""
        self.weight = self.decay * self.weight + 1
        mean = self.layer.current(x, graph)
        return mean, mean + (self.weight - 1) * (mean - mean.detach())


def _stages(layers: Sequence[Any], traced: list[_Traced]) -> list[Any]:
    """The layers, each step's potential cut off from the one before, each hidden synapse with its trace."""

    def cut(neuron: Neuron):
        def step(current: Tensor, state: Any, *firing: Any) -> tuple[Tensor, Any]:
            spikes, state = neuron(current, state, *firing)
            return spikes, detach_state(state)

        return step

    synapses = [layers[0].current, *[trace.current for trace in traced]]
    hidden = [
        simulation.Stage.of(layer, neuron=cut(_neuron(layer)), current=current)
        for layer, current in zip(layers[:-1], synapses)
    ]
    return [*hidden, layers[-1]]


class _Accumulated(torch.autograd.Function):
    """Firing rates, whose backward pass runs the simulation again, one chunk's graph at a time."""

    @staticmethod
    def forward(
        ctx, rule: OTTT, dynamics: simulation.Dynamics, parameters: Parameters, current: Tensor, *learnable: Tensor
    ):
        found = packed.simulate(dynamics, current)
        rates = dynamics.totals(current, simulation.SILENT).rates if found is None else found.rates
        ctx.save_for_backward(current, *learnable)
        ctx.rule, ctx.dynamics, ctx.parameters, ctx.autocast = rule, dynamics, parameters, autocast_of(current)
        return tuple(rates)

    @staticmethod
    @once_differentiable
    def backward(ctx, *rate_grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        with ctx.parameters.restored():
            return _Accumulated._back(ctx, rate_grads)

    @staticmethod
    def _back(ctx, rate_grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        current, *learnable = ctx.saved_tensors
        layers, timesteps = ctx.dynamics.layers, ctx.dynamics.timesteps
        constant, decay, weight = current.dim() == 2, _decay(layers[0]), 0.0
        grads, total = [torch.zeros_like(p) for p in learnable], torch.zeros_like(current)
        arriving: list[Tensor] = []
        outputs = [grad / timesteps for grad in rate_grads]
        stages = _stages(layers, [_Traced(layer) for layer in layers[1:-1]])
        graph = ctx.dynamics.graph.of_leaves()
        leaves = [*learnable[: len(learnable) - len(graph.learned)], *graph.learned]
        dynamics = simulation.Dynamics(stages, graph, timesteps)
        states = dynamics.resting
        for chunk in dynamics.chunks(0, timesteps):
            steps = chunk.stop - chunk.start
            now = current[:, None].expand(-1, steps, -1) if constant else current[:, chunk]
            leaf = now.detach().requires_grad_()
            with torch.enable_grad(), ctx.autocast():
                trains, _, states = dynamics.advance(leaf, states, slice(0, steps), ctx.rule._firing)
            again = bool(graph.learned)  # the way to what edges weigh is that of all chunks
            arrived = [grad[:, None].expand_as(spikes) for grad, spikes in zip(outputs, trains)]
            found = torch.autograd.grad(trains, [leaf, *leaves], arrived, retain_graph=again, allow_unused=True)
            grads = [grad if new is None else grad + new for grad, new in zip(grads, found[1:])]
            for now in (found[0] if found[0] is not None else torch.zeros_like(leaf)).unbind(1):
                if constant:
                    weight = decay * weight + 1
                    total.add_(now, alpha=weight)
                else:
                    arriving.append(now)
        return None, None, None, total if constant else _echo(arriving, decay), *grads


def _echo(arriving: list[Tensor], decay: float) -> Tensor:
    """What reaches the current of each step from its own potential and all later ones, ``[N, T, d]``."""
    later: Tensor | None = None
    out = []
    for now in reversed(arriving):
        later = now if later is None else torch.add(now, later, alpha=decay)
        out.append(later)
    return torch.stack(out[::-1], dim=1)
