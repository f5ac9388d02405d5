"""The one forward that every rule shares.

Time passes in chunks: each chunk goes through all layers before the next begins, so without a graph the memory needed
does not grow with the number of steps. A linear synapse needs only the *rate* of its input for its mean current, so
nothing of the train is kept for it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from msg.graph import Graph, SparseMatrix
from msg.graph.sparse import wide
from msg.kernels.tracing import exporting
from msg.layers import SpikingLayer
from msg.neurons import Fire, Neuron, heaviside

# Elements of one layer's spikes in a chunk. 1 MB of float32 stays in a core's cache, and no longer chunk was faster on
# Amazon Photo; on small graphs a chunk is all steps at once. The memory of a simulation does not grow with its length.
_CHUNK_ELEMENTS = 250_000
# Elsewhere what a chunk saves is operations, each of which costs the host more than a small graph costs the device;
# 32 MB of float32.
_CHUNK_ELEMENTS_ELSEWHERE = 8_000_000


class Firing(NamedTuple):
    """How spikes are fired, and what of it is differentiated.

    Attributes:
        fire: step function, with its surrogate derivative if any.
        detach_reset: cut the gradient through the reset.
        through_spikes: keep the graph of the simulation; without it only mean currents carry gradient.
    """

    fire: Fire
    detach_reset: bool
    through_spikes: bool


SILENT = Firing(heaviside, detach_reset=True, through_spikes=False)
"""Spikes without any derivative."""


@dataclass(frozen=True)
class Stage:
    """A layer as the simulation sees it, for rules that watch or alter one of its parts.

    Attributes:
        neuron: ``(current, state, fire, detach_reset) -> (spikes, state)``; the state is whatever it likes.
        linear: whether the mean current is the current of the mean spikes.
        hops: how far it looks along edges.
        out_channels: width of the current.
        current: from spikes ``[N, T, d]`` and graph to current.
    """

    neuron: Callable[..., tuple[Tensor, Any]] | None
    linear: bool
    hops: int
    out_channels: int
    current: Callable[..., Tensor]

    @classmethod
    def of(cls, layer: SpikingLayer, **changes: Any) -> "Stage":
        """A layer with some parts replaced."""
        names = ("neuron", "linear", "hops", "out_channels", "current")
        return cls(**{**{name: getattr(layer, name) for name in names}, **changes})


class Sweep(NamedTuple):
    """What one chunk of time did to every layer but the last.

    Attributes:
        trains: spikes ``[N, steps, d]``, layer by layer.
        currents: current ``[N, steps, d]`` into the layer above where its synapse is not linear, else ``None``.
        states: of the neurons, after the chunk.
    """

    trains: list[Tensor]
    currents: list[Tensor | None]
    states: list[Any]


class Totals(NamedTuple):
    """What a whole simulation leaves, for every layer but the last.

    Attributes:
        rates: mean spikes, ``[N, d]``.
        currents: mean current into the layer above where its synapse is not linear, else ``None``.
        states: of the neurons, at the end.
    """

    rates: list[Tensor]
    currents: list[Tensor | None]
    states: list[Any]


class Dynamics:
    """Layers on a graph: what does not change in time, nor with the input.

    Args:
        layers: encoder first; the last layer's own spikes are never needed and not simulated.
        graph: the graph.
        timesteps: ``T``.

    Attributes:
        graphs: the graph as each layer reads it.
    """

    def __init__(self, layers: Sequence[SpikingLayer | Stage], graph: Graph, timesteps: int):
        self.layers, self.graph, self.timesteps = layers, graph, timesteps
        self.graphs = graph.along([layer.hops for layer in layers])
        self.sources, self.targets = layers[:-1], layers[1:]
        # the widest layer sets the chunk, the same for every rule: their sums then round alike
        self.widest = (
            0
            if exporting()
            else max(part.most_nodes * layer.out_channels for part, layer in zip(self.graphs, self.sources))
        )

    @property
    def resting(self) -> list[Any]:
        """States before the first step."""
        return [None] * len(self.sources)

    def chunks(self, start: int, stop: int) -> Iterator[slice]:
        """The steps from ``start`` to ``stop`` in chunks of bounded memory."""
        if exporting():  # to graphs of any size
            yield slice(start, stop)
            return
        on_cpu = self.graph.edge_index.device.type == "cpu"
        for chunk in _chunks(stop - start, self.widest, _limit(on_cpu)):
            yield slice(start + chunk.start, start + chunk.stop)

    def advance(self, current: Tensor, states: Sequence[Any], chunk: slice, firing: Firing) -> Sweep:
        """Run one chunk of steps through all layers.

        Args:
            current: into the encoder's neurons, ``[N, d]`` if constant or ``[N, T, d]``.
            states: of the neurons, before the chunk.
            chunk: the steps.
            firing: what to differentiate.
        """
        inputs = current if current.dim() == 2 else current[:, chunk]
        sweep = Sweep([], [], [])
        for source, target, graph, state in zip(self.sources, self.targets, self.graphs[1:], states):
            seen = None
            with torch.set_grad_enabled(torch.is_grad_enabled() and firing.through_spikes):
                train, state = spike_train(source.neuron, inputs, state, chunk.stop - chunk.start, firing)
                if target.linear and target is not self.targets[-1]:
                    inputs = target.current(train, graph.sending(1))
            if not target.linear:
                # its mean current is not the current of the mean, so each step keeps its own graph
                seen = target.current(train, graph)
                inputs = seen if firing.through_spikes else seen.detach()
            sweep.trains.append(train)
            sweep.currents.append(seen)
            sweep.states.append(state)
        return sweep

    def totals(self, current: Tensor, firing: Firing) -> Totals:
        """Simulate all steps and keep the means.

        Args:
            current: as in :meth:`advance`.
            firing: what to differentiate.
        """
        neuron, target = self.sources[0].neuron, self.targets[0]
        one = len(self.sources) == 1 and target.linear and current.dim() == 2
        if one and isinstance(neuron, Neuron) and not firing.through_spikes:
            return Totals([neuron.rate(current.detach(), self.timesteps)], [None], [None])

        counts: list[Any] = [0.0] * len(self.sources)
        sums: list[Any] = [None if layer.linear else 0.0 for layer in self.targets]
        states = self.resting
        for chunk in self.chunks(0, self.timesteps):
            trains, currents, states = self.advance(current, states, chunk, firing)
            with torch.set_grad_enabled(torch.is_grad_enabled() and firing.through_spikes):
                counts = [count + summed(train) for count, train in zip(counts, trains)]
            sums = [total if seen is None else total + summed(seen) for total, seen in zip(sums, currents)]
        steps = self.timesteps
        rates = [(count / steps).to(current.dtype) for count in counts]
        return Totals(rates, [None if c is None else (c / steps).to(current.dtype) for c in sums], states)

    def mean_currents(self, rates: Sequence[Tensor], seen: Sequence[Tensor | None] | None = None) -> list[Tensor]:
        """Mean currents into all layers but the encoder: from the rates of the layer below or, where a synapse is not
        linear, as ``seen`` in the simulation.
        """
        seen = [None] * len(rates) if seen is None else seen
        return [
            layer.current(rate, graph.sending(self.timesteps)) if mean is None else mean
            for layer, graph, rate, mean in zip(self.targets, self.graphs[1:], rates, seen)
        ]


def chunks_of(nodes: Tensor, timesteps: int, channels: int) -> Iterator[slice]:
    """All steps of one layer in chunks of bounded memory; ``nodes`` is any tensor ``[N, ...]`` where they run."""
    return _chunks(timesteps, len(nodes) * channels, _limit(nodes.device.type == "cpu"))


def _limit(on_cpu: bool) -> int:
    return _CHUNK_ELEMENTS if on_cpu else _CHUNK_ELEMENTS_ELSEWHERE


def _chunks(timesteps: int, elements: int, limit: int) -> Iterator[slice]:
    size = max(1, min(timesteps, limit // max(1, elements)))
    size = math.ceil(timesteps / math.ceil(timesteps / size))
    for start in range(0, timesteps, size):
        yield slice(start, min(start + size, timesteps))


def spike_train(neuron: Any, current: Tensor, state: Any, steps: int, firing: Firing) -> tuple[Tensor, Any]:
    """Run one layer's neurons over a chunk.

    Args:
        neuron: any neuron of the explicit-state contract.
        current: ``[N, d]`` if constant, else ``[N, steps, d]``.
        state: of the neuron, after the previous chunk.
        steps: length of the chunk.
        firing: what to differentiate.

    Returns:
        The spikes, ``[N, steps, d]``, and the new state.
    """
    train = []
    # taken apart at once: in a backward pass each step taken out by itself fills a tensor as long as the chunk
    for now in [current] * steps if current.dim() == 2 else current.unbind(1):
        spikes, state = neuron(now, state, firing.fire, firing.detach_reset)
        train.append(spikes)
    return torch.stack(train, dim=1) if steps > 1 else train[0].unsqueeze(1), state


def summed(steps: Tensor) -> Tensor:
    """Sum over time of spikes or currents ``[N, steps, d]``; of half precision, which counts no further than 256 or
    2048, in float32.
    """
    dtype = wide(steps.dtype)
    return steps.sum(1, dtype=dtype) if steps.size(1) > 1 else steps.squeeze(1).to(dtype)


def train(x: Tensor | SparseMatrix, timesteps: int) -> Tensor | None:
    """An input that varies in time, as ``[N, T, F]``; ``None`` for a constant one.

    Raises:
        ValueError: if it has another number of time steps.
    """
    if not isinstance(x, Tensor) or x.dim() != 3:
        return None
    if x.size(0) != timesteps:
        raise ValueError(
            f"x has {x.size(0)} time steps, but timesteps={timesteps}: make them equal. Three dimensions are time, "
            "nodes and channels: features [B, N, F] of B graphs are joined to one graph (torch_geometric.data.Batch)"
        )
    return x.transpose(0, 1)


def encoder_current(layers: Sequence[SpikingLayer], x: Tensor | SparseMatrix, graph: Graph, timesteps: int) -> Tensor:
    """Current into the encoder's neurons: ``[N, d]`` where ``x`` is constant, else ``[N, T, d]``.

    Raises:
        ValueError: if a train ``x`` has another number of time steps.
    """
    varying = train(x, timesteps)
    return layers[0].current(x if varying is None else varying, graph.along([layer.hops for layer in layers])[0])


def mean(current: Tensor) -> Tensor:
    """Mean over time of a current ``[N, d]`` (constant) or ``[N, T, d]``."""
    return current if current.dim() == 2 else current.mean(1)
