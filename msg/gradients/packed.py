"""The simulation on packed spikes: the same spikes as :mod:`msg.gradients.simulation`, compiled and one bit each.

It takes layers whose synapses are linear and constant and whose neurons are the library's own, on a CPU; for all
others :func:`simulate` returns ``None``. Nothing of it is differentiated: rules attach what they need to its results.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msg.calls import autocasts, watched
from msg.gradients.simulation import Dynamics, Firing, Stage
from msg.graph import Graph, PartitionedGraph, SparseMatrix
from msg.kernels import higher, operators, status
from msg.kernels.packed import PackedSpikes
from msg.kernels.tracing import exporting, traced
from msg.layers import SpikingLayer
from msg.neurons import Neuron, Surrogate

Slope = tuple[int, float, float, bool]
_NO_SLOPE: Slope = (-1, 0.0, 0.0, True)


class Packed(NamedTuple):
    """What a simulation leaves, for every layer but the last.

    Attributes:
        rates: mean spikes, ``[N, d]``.
        received: mean of what the layer above received along its edges, where that is known.
        slopes: mean derivative of the spikes in a constant increment of the current; empty if not asked for.
    """

    rates: list[Tensor]
    received: list[Tensor | None]
    slopes: list[Tensor]

    def activity(self, dynamics: Dynamics) -> tuple[list[Tensor], list[Tensor]]:
        """Mean currents of all layers but the encoder, and the rates."""
        steps = dynamics.timesteps
        above = zip(dynamics.targets, dynamics.graphs[1:], self.rates, self.received)
        currents = [layer.current(rate, graph.sending(steps), received) for layer, graph, rate, received in above]
        return currents, self.rates


class _Form(NamedTuple):
    """A hidden layer as the kernel takes it."""

    matrix: SparseMatrix | None
    own: float
    weight: Tensor
    root: Tensor | None
    bias: Tensor | None
    learned: bool  # whether the factor of the node's own spikes is


def simulate(
    dynamics: Dynamics, current: Tensor, surrogate: Surrogate | None = None, detach_reset: bool = True
) -> Packed | None:
    """Run all steps, without gradient; ``None`` if the kernels do not take these layers.

    Args:
        dynamics: layers, graph and steps.
        current: into the encoder's neurons, ``[N, d]`` if constant or ``[N, T, d]``.
        surrogate: whose derivatives are summed, if any.
        detach_reset: whether the derivative of the reset is left out.
    """
    slope = _NO_SLOPE if surrogate is None else _slope(surrogate, detach_reset)
    if slope is None or not _compiled(current):
        return None
    neurons = [_constants(layer) for layer in dynamics.sources]
    if any(neuron is None for neuron in neurons):
        return None
    if surrogate is not None and _learns(dynamics):  # the kernels sum derivatives in the current alone
        return None
    with torch.no_grad():
        forms = _forms(dynamics, current.dtype)
        if any(form is None for form in forms):
            return None
        decay, threshold, subtract = neurons[0]  # pyright: ignore[reportGeneralTypeIssues]
        if not forms and surrogate is None and current.dim() == 2 and decay == 1 and subtract:
            rate, counts = operators.constant_rates(current.detach(), dynamics.timesteps, threshold)
            return Packed([rate], [_last(dynamics, counts, rate)], [])
        first = operators.encode(current.detach(), dynamics.timesteps, *neurons[0], *slope)  # pyright: ignore
        words, rate, counts, derivative, _ = first
        done = Packed([rate], [], [derivative])
        for form, neuron in zip(forms, neurons[1:]):
            channels = done.rates[-1].size(1)
            words = dynamics.graph.spikes(words, channels) if form.matrix is not None else words  # pyright: ignore
            words, rate, counts, derivative, received, _ = _run(form, words, channels, neuron, slope)  # pyright: ignore
            done.rates.append(rate)
            done.received.append(received if form.matrix is not None else None)  # pyright: ignore
            done.slopes.append(derivative)
        done.received.append(_last(dynamics, counts, rate))
    return done


def encode(layer: SpikingLayer, current: Tensor, timesteps: int) -> tuple[Tensor, Tensor] | None:
    """Words and rates of one layer's neurons under a current, ``None`` if the kernels do not take it."""
    neuron = _constants(layer) if _compiled(current) else None
    return None if neuron is None else operators.encode(current.detach(), timesteps, *neuron, *_NO_SLOPE)[:2]


