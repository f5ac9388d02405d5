"""The one forward that every layer-major rule shares.

Time passes in chunks: each chunk goes through all layers before the next begins, so without a graph the memory needed
does not grow with the number of steps. A linear synapse needs only the *rate* of its input for its mean current, so
nothing of the train is kept for it.
"""

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from msg.neurons.neuron import Fire, Neuron

if TYPE_CHECKING:
    from msg.nn.layer import SpikingLayer
    from msg.nn.sparse import Graph, SparseMatrix


# Elements of one layer's spikes in a chunk. 1 MB of float32 stays in a core's cache, and no longer chunk was faster on
# Amazon Photo; on small graphs a chunk is all steps at once. The memory of a simulation does not grow with its length.
_CHUNK_ELEMENTS = 250_000


class Firing(NamedTuple):
    """How spikes are fired, and what of it is differentiated.

    Attributes:
        fire: step function, with its surrogate derivative if any.
        detach_reset: cut the gradient through the reset.
        through_spikes: keep the graph of the simulation; without it only drives carry gradient.
    """

    fire: Fire
    detach_reset: bool
    through_spikes: bool


def _chunks(timesteps: int, elements: int) -> Iterator[slice]:
    size = max(1, min(timesteps, _CHUNK_ELEMENTS // max(1, elements)))
    size = math.ceil(timesteps / math.ceil(timesteps / size))
    for start in range(0, timesteps, size):
        yield slice(start, min(start + size, timesteps))


def _spike_train(neuron: Neuron, current: Tensor, state, steps: int, firing: Firing):
    """Run one layer's neurons over a chunk.

    Args:
        neuron: any neuron of the explicit-state contract.
        current: ``[N, d]`` if constant, else ``[N, steps, d]``.
        state: of the neuron, after the previous chunk.
        steps: length of the chunk.
        firing: what to differentiate.

    Returns:
        The spikes of each step, ``[N, d]``, and the new state.
    """
    train = []
    for t in range(steps):
        now = current if current.dim() == 2 else current[:, t]
        spikes, state = neuron(now, state, firing.fire, firing.detach_reset)
        train.append(spikes)
    return train, state


def mean_inputs(
    layers: Sequence["SpikingLayer"], current: Tensor, graph: "Graph", timesteps: int, firing: Firing
) -> tuple[list[Tensor], list[Tensor]]:
    """Simulate all layers and return what their mean currents are made of.

    Args:
        layers: encoder first; the last layer's own spikes are never needed and not simulated.
        current: the encoder's, ``[N, d]`` if constant or ``[N, T, d]``.
        graph: the graph.
        timesteps: ``T``.
        firing: what to differentiate.

    Returns:
        The drives of ``layers[1:]`` and the rates of ``layers[:-1]``.
    """
    sources, targets = layers[:-1], layers[1:]
    neurons = [layer.neuron for layer in sources if layer.neuron is not None]
    constant = current.dim() == 2
    if constant and not firing.through_spikes and len(sources) == 1 and targets[0].linear:
        rates = [neurons[0].rate(current.detach(), timesteps)]
        return [targets[0].current(rates[0], graph)], rates

    states: list = [None] * len(sources)
    counts: list = [0.0] * len(sources)
    charges: list = [0.0] * len(sources)
    # the widest layer sets the chunk, the same for every rule: their sums then round alike
    widest = current.size(0) * max(layer.out_channels for layer in sources)
    for chunk in _chunks(timesteps, widest):
        steps = chunk.stop - chunk.start
        inputs = current if constant else current[:, chunk]
        for i, (neuron, target) in enumerate(zip(neurons, targets)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and firing.through_spikes):
                train, states[i] = _spike_train(neuron, inputs, states[i], steps, firing)
                counts[i] = counts[i] + reduce(torch.add, train)
                if target.linear and target is not targets[-1]:
                    inputs = target.current(torch.stack(train, dim=1), graph)
            if not target.linear:
                # its mean current is not the current of the mean, so each step keeps its own graph
                inputs = target.current(torch.stack(train, dim=1), graph)
                charges[i] = charges[i] + inputs.sum(1)
                inputs = inputs if firing.through_spikes else inputs.detach()
    rates = [count / timesteps for count in counts]
    drives = [
        target.current(rate, graph) if target.linear else charge / timesteps
        for target, rate, charge in zip(targets, rates, charges)
    ]
    return drives, rates


def run(
    layers: Sequence["SpikingLayer"],
    x: "Tensor | SparseMatrix",
    graph: "Graph",
    timesteps: int,
    firing: Firing,
) -> tuple[list[Tensor], list[Tensor]]:
    """Drives of all layers and rates of all but the last; see :class:`msg.gradients.Activity`."""
    if isinstance(x, Tensor) and x.dim() == 3:
        if x.size(0) != timesteps:
            raise ValueError(f"x has {x.size(0)} time steps, but timesteps={timesteps}: make them equal")
        x = x.transpose(0, 1)
    current = layers[0].current(x, graph)
    first = current if current.dim() == 2 else current.mean(1)
    if len(layers) == 1:
        return [first], []
    drives, rates = mean_inputs(layers, current, graph, timesteps, firing)
    return [first, *drives], rates
