"""One layer of a simulation by itself, from the spikes that the layer below has left: what inference in batches needs.

The spikes are those of :mod:`msg.gradients.simulation`, whichever rule trains the layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from msg.gradients import packed
from msg.gradients.simulation import SILENT, chunks_of, spike_train
from msg.graph import Graph
from msg.kernels.packed import PackedSpikes, pack
from msg.layers import SpikingLayer
from msg.neurons import Neuron


def reads_trains(above: Sequence[SpikingLayer]) -> bool:
    """Whether layers above another read its spikes one by one: a last layer that is linear reads their rates."""
    return len(above) > 1 or not all(layer.linear for layer in above)


def fire(layer: SpikingLayer, current: Tensor, timesteps: int, trains: bool) -> Tensor:
    """What the neurons of an encoder send under a constant current ``[N, d]``.

    Args:
        layer: of the neurons; without any it sends nothing.
        current: into them.
        timesteps: ``T``.
        trains: whether the spikes are asked for, or their rates.

    Returns:
        Packed spikes ``[N, T, ceil(d / 32)]``, or rates ``[N, d]``.
    """
    neuron = layer.neuron
    if neuron is None:
        return current.new_empty(len(current), 0)
    found = packed.encode(layer, current, timesteps)
    if found is not None:
        return found[0] if trains else found[1]
    if isinstance(neuron, Neuron) and not (trains and neuron.spiking):
        return neuron.rate(current, timesteps)
    words, state = [], None
    for chunk in chunks_of(current, timesteps, layer.out_channels):
        spikes, state = spike_train(neuron, current, state, chunk.stop - chunk.start, SILENT)
        words.append(pack(spikes).words)
    return _sent(torch.cat(words, dim=1), layer, current.dtype, trains)


def relay(
    layer: SpikingLayer, sent: Tensor, channels: int, graph: Graph, timesteps: int, trains: bool
) -> tuple[Tensor, Tensor]:
    """Mean current of a layer above others, and what its neurons send.

    Args:
        layer: a hidden or the last layer.
        sent: packed spikes of the layer below ``[N, T, ceil(d / 32)]``, or rates ``[N, d]``.
        channels: ``d``.
        graph: as the layer reads it.
        timesteps: ``T``.
        trains: as in :func:`fire`.
    """
    if sent.is_floating_point():  # into a last layer that is linear, or from neurons that do not spike
        mean = layer.current(sent, graph)
        return mean, mean.new_empty(len(mean), 0) if layer.neuron is None else layer.neuron.rate(mean, timesteps)
    dtype = next(layer.parameters()).dtype
    below = PackedSpikes(sent, channels)
    found = packed.relay(layer, below, graph, dtype) if layer.neuron is not None else None
    if found is not None:
        words, rate, received = found
        return layer.current(below.rates(dtype), graph, received), words if trains else rate
    total, words, state = 0.0, [], None
    for chunk in chunks_of(sent, timesteps, max(channels, layer.out_channels)):
        current = layer.current(PackedSpikes(sent[:, chunk], channels).unpack(dtype), graph)
        total = total + current.sum(1)
        if layer.neuron is not None:
            spikes, state = spike_train(layer.neuron, current, state, chunk.stop - chunk.start, SILENT)
            words.append(pack(spikes).words)
    mean = layer.current(below.rates(dtype), graph) if layer.linear else total / timesteps
    assert isinstance(mean, Tensor)
    if layer.neuron is None:
        return mean, mean.new_empty(len(mean), 0)
    return mean, _sent(torch.cat(words, dim=1), layer, dtype, trains)


def _sent(words: Tensor, layer: SpikingLayer, dtype: torch.dtype, trains: bool) -> Tensor:
    return words if trains else PackedSpikes(words, layer.out_channels).rates(dtype)