def relay(
    layer: SpikingLayer, below: PackedSpikes, graph: Graph, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Words and rates of a layer above packed spikes, and the mean of what it received along edges."""
    # under autocast a forward has currents of 16 bits, and so other spikes
    if autocasts(below.words) or not _compiled(below.words.new_empty(0, dtype=dtype)):
        return None
    form, neuron = _form(layer, graph, dtype), _constants(layer)
    if form is None or neuron is None:
        return None
    words, rate, _, _, received, _ = _run(form, below.words, below.channels, neuron, _NO_SLOPE)
    return words, rate, None if form.matrix is None else received


def _last(dynamics: Dynamics, counts: Tensor, rate: Tensor) -> Tensor | None:
    """What the last layer received: bytes cross edges in place of floats."""
    form = _form(dynamics.layers[-1], dynamics.graphs[-1], rate.dtype)
    if form is None or form.matrix is None or not counts.numel():
        return None
    return operators.aggregate_counts(
        dynamics.graph.counts(counts, rate.size(1), dynamics.timesteps),
        rate.size(1),
        dynamics.timesteps,
        *_edges(form.matrix),  # pyright: ignore[reportArgumentType]
        rate.dtype,
        form.matrix.left,
    )


def differentiate(dynamics: Dynamics, current: Tensor, firing: Firing) -> Packed | None:
    r"""The same as :func:`simulate`, the rates attached to autograd through all steps.

    Between forward and backward the spikes are kept packed, and the potentials of every :math:`\sqrt T`-th step. The
    backward pass takes these blocks of steps from the last to the first, and computes each layer's currents again
    from the spikes of the layer below.

    Args:
        dynamics: layers, graph and steps.
        current: into the encoder's neurons, attached to autograd.
        firing: surrogate, and whether the reset is differentiated.
    """
    whole = None if torch.compiler.is_compiling() else through(dynamics, current, firing)
    if whole is None:
        return None
    rates, received = [], []
    for number, tensor in enumerate(_Through.apply(whole, current, *whole.weights)):  # pyright: ignore
        (rates if number < len(whole.neurons) else received).append(tensor)
    *received, counts = received
    known = [r if form.matrix is not None else None for r, form in zip(received, whole.forms)]
    return Packed(rates, [*known, _last(dynamics, counts, rates[-1])], [])


def through(dynamics: Dynamics, current: Tensor, firing: Firing) -> "Through | None":
    """Layers as the kernels take them, to run and to differentiate some steps at a time; ``None`` if they do not."""
    slope = _slope(firing.fire, firing.detach_reset) if isinstance(firing.fire, Surrogate) else None
    # the way back through steps reads the whole graph
    if slope is None or isinstance(dynamics.graph, PartitionedGraph) or not _compiled(current):
        return None
    neurons = [_constants(layer) for layer in dynamics.sources]
    if None in neurons or _learns(dynamics):
        return None
    forms = _forms(dynamics, current.dtype)
    if any(form is None or form.learned for form in forms):
        return None
    return Through(forms, neurons, slope, dynamics, firing)  # pyright: ignore[reportArgumentType]


class Steps(NamedTuple):
    """What some steps leave, layer by layer.

    Attributes:
        trains: packed spikes.
        rates: mean spikes.
        states: potentials, ``[ceil(steps / every), N, d]``.
        received: mean of what hidden layers received along edges.
        counts: spikes of the last of them, in bytes.
    """

    trains: list[Tensor]
    rates: list[Tensor]
    states: list[Tensor]
    received: list[Tensor]
    counts: Tensor


class Through(NamedTuple):
    """All that a simulation needs but tensors with gradients."""

    forms: list[_Form]
    neurons: list[tuple[float, float, bool]]
    slope: Slope
    dynamics: Dynamics
    firing: Firing

    @property
    def weights(self) -> list[Tensor | None]:
        """Of the hidden layers: weights, those of a node's own spikes, bias."""
        return [t for form in self.forms for t in (form.weight, form.root, form.bias)]

    def run(self, current: Tensor, steps: int, every: int = 0, begin: Sequence[Tensor] | None = None) -> Steps:
        """Run some steps.

        Args:
            current: into the encoder's neurons, ``[N, d]`` or ``[N, steps, d]``.
            steps: how many.
            every: after how many steps potentials are kept; 0 is never.
            begin: potentials before; zero if not given.
        """
        started = [None] * len(self.neurons) if begin is None else begin
        words, rate, counts, _, state = operators.encode(
            current.detach(), steps, *self.neurons[0], *_NO_SLOPE, started[0], every
        )
        done = Steps([words], [rate], [state], [], counts)
        for form, neuron, before in zip(self.forms, self.neurons[1:], started[1:]):
            words, rate, counts, _, mean, state = _run(form, words, rate.size(1), neuron, _NO_SLOPE, before, every)
            for kept, new in zip((done.trains, done.rates, done.states, done.received), (words, rate, state, mean)):
                kept.append(new)
        return done._replace(counts=counts)

    def back(
        self,
        current: Tensor,
        trains: Sequence[Tensor],
        begin: Sequence[Tensor | None],
        later: Sequence[Tensor | None],
        arriving: Sequence[Tensor | None],
        steps: int,
    ) -> tuple[Tensor, list[Tensor | None], list[Tensor]]:
        """Go back through some steps.

        Args:
            current: as in :meth:`run`.
            trains: packed spikes of all neurons but the last layer's, in these steps.
            begin: potentials before; ``None`` is zero.
            later: gradients of the potentials after; ``None`` is zero.
            arriving: gradients of each step's spikes, the same for all steps, ``[N, d]``; ``None`` is zero.
            steps: how many.

        Returns:
            Gradients of the current, of the :attr:`weights` and of the potentials before.
        """
        width = self.forms[-1].weight.size(0) if self.forms else current.size(-1)
        shape = self.dynamics.graphs[-2].num_targets, width
        spikes, found, before = current.new_zeros(steps, *shape), [], []
        for index in range(len(self.forms), 0, -1):
            form, rate = self.forms[index - 1], arriving[index]
            rate = spikes.new_zeros(spikes.shape[1:]) if rate is None else rate
            weights = [None if t is None else t.detach() for t in (form.weight, form.root, form.bias)]
            given = (trains[index - 1], form.weight.size(1), *_edges(form.matrix), form.own, *weights, spikes, rate)
            spikes, mine, *gradients, state = operators.layer_back(
                *given, *self.neurons[index], *self.slope, begin[index], later[index], _left(form.matrix)
            )
            found[:0] = [g if t is not None else None for g, t in zip(gradients, weights)]
            before.insert(0, state)
            if form.matrix is None:
                spikes = mine
            else:
                sent, rows = spikes, spikes.size(1)
                if form.matrix.shape[1] != rows:
                    spikes = sent.new_empty(steps, form.matrix.shape[1], sent.size(2))
                for step, back in zip(spikes, sent):  # in place where it can be: one step's copy at a time
                    step.copy_(form.matrix.back(back))
                if mine.numel():
                    spikes[:, :rows] += mine
        rate = spikes.new_zeros(spikes.shape[1:]) if arriving[0] is None else arriving[0]
        to_current, state = operators.encode_back(
            current, spikes, rate, *self.neurons[0], *self.slope, begin[0], later[0]
        )
        return to_current, found, [state, *before]


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, whole: Through, current: Tensor, *weights: Tensor | None) -> tuple[Tensor, ...]:
        steps = whole.dynamics.timesteps
        ctx.whole, ctx.every = whole, math.ceil(math.sqrt(steps))
        done = whole.run(current, steps, ctx.every)
        ctx.save_for_backward(current, *weights, *done.trains[:-1], *done.states)
        ctx.mark_non_differentiable(*done.received, done.counts)
        ctx.set_materialize_grads(False)
        return *done.rates, *done.received, done.counts

    @staticmethod
    def backward(ctx, *grads: Tensor | None):
        whole: Through = ctx.whole
        layers, steps, every = len(whole.neurons), whole.dynamics.timesteps, ctx.every
        current, *rest = ctx.saved_tensors
        weights, rest = rest[: 3 * layers - 3], rest[3 * layers - 3 :]
        trains, states = rest[: layers - 1], rest[layers - 1 :]
        if torch.is_grad_enabled():
            eager = partial(_eager, whole.dynamics, whole.firing, whole)
            return None, *higher.derivatives(eager, [current, *weights], grads[:layers])
        arriving = [None if grad is None else grad / steps for grad in grads[:layers]]
        total, found, later = torch.zeros_like(current), [None] * len(weights), [None] * layers
        for block in range(math.ceil(steps / every) - 1, -1, -1):
            now = slice(block * every, min((block + 1) * every, steps))
            begin = [state[block - 1] if block else None for state in states]
            part, place = (current, total) if current.dim() == 2 else (current[:, now], total[:, now])
            to_current, to_weights, later = whole.back(
                part, [words[:, now] for words in trains], begin, later, arriving, now.stop - now.start
            )
            place.add_(to_current)
            found = [a if b is None else b if a is None else a.add_(b) for a, b in zip(found, to_weights)]
        return None, total, *found


