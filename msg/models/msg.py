"""The manifold-valued spiking graph network."""

import geoopt
from torch import nn

from msg.gradients import DvM, RuleLike
from msg.layers import Conv, JumpingPath, ManifoldPath, TangentHead, check_classifier, current_layer, spiking_layers
from msg.manifolds import resolve
from msg.models.network import SpikingNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec
from msg.models.stack import SpikingStack
from msg.neurons import NeuronLike, resolve_neuron
from msg.sizes import check_sizes


class MSG(SpikingNetwork):
    r"""Spiking graph network whose node representations are points of a Riemannian manifold.

    Convolutions ``l = 0..L`` with neurons between them run through ``T`` time steps; the mean current of each moves
    the point,

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
        num_layers: number of convolutions ``L + 1``, at least 2: the encoder's, and one above each layer of neurons.
        timesteps: ``T``.
        neuron: prototype, or a name as ``"lif"`` or ``{"name": "lif", "tau": 3.0}``; copied for each layer.
        gradient: rule or name of one (``"bptt"``), how to train through time.
        step_size: ``ε``.
        dropout: probability of dropping a coordinate of the tangent read-out and of each mean current, in training.
        conv: synapse, ``"gcn"``, ``"sage"``, ``"gin"``, ``"linear"`` (no aggregation), or a function
            ``(in, out) -> PyG convolution``.
        hidden_channels: intrinsic dimension, where ``manifold`` does not say it.
        max_step: bound on a step's length, ``None`` for none.
        bias: whether synapses given by name add a constant current :math:`b^l`; the published model has none.
        norm: normalisation of the current from the features, ``"batch"`` (over nodes), ``"layer"`` (over channels) or
            ``"none"``.
            The currents above are sums of spikes, to whose scale ``threshold="auto"`` fits the neurons.
        jumping: ``"cat"``: the read-out sees the points after all layers, see :class:`~msg.layers.JumpingPath`;
            ``"none"``: the last one, which all currents have moved.
        learn_step_size: whether each layer learns its own step size.
        classifier: what reads classes out, ``"linear"``, or ``"fixed"``: directions that are not learned, see
            :class:`~msg.layers.FixedLinear`.

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
        num_layers: int = 3,
        timesteps: int = 15,
        neuron: NeuronLike | None = None,
        gradient: RuleLike | None = None,
        step_size: float = 0.1,
        dropout: float = 0.0,
        conv: Conv = "gcn",
        hidden_channels: int | None = None,
        max_step: float | None = 1.0,
        bias: bool = True,
        norm: str = "none",
        jumping: str = "none",
        learn_step_size: bool = False,
        classifier: str = "linear",
    ):
        check_classifier(classifier)
        if jumping not in ("none", "cat"):
            raise ValueError(f"unknown jumping {jumping!r}: use 'none' or 'cat'; points have no largest one")
        check_sizes(2, num_layers=num_layers)
        space, dim = resolve(manifold, hidden_channels)
        layers = spiking_layers(conv, [in_channels, *[dim] * (num_layers - 1)], resolve_neuron(neuron), bias, norm)
        layers.append(current_layer(conv, dim, dim, bias))
        steps = {"step_size": step_size, "max_step": max_step, "dropout": dropout}
        steps["learned_steps"] = num_layers if learn_step_size else 0
        if jumping == "cat":
            path, width = JumpingPath(space, dim, num_layers, **steps), dim * num_layers
        else:
            path, width = ManifoldPath(space, dim, **steps), dim
        head = nn.Identity()
        if out_channels is not None:
            head = TangentHead(path.manifold, width, out_channels, dropout, classifier)
        super().__init__(SpikingStack(layers, timesteps, gradient or DvM(), "MSG"), path, head)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_layers = dim, num_layers

    @property
    def manifold(self) -> geoopt.Manifold:
        """Of the points."""
        return self.path.manifold  # pyright: ignore[reportReturnType]


SPEC = ModelSpec(
    build=MSG,
    reads=frozenset(
        {
            "manifold",
            "num_layers",
            "timesteps",
            "neuron",
            "gradient",
            "conv",
            "bias",
            "step_size",
            "max_step",
            "dropout",
            "norm",
            "jumping",
            "learn_step_size",
            "classifier",
        }
    ),
    about="spiking network on a manifold",
    defaults={"manifold": "H32", "threshold": "auto"},
    tasks=(*NODES_AND_LINKS, "graph-classification"),
    batches=True,
    partitions=True,
)
