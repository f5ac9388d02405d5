"""The manifold-valued spiking graph network."""

from collections.abc import Sequence
from typing import NamedTuple

import geoopt
from torch import Tensor, nn

from msg.gradients import Activity, DvM, GradientRule
from msg.manifolds import bound_length, log0, move, origin, resolve
from msg.neurons import IF, Neuron
from msg.nn.network import Conv, SpikingNetwork, current_layer, spiking_layers


class Embedding(NamedTuple):
    """What an :class:`MSG` knows of its nodes before the read-out.

    Attributes:
        point: on the manifold, float64 ``[N, ambient_dim]``.
        activity: mean currents and firing rates of the layers.
    """

    point: Tensor
    activity: Activity


class MSG(SpikingNetwork):
    r"""Spiking graph network whose node representations are points of a Riemannian manifold.

    Layers ``l = 0..L`` of synapse and neuron run through ``T`` time steps; the mean current of each moves the point,

    .. math::
        x^l_t = \hat A s^{l-1}_t W^l + b^l, \qquad v^l = \frac1T\sum_t x^l_t, \qquad
        z^l = \exp_{z^{l-1}}\bigl(PT_{o \to z^{l-1}}\, b(\varepsilon v^l)\bigr), \qquad z^{-1} = o,

    with the features as a constant current into layer 0, :math:`b(v) = \tanh(|v|)\,v/|v|` bounding each step's length,
    and logits :math:`\log_o(z^L)\,W + b`.

    Source: `Sun et al. 2024, Spiking Graph Neural Network on Riemannian Manifolds
    <https://arxiv.org/abs/2410.17941>`_. It differs in that vectors are carried from the origin by parallel transport
    (the published code leaves the manifold), that steps are bounded, and that geometry is computed in float64.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes; ``None`` to return the points themselves (for link prediction, say).
        manifold: signature such as ``"H32"`` or ``"H16xS16"`` (the number is the intrinsic dimension and the width of
            all layers), or a geoopt manifold.
        num_layers: number of layers ``L`` after the encoder, so ``L + 1`` convolutions.
        timesteps: ``T``.
        neuron: prototype, copied for each layer.
        gradient: how to train through time.
        step_size: ``ε``.
        dropout: probability of dropping a coordinate of the tangent read-out and of each mean current, in training.
        conv: synapse, ``"gcn"``, ``"sage"``, ``"gin"``, or a function ``(in, out) -> PyG convolution``.
        hidden_channels: intrinsic dimension, where ``manifold`` does not say it.
        max_step: bound on a step's length, ``None`` for none.
        bias: whether synapses given by name add a constant current :math:`b^l`; the published model has none.

    Shapes:
        ``x``: ``[N, F]`` or ``[T, N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``;
        returns logits ``[N, C]`` in the dtype of ``x``, or points ``[N, ambient_dim]`` in float64.

    Raises:
        ValueError: for an unknown manifold or conv, impossible sizes, or a rule that cannot train the model.
        TypeError: for a geoopt manifold without origin and transport here.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        manifold: str | geoopt.Manifold = "H32",
        num_layers: int = 2,
        timesteps: int = 15,
        neuron: Neuron | None = None,
        gradient: GradientRule | None = None,
        step_size: float = 0.1,
        dropout: float = 0.0,
        conv: Conv = "gcn",
        hidden_channels: int | None = None,
        max_step: float | None = 1.0,
        bias: bool = True,
    ):
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1 (layers after the encoder), not {num_layers}")
        if max_step is not None and not max_step > 0:
            raise ValueError(f"max_step must be positive, or None for no bound, not {max_step}")
        space, dim = resolve(manifold, hidden_channels)
        sizes = [in_channels, *[dim] * num_layers]
        layers = spiking_layers(conv, sizes, neuron or IF(), bias)
        super().__init__([*layers, current_layer(conv, dim, dim, bias)], timesteps, gradient or DvM())
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, dim
        self.manifold = space
        self.step_size, self.max_step = step_size, max_step
        self.dropout = nn.Dropout(dropout)
        self.lin = None if out_channels is None else nn.Linear(dim, out_channels)

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but the manifold's curvature."""
        super().reset_parameters()
        if self.lin is not None:
            self.lin.reset_parameters()

    def embed(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Embedding:
        """Points on the manifold, with the activity that moved them there."""
        activity = self.activity(x, edge_index, edge_weight)
        return Embedding(self.place(activity.drives), activity)

    def place(self, drives: Sequence[Tensor]) -> Tensor:
        """Points on the manifold, float64, that mean currents move to from the origin."""
        z = origin(self.manifold, drives[0].size(0), self.hidden_channels, device=drives[0].device)
        for drive in drives:
            v = self.step_size * self.dropout(drive)
            z = move(self.manifold, z, v if self.max_step is None else bound_length(v, self.max_step))
        return z

    def readout(self, z: Tensor) -> Tensor:
        """Logits ``[N, C]`` from points, or the points themselves where the model has no classes."""
        if self.lin is None:
            return z
        return self.lin(self.dropout(log0(self.manifold, z).to(self.lin.weight.dtype)))

    def read(self, activity: Activity) -> Tensor:
        """Logits or points, from what the layers did."""
        return self.readout(self.place(activity.drives))

    def extra_repr(self) -> str:
        """What is not a submodule."""
        rule = self.gradient.describe(self.timesteps)
        return (
            f"{self.in_channels}, {self.out_channels}, timesteps={self.timesteps}, gradient={rule}, "
            f"step_size={self.step_size:g}, max_step={self.max_step}"
        )
