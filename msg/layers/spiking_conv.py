"""A synapse and its neurons as a layer of PyTorch Geometric: ``(x, edge_index)`` to a current."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from msg.calls import given
from msg.layers.synapse import edge_arguments
from msg.neurons import ATan, NeuronLike, Surrogate, resolve_neuron
from msg.neurons.contract import fitted
from msg.neurons.timesteps import Timesteps


class SpikingConv(MessagePassing):
    r"""One layer of a spiking network as PyG's convolutions are called, from one set of nodes to another.

    The senders' input is a constant current into neurons, whose spikes travel along edges; the layer returns the
    current that they cause, or the rate of neurons that it drives,

    .. math::
        s_t = \text{neuron}(x), \qquad c_t = \mathrm{conv}(s_t, x'), \qquad y = \frac1T\sum_t c_t .

    :math:`x'`, of the receivers, is their own neurons' spikes. So it stands in ``HeteroConv``, in a model that
    ``to_hetero`` turns into one of several types of nodes, and in ``Sequential``: a layer speaks to the next in mean
    currents, and time begins anew in each. That is the one difference to :class:`~msg.models.SpikingNetwork`, whose
    layers run side by side through one time; it cannot be cut into relations, since the neurons of a node are driven by
    the sum of all of them at every step.

    Gradients go through the spikes of all steps, by the surrogate.

    Args:
        conv: a PyG convolution from the senders' width; for two sets of nodes one that takes a pair, such as
            ``SAGEConv((16, 8), 32)``.
        timesteps: ``T``.
        neuron: prototype, or a name, or a dictionary with one; copied. ``None`` is :class:`~msg.neurons.IF`. A
            threshold of ``"auto"`` is fitted to the first input, the senders'.
        surrogate: derivative of the spikes.

    Shapes:
        ``x``: ``[N, F]``, or a pair of ``[N, F]`` (senders) and ``[M, F']`` or ``None`` (receivers); ``edge_index``:
        ``[2, E]`` or ``adj_t`` ``[M, N]``; ``edge_weight`` and ``edge_attr``: as the convolution reads them; returns
        ``[M, out]``.

    Raises:
        ValueError: for ``timesteps`` below 1; when called, for a train in place of features, for sparse ones and for
            integers, and for edge weights that the convolution does not read.
    """

    timesteps = Timesteps

    def __init__(
        self,
        conv: nn.Module,
        timesteps: int = 8,
        neuron: NeuronLike | None = None,
        surrogate: Surrogate = ATan(),  # noqa: B008 - a frozen value
    ):
        super().__init__()
        self.conv, self.timesteps, self.surrogate = conv, timesteps, surrogate
        self.neuron = copy.deepcopy(resolve_neuron(neuron))

    def reset_parameters(self) -> None:
        """Reset convolution and neurons."""
        for part in (self.conv, self.neuron):
            part.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Any,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        two = isinstance(x, tuple | list)
        pair = tuple(x) if two else (x,)
        for one in pair:
            if one is None:
                continue
            if one.dim() != 2:
                raise ValueError(f"x has shape {list(one.shape)}, but the layer needs [num_nodes, channels]")
            if one.layout != torch.strided or not one.is_floating_point():
                raise ValueError(
                    f"neurons read dense real numbers, not {one.dtype}, {one.layout}: use x.to_dense().float()"
                )
        if not fitted(self.neuron):
            self.neuron.fit_threshold(pair[0])  # pyright: ignore[reportArgumentType, reportCallIssue]
        known = edge_arguments(self.conv, edge_weight, given(edge_attr=edge_attr))
        states: list[Any] = [None] * len(pair)
        total: Any = 0.0
        for _ in range(self.timesteps):
            sent: list[Tensor | None] = []
            for number, current in enumerate(pair):
                spikes = None
                if current is not None:
                    spikes, states[number] = self.neuron(current, states[number], self.surrogate)
                sent.append(spikes)
            spikes = tuple(sent) if two else sent[0]
            total = total + self.conv(spikes, edge_index, **known)
        return total / self.timesteps

    def extra_repr(self) -> str:
        """Steps."""
        return f"timesteps={self.timesteps}"
