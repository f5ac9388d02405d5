"""The simulation on packed spikes: the same spikes as :mod:`msg.gradients.simulation`, compiled and one bit each.

It takes layers whose synapses are linear and constant and whose neurons are the library's own, on a CPU; for all
others :func:`simulate` returns ``None``. Nothing of it is differentiated: rules attach what they need to its results.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]

from msg.gradients.simulation import Dynamics
from msg.graph import SparseMatrix
from msg.kernels import operators, status
from msg.layers import SpikingLayer
from msg.neurons import ATan, Neuron, Sigmoid, Surrogate, Triangle

Slope = tuple[int, float, float, bool]
_NO_SLOPE: Slope = (-1, 0.0, 0.0, True)


class Packed(NamedTuple):
    """What a simulation leaves, for every layer but the last.

    Attributes:
        rates: mean spikes, ``[N, d]``.
        received: mean of what the layer above received along its edges; ``None`` where it has none, or is the last.
        slopes: mean derivative of the spikes in a constant increment of the current; empty if not asked for.
    """

    rates: list[Tensor]
    received: list[Tensor | None]
    slopes: list[Tensor]


class _Form(NamedTuple):
    """A hidden layer as the kernel takes it."""

    matrix: SparseMatrix | None
    own: float
    weight: Tensor
    root: Tensor | None
    bias: Tensor | None


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
    neurons = [_constants(layer) for layer in dynamics.sources]
    if slope is None or not _compiled(current) or any(neuron is None for neuron in neurons):
        return None
    with torch.no_grad():
        forms = [_form(layer, dynamics, current.dtype) for layer in dynamics.layers[1:-1]]
        if any(form is None for form in forms):
            return None
        words, rate, derivative = operators.encode(current.detach(), dynamics.timesteps, *neurons[0], *slope)  # pyright: ignore[reportOptionalIterable]
        done = Packed([rate], [], [derivative])
        for form, neuron in zip(forms, neurons[1:]):
            words, rate, derivative, received = _run(form, words, done.rates[-1].size(1), neuron, slope)  # pyright: ignore
            done.rates.append(rate)
            done.received.append(received if form.matrix is not None else None)  # pyright: ignore
            done.slopes.append(derivative)
    done.received.append(None)
    return done


def _run(form: _Form, words: Tensor, channels: int, neuron: tuple[float, float, bool], slope: Slope):
    matrix = form.matrix
    edges = (None, None, None) if matrix is None else (matrix.pointers, matrix.columns, matrix.values)
    parts = (form.weight.detach(), *(None if t is None else t.detach() for t in (form.root, form.bias)))
    return operators.layer(words, channels, *edges, form.own, *parts, *neuron, *slope)


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
    own = float(first.own.detach()) if isinstance(first.own, Tensor) else first.own
    return _Form(first.matrix, own, first.weight, others[0].weight if others else None, bias)  # pyright: ignore
