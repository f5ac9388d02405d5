"""The simulation on packed spikes: the same spikes as :mod:`msg.gradients.simulation`, compiled and one bit each.

It takes layers whose synapses are linear and constant and whose neurons are the library's own, on a CPU; for all
others :func:`simulate` returns ``None``. Nothing of it is differentiated: rules attach what they need to its results.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]

from msg.gradients.simulation import Dynamics, Firing, Stage
from msg.graph import SparseMatrix
from msg.kernels import operators, status, twice
from msg.layers import SpikingLayer
from msg.neurons import ATan, Neuron, Sigmoid, Surrogate, Triangle

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
        above = zip(dynamics.targets, self.rates, self.received)
        return [layer.current(rate, dynamics.graph, received) for layer, rate, received in above], self.rates


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
        forms = [_form(layer, dynamics, current.dtype) for layer in dynamics.layers[1:-1]]
        if any(form is None for form in forms):
            return None
        words, rate, counts, derivative = operators.encode(current.detach(), dynamics.timesteps, *neurons[0], *slope)  # pyright: ignore[reportOptionalIterable]
        done = Packed([rate], [], [derivative])
        for form, neuron in zip(forms, neurons[1:]):
            words, rate, counts, derivative, received = _run(form, words, done.rates[-1].size(1), neuron, slope)  # pyright: ignore
            done.rates.append(rate)
            done.received.append(received if form.matrix is not None else None)  # pyright: ignore
            done.slopes.append(derivative)
        done.received.append(_last(dynamics, counts, rate))
    return done


def _last(dynamics: Dynamics, counts: Tensor, rate: Tensor) -> Tensor | None:
    """What the last layer received: bytes cross edges in place of floats."""
    form = _form(dynamics.layers[-1], dynamics, rate.dtype)
    if form is None or form.matrix is None or not counts.numel():
        return None
    return operators.aggregate_counts(
        counts,
        rate.size(1),
        dynamics.timesteps,
        *_edges(form.matrix),
        rate.dtype,  # pyright: ignore[reportArgumentType]
    )


def differentiate(dynamics: Dynamics, current: Tensor, firing: Firing) -> Packed | None:
    """The same as :func:`simulate`, the rates attached to autograd through all steps.

    Between forward and backward the spikes are kept packed, and nothing else of the simulation is: the backward pass
    computes each layer's currents again from the spikes of the layer below.

    Args:
        dynamics: layers, graph and steps.
        current: into the encoder's neurons, attached to autograd.
        firing: surrogate, and whether the reset is differentiated.
    """
    slope = _slope(firing.fire, firing.detach_reset) if isinstance(firing.fire, Surrogate) else None
    if slope is None or not _compiled(current) or torch.compiler.is_compiling():
        return None
    neurons = [_constants(layer) for layer in dynamics.sources]
    if None in neurons or _learns(dynamics):
        return None
    forms = [_form(layer, dynamics, current.dtype) for layer in dynamics.layers[1:-1]]
    if any(form is None or form.learned for form in forms):
        return None
    whole = _Whole(forms, neurons, slope, dynamics, firing)  # pyright: ignore[reportArgumentType]
    weights = [t for form in whole.forms for t in (form.weight, form.root, form.bias)]
    rates, received = [], []
    for number, tensor in enumerate(_Through.apply(whole, current, *weights)):  # pyright: ignore[reportArgumentType]
        (rates if number < len(neurons) else received).append(tensor)
    *received, counts = received
    known = [r if form.matrix is not None else None for r, form in zip(received, whole.forms)]
    return Packed(rates, [*known, _last(dynamics, counts, rates[-1])], [])


class _Whole(NamedTuple):
    """All that a simulation needs but tensors with gradients."""

    forms: list[_Form]
    neurons: list[tuple[float, float, bool]]
    slope: Slope
    dynamics: Dynamics
    firing: Firing


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, whole: _Whole, current: Tensor, *weights: Tensor | None) -> tuple[Tensor, ...]:
        words, rate, counts, _ = operators.encode(current, whole.dynamics.timesteps, *whole.neurons[0], *_NO_SLOPE)
        trains, rates, received = [words], [rate], []
        for form, neuron in zip(whole.forms, whole.neurons[1:]):
            words, rate, counts, _, mean = _run(form, words, rate.size(1), neuron, _NO_SLOPE)
            trains.append(words)
            rates.append(rate)
            received.append(mean)
        ctx.whole = whole
        ctx.save_for_backward(current, *weights, *trains[:-1])
        ctx.mark_non_differentiable(*received, counts)
        ctx.set_materialize_grads(False)
        return *rates, *received, counts

    @staticmethod
    def backward(ctx, *grads: Tensor | None):
        whole: _Whole = ctx.whole
        count, steps = 3 * len(whole.forms), whole.dynamics.timesteps
        current, *rest = ctx.saved_tensors
        weights, trains = rest[:count], rest[count:]
        if torch.is_grad_enabled():
            eager = partial(_eager, whole.dynamics, whole.firing, whole)
            return None, *twice.derivatives(eager, [current, *weights], grads[: len(whole.neurons)])
        shape = current.size(0), whole.forms[-1].weight.size(0) if whole.forms else current.size(-1)
        spikes, found = current.new_zeros(steps, *shape), []
        for index in range(len(whole.forms), 0, -1):
            form, neuron = whole.forms[index - 1], whole.neurons[index]
            arriving = grads[index]
            rate = spikes.new_zeros(spikes.shape[1:]) if arriving is None else arriving / steps
            parts = (*_edges(form.matrix), form.own, *weights[3 * index - 3 : 3 * index])
            width = form.weight.size(1)
            back = operators.layer_back(trains[index - 1], width, *parts, spikes, rate, *neuron, *whole.slope)
            spikes, mine, to_weight, to_root, to_bias = back
            found[:0] = [
                to_weight,
                to_root if form.root is not None else None,
                to_bias if form.bias is not None else None,
            ]
            if form.matrix is None:
                spikes = mine
            else:
                for step in spikes:  # in place: one step's copy at a time
                    step.copy_(torch.mm(form.matrix.transposed, step))
                if mine.numel():
                    spikes += mine
        rate = spikes.new_zeros(spikes.shape[1:]) if grads[0] is None else grads[0] / steps
        to_current = operators.encode_back(current, spikes, rate, *whole.neurons[0], *whole.slope)
        return None, to_current, *found


def _eager(dynamics: Dynamics, firing: Firing, whole: "_Whole", current: Tensor, *weights: Tensor) -> list[Tensor]:
    """The same rates by differentiable operations on the tensors that are given."""
    stages: list[SpikingLayer | Stage] = [dynamics.layers[0]]
    for index, form in enumerate(whole.forms):
        weight, root, bias = weights[3 * index : 3 * index + 3]

        def synapse(spikes: Tensor, _, form=form, weight=weight, root=root, bias=bias) -> Tensor:
            received = form.own * spikes if form.matrix is None else form.matrix.matmul(spikes) + form.own * spikes
            out = F.linear(received, weight, bias)
            return out if root is None else out + F.linear(spikes, root)

        stages.append(Stage.of(dynamics.layers[index + 1], current=synapse))  # pyright: ignore[reportArgumentType]
    return Dynamics([*stages, dynamics.layers[-1]], dynamics.graph, dynamics.timesteps).totals(current, firing).rates


def _edges(matrix: SparseMatrix | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    return (None, None, None) if matrix is None else (matrix.pointers, matrix.columns, matrix.values)


def _run(form: _Form, words: Tensor, channels: int, neuron: tuple[float, float, bool], slope: Slope):
    parts = (form.weight.detach(), *(None if t is None else t.detach() for t in (form.root, form.bias)))
    return operators.layer(words, channels, *_edges(form.matrix), form.own, *parts, *neuron, *slope)


def _compiled(current: Tensor) -> bool:
    """Whether the kernels take a tensor: elsewhere torch's own operations are faster than those of their twins."""
    # while it compiles, tensors stand for those of later calls, and none of them is functorch's
    plain = torch.compiler.is_compiling() or not is_functorch_wrapped_tensor(current)
    known = current.device.type == "cpu" and current.dtype in (torch.float32, torch.float64)
    return plain and known and _by_numba()


