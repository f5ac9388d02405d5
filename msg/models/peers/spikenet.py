"""SpikeNet on a static graph: neighbours drawn anew at each step, and thresholds that decay."""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from msg.graph import Graph, SparseMatrix, neighbor_mean, pick_neighbors
from msg.kernels.tracing import uncompiled
from msg.layers import Draws, Dropout, SpikeLinear, SpikeTrain, make_norm, picked_mean
from msg.layers.maps import through
from msg.models.network import GraphNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec, embedder
from msg.neurons import DecayingThresholdLIF, Neuron, NeuronLike, SuperSpike, Surrogate, resolve_neuron
from msg.neurons.timesteps import FixedTimesteps
from msg.sizes import check_sizes

Pick = Callable[[Tensor, int], Tensor | None]
"""From nodes ``[T, M]`` and a number to so many neighbours of each ``[T, M, k]``; ``None``: the mean is over all."""


class _Layer(nn.Module):
    """Weights of one convolution, and the neurons above it.

    Args:
        sizes: widths of input and output.
        neuron: prototype, copied.
        surrogate: derivative that stands in for that of firing.
        norm: of the current.
        below: width of the current of the layer below that is added to this one's; ``None``: none is.
        reads_spikes: whether its input is spikes, not features.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        neuron: Neuron,
        surrogate: Surrogate,
        norm: str,
        below: int | None,
        reads_spikes: bool,
    ):
        super().__init__()
        kind = SpikeLinear if reads_spikes else nn.Linear
        self.own, self.received, self.hear = kind(*sizes), kind(*sizes), OwnAndMean()
        self.past = None
        if below is not None:
            self.past = nn.Identity() if below == sizes[1] else nn.Linear(below, sizes[1], bias=False)
        self.norm = make_norm(norm, sizes[1])
        self.neurons = SpikeTrain(copy.deepcopy(neuron), surrogate, detach_reset=False, dim=0)

    def reset_parameters(self) -> None:
        for module in (self.own, self.received, self.past, self.norm, self.neurons):
            reset(module)

    def current(self, received: Tensor, below: Tensor | None) -> Tensor:
        """What the neurons read, ``[T, M, d]``, from what came in and the current of the layer below."""
        if self.past is not None and below is not None:
            received = received + self.past(below)
        if isinstance(self.norm, nn.Identity):
            return received
        return self.norm(received.flatten(0, 1)).unflatten(0, received.shape[:2])


class OwnAndMean(nn.Module):
    """What each node sends itself, and the mean of what all its neighbours and it send, each by a map of its own: as
    PyG's ``SAGEConv`` with a loop at each node.
    """

    def forward(self, own: nn.Module, received: nn.Module, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        """Constant ``[N, F]`` or a train ``[T, N, F]`` to ``[1, N, d]`` or ``[T, N, d]``."""
        matrix, sent = neighbor_mean(graph, x.dtype), through(received, x)
        came = matrix.matmul(sent if sent.dim() == 2 else sent.transpose(0, 1))
        return through(own, x) + (came[None] if sent.dim() == 2 else came.transpose(0, 1))


class SpikeNet(GraphNetwork):
    r"""GraphSAGE whose neighbours are drawn anew at each step, under neurons whose threshold decays.

    .. math::
        I^l_t(v) = W^l_o\, s^{l-1}_t(v) + W^l_r \operatorname{mean}_{u \in S_t^l(v)} s^{l-1}_t(u) + b^l, \qquad
        s^l_t = \mathrm{neuron}(I^l_t), \qquad s^0_t = X,

    with a sample :math:`S_t^l(v)` of the neighbours of ``v``, itself among them, and
    :class:`~msg.neurons.DecayingThresholdLIF` neurons, whose membrane remembers nothing at ``tau=1``: what lasts is the
    threshold. The last layer is narrow, and logits are read from its whole train by one linear map,
    :math:`[s^L_1 \Vert \dots \Vert s^L_T]\,W + b`, with a weight for each step.

    Source: `Li et al. 2023, Scaling Up Dynamic Graph Representation Learning via Spiking Neural Networks
    <https://arxiv.org/abs/2208.10364>`_ (AAAI), in the form for a graph that does not change; for one that does see
    :class:`DynamicSpikeNet`. With the static graphs Flickr and Reddit the authors take ``hidden_channels=512``,
    ``last_channels=10``, ``timesteps=15``, ``dropout=0.5``, features scaled to a length of 1, AdamW at a learning rate
    of 0.005, and batches of 2048 nodes.

    Differences from the released code, which runs batches of seed nodes, each with a tree of samples around it:

    - Here each neuron belongs to a node, and has one state. There it belongs to a place in the tree, in which another
      node stands at each step: a state that one node leaves is found by the next. ``as_released=True`` does that, with
      all nodes as seeds, at several times the cost.
    - Here a layer draws for all nodes alike; there the seeds draw ``num_neighbors[0]`` in all layers.
    - Here neighbours are drawn with replacement; there, and with ``as_released=True``, a node draws different ones
      where it has enough, else all, and some of them again.
    - Validation and test are sampled there, too; here the mean is over all neighbours then, which is what the samples
      tend to, unless ``sample_in_evaluation=True``, with the same sample each time.
    - ``norm`` and ``residual`` are additions.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of all layers but the last.
        num_layers: number of convolutions ``L``.
        last_channels: width of the last layer of neurons.
        timesteps: ``T``.
        num_neighbors: how many neighbours are drawn at each hop from a node, the nearest first (the last convolution
            draws ``num_neighbors[0]``); -1 takes the mean over all; one number for all hops; ``None`` is 5 at the first
            and 2 at the others, as published.
        dropout: probability of dropping a spike between layers, in training.
        threshold: of the neurons at first, where none are given.
        norm: of currents: ``"none"``, ``"batch"`` or ``"layer"``.
        residual: add the current of the layer below, by a linear map where widths differ.
        neuron: prototype, copied for each layer; ``None`` is ``DecayingThresholdLIF(threshold=threshold)``.
        surrogate: derivative that stands in for that of firing; resets and thresholds are differentiated.
        sample_in_evaluation: draw in evaluation too.
        as_released: samples in trees, with neurons that belong to a place, see above.
        seed: of the draws, see :class:`~msg.layers.Draws`.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, shares of the mean;
        returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, an unknown norm, or a part of a graph.
    """

    instead_on_a_part = "SpikingGNN with conv='sage'"
    timesteps = FixedTimesteps

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 128,
        num_layers: int = 2,
        last_channels: int = 10,
        timesteps: int = 15,
        num_neighbors: int | Sequence[int] | None = None,
        dropout: float = 0.0,
        threshold: float = 1.0,
        norm: str = "none",
        residual: bool = False,
        neuron: NeuronLike | None = None,
        surrogate: Surrogate = SuperSpike(1.0),  # noqa: B008 - a frozen value
        sample_in_evaluation: bool = False,
        as_released: bool = False,
        seed: int | None = None,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers, last_channels=last_channels)
        self.in_channels, self.out_channels, self.timesteps = in_channels, out_channels, timesteps
        self.num_neighbors = _per_hop(num_neighbors, num_layers, as_released)
        self.sample_in_evaluation, self.as_released = sample_in_evaluation, as_released
        neuron = DecayingThresholdLIF(threshold=threshold) if neuron is None else resolve_neuron(neuron)
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), last_channels]
        self.layers = nn.ModuleList(
            _Layer(sizes, neuron, surrogate, norm, sizes[0] if residual and number else None, number > 0)
            for number, sizes in enumerate(pairwise(widths))
        )
        self.dropout = Dropout(dropout)
        self.readout = SpikeLinear(timesteps * last_channels, out_channels)
        self.draws = Draws(seed)

    def reset_parameters(self) -> None:
        """Draw all weights anew, and begin the draws of neighbours anew."""
        for module in (*self.layers, self.readout, self.draws):
            module.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self._logits(x, edge_index, edge_weight)

    def _logits(self, *given: Any) -> Tensor:
        # draws are of a generator's own, and of a matrix whose rows are looked up: no compiler follows
        drawn = self.training or self.sample_in_evaluation
        run = uncompiled(self.train_of) if drawn and torch.compiler.is_compiling() else self.train_of
        return self.readout(run(*given).transpose(0, 1).flatten(1))

    def train_of(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Spikes of the last layer, ``[T, N, last_channels]``; arguments are those of the model."""
        features, graph = self.prepare(x, edge_index, edge_weight)
        weighted, samples = graph.edge_weight is not None, self.training or self.sample_in_evaluation
        generator = self.draws.next(graph.edge_index.device) if samples else None

        def pick(nodes: Tensor, number: int) -> Tensor | None:
            if generator is None or number < 0:
                return None
            matrix = neighbor_mean(graph, features.dtype)
            assert isinstance(matrix, SparseMatrix)
            return pick_neighbors(matrix, nodes, number, generator, weighted, distinct=self.as_released)

        if samples and self.as_released:
            return self._in_trees(features, pick)
        return self._at_nodes(features, graph, pick)

    def _at_nodes(self, features: Tensor | SparseMatrix, graph: Graph, pick: Pick) -> Tensor:
        """All layers for all nodes; what is constant in time has one step until neurons read it."""
        everyone = torch.arange(features.size(0), device=self.readout.weight.device).expand(self.timesteps, -1)
        read, below = features, None
        for number, layer, drawn in self._in_order():
            picks = pick(everyone, drawn)
            if picks is None:
                received = layer.hear(layer.own, layer.received, read, graph)
            else:
                received = through(layer.own, read) + picked_mean(through(layer.received, read), picks)
            below = layer.current(received, below)
            spikes = layer.neurons(below.expand(self.timesteps, -1, -1))
            read = self.dropout(spikes) if number < len(self.layers) - 1 else spikes
        assert isinstance(read, Tensor)
        return read

    def _in_trees(self, features: Tensor | SparseMatrix, pick: Pick) -> Tensor:
        """Each node with a tree of its own, of which each layer computes one hop less."""
        hops = self._hops(torch.arange(features.size(0), device=self.readout.weight.device), pick)

        def begin(layer: _Layer) -> tuple[list[Tensor], list[Tensor]]:
            # constant features: one product for all places of a node
            own, sent = through(layer.own, features), through(layer.received, features)
            places = [nodes.unflatten(1, (-1, drawn)) for nodes, drawn in zip(hops[1:], self.num_neighbors)]
            return [own[nodes] for nodes in hops[:-1]], [picked_mean(sent, nodes) for nodes in places]

        return self._up_the_trees([nodes.size(1) for nodes in hops], begin)

    def _hops(self, seeds: Tensor, pick: Pick) -> list[Tensor]:
        """The nodes at all places of the seeds' trees, ``[T, M]`` at each hop."""
        hops = [seeds.expand(self.timesteps, -1)]
        for number in self.num_neighbors:
            drawn = pick(hops[-1], number)
            assert drawn is not None
            hops.append(drawn.flatten(1))
        return hops

    def _heard(self, layer: _Layer, read: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What neurons at all places but the last hop's get from their node, and from those below it in the tree."""
        below = zip(read[1:], self.num_neighbors)
        came = [layer.received(x).unflatten(1, (-1, drawn)).mean(2) for x, drawn in below]
        return [layer.own(x) for x in read[:-1]], came

    def _up_the_trees(self, rows: list[int], begin: Callable[[_Layer], tuple[list[Tensor], list[Tensor]]]) -> Tensor:
        """Spikes of the seeds: each layer's neurons stand one hop nearer to them.

        Args:
            rows: number of places at each hop.
            begin: what the first layer's neurons get, as :meth:`_heard`.
        """
        read, below = [], None
        for number, layer, _ in self._in_order():
            owned, came = begin(layer) if number == 0 else self._heard(layer, read)
            left = rows[: len(self.layers) - number]
            received = torch.cat([a + b for a, b in zip(owned, came)], dim=1)
            below = layer.current(received, None if below is None else below[:, : sum(left)])
            spikes = layer.neurons(below)
            read = (self.dropout(spikes) if len(left) > 1 else spikes).split(left, dim=1)
        return read[0]

    def _in_order(self) -> Iterator[tuple[int, _Layer, int]]:
        """Number of each layer, the layer, and how many neighbours it draws."""
        for number, (layer, drawn) in enumerate(zip(self.layers, reversed(self.num_neighbors))):
            assert isinstance(layer, _Layer)
            yield number, layer, drawn

    def extra_repr(self) -> str:
        return (
            f"in_channels={self.in_channels}, out_channels={self.out_channels}, timesteps={self.timesteps}, "
            f"num_neighbors={self.num_neighbors}"
        )


def _per_hop(given: int | Sequence[int] | None, hops: int, as_released: bool) -> tuple[int, ...]:
    """How many neighbours are drawn at each hop."""
    drawn = (5, *[2] * (hops - 1)) if given is None else (given,) * hops if isinstance(given, int) else tuple(given)
    if len(drawn) != hops or any(number < 1 and number != -1 for number in drawn):
        raise ValueError(f"num_neighbors must be {hops} positive numbers, or -1 for all neighbours, not {given}")
    if as_released and -1 in drawn:
        raise ValueError(
            "a tree of samples has as many neighbours of each node: num_neighbors=-1 needs as_released=False"
        )
    return drawn


SPEC = ModelSpec(
    build=embedder(SpikeNet),
    reads=frozenset({"hidden_channels", "num_layers", "timesteps", "dropout", "threshold", "norm", "residual"}),
    about="SpikeNet: neighbours drawn at each step, thresholds that decay",
    defaults={"threshold": 1.0},
    tasks=NODES_AND_LINKS,
)
