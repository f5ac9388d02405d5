"""A layer: synapse and neuron, nothing more. Time is the gradient rule's."""

import copy
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from msg.graph import Graph, SparseMatrix
from msg.layers.classifier import make_classifier
from msg.layers.dropout import Dropout
from msg.layers.norm import make_train_norm
from msg.layers.synapse import Conv, Synapse, make_synapse
from msg.neurons import Neuron


class SpikingLayer(nn.Module):
    """A synapse that turns spikes into current, and the neurons that fire on it.

    Args:
        synapse: from the spikes (or features) of the layer below to current.
        neuron: fires on the current; ``None`` for a read-out layer, whose spikes nobody needs.
        out_channels: width of the current.
        dropout: probability of dropping a firing rate before the synapse of a read-out layer, in training.
        norm: of the current, of a first layer only: a current that does not vary in time keeps its meaning.
    """

    norm: nn.Module | None

    def __init__(
        self,
        synapse: Synapse,
        neuron: Neuron | None,
        out_channels: int,
        dropout: float = 0.0,
        norm: nn.Module | None = None,
    ):
        super().__init__()
        self.dropout = Dropout(dropout) if dropout else nn.Identity()
        self.synapse = synapse
        self.neuron = neuron
        self.out_channels = out_channels
        self.norm = norm

    @property
    def linear(self) -> bool:
        """Whether the mean current is the current of the mean spikes."""
        return self.synapse.linear

    @property
    def hops(self) -> int:
        """How far the synapse looks along edges."""
        return self.synapse.hops

    def reset_parameters(self) -> None:
        """Reset synapse, normalisation and neuron."""
        for part in (self.synapse, self.norm, self.neuron):
            if part is not None:
                part.reset_parameters()  # pyright: ignore[reportCallIssue]

    def current(self, x: Tensor | SparseMatrix, graph: Graph, received: Tensor | None = None) -> Tensor:
        """Input current ``[N, d]`` or ``[N, T, d]`` for input of the same layout.

        Args:
            x: input.
            graph: the graph.
            received: what comes along the edges of a linear synapse, where that is known already.

        Raises:
            ValueError: if the convolution returns another width than the layer has.
        """
        if self.training and isinstance(self.dropout, nn.Dropout):
            graph = graph.sending(None)  # what is left is scaled
        x = self.dropout(x)
        current = self.synapse(x, graph) if received is None else self.synapse(x, graph, received)
        if current.size(-1) != self.out_channels:
            raise ValueError(
                f"{type(self.synapse.conv).__name__} returned width {current.size(-1)}, but the layer has "
                f"{self.out_channels} channels: with several heads, average them (concat=False) or divide the width"
            )
        return current if self.norm is None else self.norm(current)


def spiking_layers(
    conv: Conv, sizes: Sequence[int], neuron: Neuron, bias: bool = True, norm: str = "none"
) -> list[SpikingLayer]:
    """One layer for each consecutive pair of ``sizes``, each with its own copy of ``neuron``; the first has a ``norm``.

    Raises:
        ValueError: for an unknown norm.
    """
    layers = [SpikingLayer(make_synapse(conv, i, o, bias), copy.deepcopy(neuron), o) for i, o in pairwise(sizes)]
    layers[0].norm = None if norm == "none" else make_train_norm(norm, sizes[1])
    return layers


def current_layer(conv: Conv, in_channels: int, out_channels: int, bias: bool = True) -> SpikingLayer:
    """A last layer: its current moves the point, and nobody reads its spikes."""
    return SpikingLayer(make_synapse(conv, in_channels, out_channels, bias), None, out_channels)


def readout_layer(in_channels: int, out_channels: int, dropout: float, classifier: str = "linear") -> SpikingLayer:
    """A linear read-out of firing rates, some of them dropped in training."""
    lin = make_classifier(classifier, in_channels, out_channels)
    return SpikingLayer(Synapse(lin), None, out_channels, dropout)