@torch.compiler.assume_constant_result
def _by_numba() -> bool:
    return status().backend == "numba"


def _slope(surrogate: Surrogate, detach_reset: bool) -> Slope | None:
    if type(surrogate) is ATan:
        return 0, math.pi / 2 * surrogate.alpha, surrogate.alpha / 2, detach_reset
    if type(surrogate) is Sigmoid:
        return 1, surrogate.alpha, surrogate.alpha, detach_reset
    return (2, 1.0, surrogate.gamma, detach_reset) if type(surrogate) is Triangle else None


def _constants(layer: object) -> tuple[float, float, bool] | None:
    neuron = layer.neuron if isinstance(layer, SpikingLayer) else None
    watched = neuron is not None and _watched(neuron)
    return neuron.constants() if isinstance(neuron, Neuron) and not watched else None


def _learns(dynamics: Dynamics) -> bool:
    """Whether a neuron has parameters that learn."""
    neurons = [layer.neuron for layer in dynamics.sources]
    return any(p.requires_grad for neuron in neurons if isinstance(neuron, Neuron) for p in neuron.parameters())


def _watched(module: nn.Module) -> bool:
    """Whether someone waits for a module to be called."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _form(layer: object, dynamics: Dynamics, dtype: torch.dtype) -> _Form | None:
    if not isinstance(layer, SpikingLayer) or (layer.training and isinstance(layer.dropout, nn.Dropout)):
        return None
    if _watched(layer.synapse) or _watched(layer.synapse.conv):
        return None
    parts = layer.synapse.taken_apart(dynamics.graph, dtype)
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
