"""The Euclidean spiking graph network, which reads firing rates out."""

from torch import Tensor

from msg.gradients import Activity, GradientRule, SurrogateBPTT
from msg.neurons import IF, Neuron
from msg.nn.network import Conv, SpikingNetwork, readout_layer, spiking_layers


class SpikingGNN(SpikingNetwork):
    r"""Spiking graph network without a manifold: logits are linear in the last layer's firing rates.

    .. math::
        x^l_t = \hat A s^{l-1}_t W^l + b^l, \qquad y = r^L W + b, \qquad r^L = \frac1T\sum_t s^L_t .

    Layers, neurons and rules are those of :class:`MSG`, so that comparing the two compares geometry alone.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of all layers.
        num_layers: number of layers ``L`` after the encoder, so ``L + 1`` convolutions.
        timesteps: ``T``.
        neuron: prototype, copied for each layer.
        gradient: how to train through time; it must differentiate through spikes.
        dropout: probability of dropping a firing rate before the read-out, in training.
        conv: synapse, as in :class:`MSG`.
        bias: whether synapses given by name add a constant current.

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
        num_layers: int = 2,
        timesteps: int = 15,
        neuron: Neuron | None = None,
        gradient: GradientRule | None = None,
        dropout: float = 0.0,
        conv: Conv = "gcn",
        bias: bool = True,
    ):
        if num_layers < 0:
            raise ValueError(f"num_layers must not be negative, it is {num_layers}")
        rule = gradient or SurrogateBPTT()
        if not rule.through_spikes:
            raise ValueError(
                f"{type(rule).__name__} differentiates only through the manifold, and SpikingGNN has none: its hidden "
                "layers would never learn. Use SurrogateBPTT, or MSG with manifold='E32'"
            )
        sizes = [in_channels, *[hidden_channels] * (num_layers + 1)]
        layers = spiking_layers(conv, sizes, neuron or IF(), bias)
        super().__init__([*layers, readout_layer(hidden_channels, out_channels, dropout)], timesteps, rule)
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels

    def read(self, activity: Activity) -> Tensor:
        """Logits: the last mean current."""
        return activity.drives[-1]

    def extra_repr(self) -> str:
        """What is not a submodule."""
        rule = self.gradient.describe(self.timesteps)
        return f"{self.in_channels}, {self.out_channels}, timesteps={self.timesteps}, gradient={rule}"
