"""The Euclidean spiking graph network, which reads firing rates out."""

from dataclasses import replace
from functools import partial
from typing import Literal

from torch import nn

from msg.gradients import RuleLike, SurrogateBPTT
from msg.layers import (
    Conv,
    LastCurrent,
    SpikingLayer,
    check_classifier,
    make_synapse,
    readout_layer,
    spiking_layers,
)
from msg.models.network import SpikingNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec, embedder
from msg.models.stack import SpikingStack
from msg.neurons import NeuronLike, resolve_neuron
from msg.sizes import check_sizes


class SpikingGNN(SpikingNetwork):
    r"""Spiking graph network without a manifold: logits are linear in the last layer's firing rates.

    .. math::
        x^l_t = \hat A s^{l-1}_t W^l + b^l, \qquad y = r^L W + b, \qquad r^L = \frac1T\sum_t s^L_t .

    Layers, neurons and rules are those of :class:`MSG`, so that comparing the two compares geometry alone. With
    ``readout="conv"`` the last convolution gives the logits,

    .. math::
        y = \hat A r^{L-1} W^L + b^L,

    so the network is a GCN (or SAGE) whose ReLU fires, and reads its last neurons' rates alone.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of all layers.
        num_layers: number of convolutions, at least 1, each with neurons above it; at least 2 where the last one has
            none, because it is the read-out.
        timesteps: ``T``.
        neuron: prototype, or a name as ``"lif"`` or ``{"name": "lif", "tau": 3.0}``; copied for each layer.
        gradient: rule or name of one (``"bptt"``), how to train through time; it must differentiate through spikes.
        dropout: probability of dropping a firing rate before the read-out, in training.
        conv: synapse, as in :class:`MSG`.
        bias: whether synapses given by name add a constant current.
        norm: normalisation of the features' current, as in :class:`MSG`.
        readout: ``"linear"``, a linear map of the last rates; ``"conv"``, the last convolution.
        classifier: that linear map, ``"linear"``, or ``"fixed"``: directions that are not learned, see
            :class:`~msg.layers.FixedLinear`.

    Shapes:
        ``x``: ``[N, F]`` or ``[T, N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, or a rule that cannot train the model.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 32,
        num_layers: int = 3,
        timesteps: int = 15,
        neuron: NeuronLike | None = None,
        gradient: RuleLike | None = None,
        dropout: float = 0.0,
        conv: Conv = "gcn",
        bias: bool = True,
        norm: str = "none",
        readout: Literal["linear", "conv"] = "linear",
        classifier: str = "linear",
    ):
        if readout not in ("linear", "conv"):
            raise ValueError(f"unknown readout {readout!r}: use 'linear' or 'conv'")
        check_classifier(classifier)
        last = readout == "conv"
        if last and classifier != "linear":
            raise ValueError(f"readout='conv' reads classes out itself: leave classifier={classifier!r} out")
        check_sizes(1 + last, num_layers=num_layers)
        sizes = [in_channels, *[hidden_channels] * (num_layers - last)]
        layers = spiking_layers(conv, sizes, resolve_neuron(neuron), bias, norm)
        if last:
            layers.append(
                SpikingLayer(make_synapse(conv, hidden_channels, out_channels, bias), None, out_channels, dropout)
            )
        else:
            layers.append(readout_layer(hidden_channels, out_channels, dropout, classifier))
        stack = SpikingStack(layers, timesteps, gradient or SurrogateBPTT(), "SpikingGNN", flat=True)
        super().__init__(stack, LastCurrent(), nn.Identity())
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_layers = hidden_channels, num_layers


_READS = frozenset(
    {"hidden_channels", "num_layers", "timesteps", "neuron", "gradient", "conv", "bias", "dropout", "norm"}
)

SPEC = ModelSpec(
    build=embedder(SpikingGNN),
    reads=_READS | {"classifier"},
    about="spiking network in flat space, which reads firing rates out",
    defaults={"gradient": "bptt", "threshold": "auto"},
    tasks=NODES_AND_LINKS,
    batches=True,
    partitions=True,
)

CONV_SPEC = replace(
    SPEC,
    build=embedder(partial(SpikingGNN, readout="conv")),
    reads=_READS,
    about="the same, read out by its last convolution: a GCN that fires",
)