def _eager(dynamics: Dynamics, firing: Firing, whole: Through, current: Tensor, *weights: Tensor) -> list[Tensor]:
    """The same rates by differentiable operations on the tensors that are given."""
    stages: list[SpikingLayer | Stage] = [dynamics.layers[0]]
    for index, form in enumerate(whole.forms):
        weight, root, bias = weights[3 * index : 3 * index + 3]

        def synapse(spikes: Tensor, _, form=form, weight=weight, root=root, bias=bias) -> Tensor:
            along = None if form.matrix is None else form.matrix.matmul(spikes)
            mine = spikes if along is None else spikes[: along.size(0)]
            out = F.linear(form.own * mine if along is None else along + form.own * mine, weight, bias)
            return out if root is None else out + F.linear(mine, root)

        stages.append(Stage.of(dynamics.layers[index + 1], current=synapse))  # pyright: ignore[reportArgumentType]
    return Dynamics([*stages, dynamics.layers[-1]], dynamics.graph, dynamics.timesteps).totals(current, firing).rates


def _edges(matrix: SparseMatrix | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    return (None, None, None) if matrix is None else (matrix.pointers, matrix.columns, matrix.weight)


def _left(matrix: SparseMatrix | None) -> Tensor | None:
    return None if matrix is None else matrix.left


def _run(
    form: _Form,
    words: Tensor,
    channels: int,
    neuron: tuple[float, float, bool],
    slope: Slope,
    begin: Tensor | None = None,
    every: int = 0,
):
    parts = (form.weight.detach(), *(None if t is None else t.detach() for t in (form.root, form.bias)))
    edges, left = _edges(form.matrix), _left(form.matrix)
    return operators.layer(words, channels, *edges, form.own, *parts, *neuron, *slope, begin, every, left)


def _compiled(current: Tensor) -> bool:
    """Whether the kernels take a tensor: elsewhere torch's own operations are faster than those of their twins."""
    if exporting():
        return False
    # compilers see through the kernels, which are operators of torch's; torch.func does not
    plain = torch.compiler.is_compiling() or not traced()
    known = current.device.type == "cpu" and current.dtype in (torch.float32, torch.float64)
    return plain and known and _by_numba()


@torch.compiler.assume_constant_result
def _by_numba() -> bool:
    return status().backend == "numba"


def _slope(surrogate: Surrogate, detach_reset: bool) -> Slope | None:
    constants = surrogate.constants()
    return None if constants is None else (*constants, detach_reset)


def _constants(layer: object) -> tuple[float, float, bool] | None:
    neuron = layer.neuron if isinstance(layer, SpikingLayer) else None
    return neuron.constants() if isinstance(neuron, Neuron) else None


def _learns(dynamics: Dynamics) -> bool:
    """Whether a neuron has parameters that learn."""
    neurons = [layer.neuron for layer in dynamics.sources]
    return any(p.requires_grad for neuron in neurons if isinstance(neuron, Neuron) for p in neuron.parameters())


def _forms(dynamics: Dynamics, dtype: torch.dtype) -> list[_Form | None]:
    """Hidden layers, each on its graph; ``None`` for one, or a last layer, that has to see the spikes of each step."""
    if not dynamics.targets[-1].linear:
        return [None]
    return [_form(layer, graph, dtype) for layer, graph in zip(dynamics.layers[1:-1], dynamics.graphs[1:-1])]


def _form(layer: object, graph: Graph, dtype: torch.dtype) -> _Form | None:
    if not isinstance(layer, SpikingLayer) or (layer.training and isinstance(layer.dropout, nn.Dropout)):
        return None
    if watched(layer.synapse):
        return None
    parts = layer.synapse.taken_apart(graph, dtype)
    if parts is None:
        return None
    (first, *others), bias = parts
    constant = first.matrix is None or isinstance(first.matrix, SparseMatrix)
    plain = len(others) <= 1 and all(term.matrix is None and term.own == 1.0 for term in others)
    if not constant or not plain or first.weight.dtype != dtype:
        return None
    learned = isinstance(first.own, Tensor) and first.own.requires_grad
    own = float(first.own.detach()) if isinstance(first.own, Tensor) else first.own
    return _Form(first.matrix, own, first.weight, others[0].weight if others else None, bias, learned)  # pyright: ignore
