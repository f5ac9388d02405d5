"""GC-SNN and GA-SNN: graph convolution or attention, normalisation in space and time, leaky neurons."""

import copy
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.inits import glorot, zeros

from msg.graph import Graph, Memo, SparseMatrix
from msg.graph.sparse import taken, wide
from msg.layers import Dropout, GraphAttention, SpikeSynapse, SpikeTrain, STFNorm, Synapse, make_train_norm
from msg.models.network import GraphNetwork, numbers_of
from msg.models.spec import NODES_AND_LINKS, ModelSpec, embedder
from msg.names import Jumping
from msg.neurons import LIF, NeuronLike, Sigmoid, resolve_neuron
from msg.neurons.contract import spikes
from msg.neurons.timesteps import checked_timesteps
from msg.sizes import check_sizes


class MeanOfMessages(nn.Module):
    r"""The graph convolution of SGNNBench's GC-SNN: the mean of the messages, normalised already, bias inside,

    .. math::
        y_i = \frac1{|N(i)|}\sum_{j \in N(i)} \frac{x_j W}{\sqrt{d_i d_j}} + b,

    without self-loops, and nothing at a node without neighbours.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.

    Shapes:
        ``x``: ``[N, F]``, ``[N, T, F]`` or a sparse feature matrix; returns ``[N, out]`` or ``[N, T, out]``.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset weights and bias."""
        glorot(self.weight)
        zeros(self.bias)

    def forward(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        dtype = wide(x.dtype)

        def mean(whole: Graph) -> tuple[Tensor, Tensor]:
            weight = None if whole.edge_weight is None else whole.edge_weight.to(dtype)
            _, value = gcn_norm(whole.edge_index, weight, whole.num_nodes, add_self_loops=False, dtype=dtype)
            assert value is not None
            target = whole.edge_index[1]
            return whole.edge_index, value / torch.bincount(target, minlength=whole.num_nodes)[target]

        matrix = graph.matrix(("mean of messages", dtype), mean)
        weight = self.weight.t()
        received = matrix.matmul(x.matmul(weight) if isinstance(x, SparseMatrix) else x @ weight)
        some = torch.zeros(graph.num_nodes, dtype=x.dtype, device=weight.device)
        some = some.index_fill(0, graph.edge_index[1], 1.0)
        return received + some.view(-1, *[1] * (received.dim() - 1)) * self.bias


class _Layer(nn.Module):
    """Convolution, norm, shortcut and neurons; reads features ``[N, F]`` once or spikes ``[N, T, d]``, and sends
    spikes, or values ``[N, d]`` where something answers at once in the neurons' place.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module, shortcut: nn.Module | None, fire: SpikeTrain):
        super().__init__()
        self.conv, self.norm, self.shortcut, self.fire = conv, norm, shortcut, fire

    @property
    def spiking(self) -> bool:
        return spikes(self.fire.neuron)

    def reset_parameters(self) -> None:
        for part in (self.conv, self.norm, self.shortcut, self.fire):
            if part is not None and not isinstance(part, nn.Identity):
                part.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor | SparseMatrix, graph: Graph, timesteps: int, rows: Tensor | None = None) -> Tensor:
        """Of all nodes, or of those in these rows."""
        current = self.norm(taken(self.conv(x, graph), rows))
        if self.shortcut is not None:
            current = current + taken(self.shortcut(x, graph), rows)
        train = self.fire(current, timesteps)
        return train if self.spiking else train.squeeze(1)


def _rate(layer: _Layer, sent: Tensor) -> Tensor:
    return sent.mean(1) if layer.spiking else sent


_THRESHOLD = 0.5

Makes = Callable[[type[Synapse], int, int], nn.Module]
"""Makes a convolution, from the kind of synapse that its input needs and its widths."""


class _STFN(GraphNetwork):
    """What both share."""

    def __init__(
        self,
        convolution: Makes,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_layers: int,
        timesteps: int,
        dropout: float,
        threshold: float | None,
        norm: str,
        residual: bool,
        jumping: str,
        neuron: NeuronLike | None,
        as_released: bool,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers)
        if jumping not in get_args(Jumping):
            raise ValueError(f"unknown jumping {jumping!r}: use 'none', 'cat' or 'max'")
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.num_layers, self.jumping, self.as_released = num_layers, jumping, as_released
        self.takes_nodes = norm != "batch"  # which would be of other nodes
        given = _THRESHOLD if threshold is None else threshold
        if threshold is not None and isinstance(neuron, str | Mapping):
            neuron = {"threshold": threshold, **({"name": neuron} if isinstance(neuron, str) else neuron)}
        prototype = LIF(2.0, given, "zero") if neuron is None else resolve_neuron(neuron)
        layers = []
        for number, (i, o) in enumerate(pairwise([in_channels, *[hidden_channels] * num_layers])):
            kind = SpikeSynapse if number and spikes(prototype) else Synapse
            fire = SpikeTrain(
                copy.deepcopy(prototype), Sigmoid(4.0), isinstance(prototype, LIF), detach_reset=not as_released
            )
            own = getattr(fire.neuron, "threshold", given)
            if threshold is not None and own != threshold:
                raise ValueError(
                    f"threshold={threshold} contradicts the {own:g} of {type(prototype).__name__}: leave one out"
                )
            normal = make_train_norm(norm, o, own)
            if isinstance(normal, STFNorm):
                normal.detach = as_released
            shortcut = kind(nn.Linear(i, o)) if residual else None
            layers.append(_Layer(convolution(kind, i, o), normal, shortcut, fire))
        self.layers = nn.ModuleList(layers)
        self.timesteps = timesteps
        self.dropout = Dropout(dropout)
        self.lin = nn.Linear(hidden_channels * (num_layers if jumping == "cat" else 1), out_channels)

    @property
    def timesteps(self) -> int:
        """Number of time steps ``T``; another one is checked when it is set."""
        return self._timesteps

    @timesteps.setter
    def timesteps(self, timesteps: int) -> None:
        self._timesteps = checked_timesteps(timesteps, [layer.fire.neuron for layer in self._layers])

    @property
    def _layers(self) -> list[_Layer]:
        return list(self.layers)  # pyright: ignore[reportReturnType]

    def reset_parameters(self) -> None:
        """Reset all layers and the read-out."""
        for layer in [*self.layers, self.lin]:
            layer.reset_parameters()  # pyright: ignore[reportCallIssue]

    def _leading_to(self, nodes: Tensor, graph: Graph) -> Graph:
        """What the last layer has to read of a graph, where these nodes alone are asked for."""
        return graph

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, *, nodes: Tensor | None = None
    ) -> Tensor:
        sent, graph = self.prepare(x, edge_index, edge_weight)
        if nodes is not None and not self.takes_nodes:
            raise ValueError("a normalisation over nodes reads all of them: leave nodes out, or use norm='layer'")
        rows, rates = None if nodes is None else numbers_of(nodes), []
        *below, last = self._layers
        for layer in below:
            sent = layer(sent, graph, self.timesteps)
            rates.append(taken(_rate(layer, sent), rows))
            sent = self.dropout(sent)
        above = graph if nodes is None else self._leading_to(nodes, graph)
        rates.append(_rate(last, last(sent, above, self.timesteps, rows)))
        if self.jumping == "none":
            rate = rates[-1]
        elif self.jumping == "cat":
            rate = torch.cat(rates, dim=-1)
        else:
            rate = torch.stack(rates).amax(0)
        return self.lin(self.dropout(rate))

    def extra_repr(self) -> str:
        names = ("in_channels", "out_channels", "timesteps", "jumping", "as_released")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class GCSNN(_STFN):
    r"""GC-SNN: graph convolutions, whose currents are normalised in space and time, into leaky neurons.

    .. math::
        a^l_t = \hat A s^{l-1}_t W^l + b^l, \qquad
        c^l_t = \mathrm{STFNorm}(a^l)_t \ (+\ s^{l-1}_t V^l), \qquad
        s^l = \mathrm{LIF}_\theta(c^l), \qquad
        y = \frac1T\sum_t s^L_t\,U + u,

    with the features as a constant :math:`s^0`, so that the first layer's current is computed and normalised once,
    and the term in brackets where ``residual`` is on. :class:`~msg.layers.STFNorm` says what is normalised over what;
    neurons have :math:`\tau = 2`, are reset to zero, and relax towards their input
    (:class:`~msg.layers.SpikeTrain` with ``decay_input``).

    Source: `Xu et al. 2021, Exploiting Spiking Dynamics with Spatial-temporal Feature Normalization in Graph Learning
    <https://arxiv.org/abs/2107.06865>`_. The authors' code was not found; figures that are quoted come from the
    reimplementation in `SGNNBench <https://github.com/Zhhuizhe/SGNNBench>`_. Its normalisation evaluates with running
    statistics of each node and channel, which fit one graph only: not here, in either case. Its neurons also fire at
    the threshold, these above it. It ran Cora with ``timesteps=25, hidden_channels=256, num_layers=2, threshold=0.5``.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of the layers.
        num_layers: number of convolutions.
        timesteps: ``T``.
        dropout: probability of dropping a spike that a layer reads, or a firing rate of the read-out, in training.
        threshold: ``θ``, of neurons and of ``norm="stfn"``; ``None``: that of ``neuron``, or 0.5 where none is given.
        norm: of the currents, ``"stfn"``, ``"batch"``, ``"layer"`` or ``"none"``.
        residual: whether a layer's input reaches its neurons through a linear map as well, past the norm.
        jumping: what is read out: rates of the last layer (``"none"``), of all (``"cat"``), or their maximum
            (``"max"``).
        neuron: prototype in place of that above, or a name such as ``"if"``, alone or in ``{"name": "if", "threshold":
            0.5}``; copied. A :class:`~msg.neurons.LIF` relaxes towards its current as that does, any other reads it as
            it is; with one that sends its value at once, such as ``"clipped-relu"``, and ``timesteps=1`` it is the same
            network without spikes.
        as_released: as in SGNNBench: the convolution is the mean of messages that are normalised already, without
            self-loops and with the bias inside, :math:`y_i = |N(i)|^{-1}\sum_j x_j W / \sqrt{d_i d_j} + b`; no gradient
            goes through the norm's statistics; the gradient through resets is kept.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.
        With ``nodes``, a mask ``[N]`` or numbers ``[M]``, the last layer computes theirs alone, ``[M, C]``.

    Raises:
        ValueError: for impossible sizes, an unknown norm, neuron or way of jumping, a threshold other than that of
            ``neuron``, or ``timesteps`` other than 1 for what sends its value at once; when called, for ``nodes`` under
            a norm over all of them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        timesteps: int = 8,
        dropout: float = 0.0,
        threshold: float | None = None,
        norm: str = "stfn",
        residual: bool = False,
        jumping: str = "none",
        neuron: NeuronLike | None = None,
        as_released: bool = False,
    ):
        def convolution(kind: type[Synapse], i: int, o: int) -> nn.Module:
            return MeanOfMessages(i, o) if as_released else kind(GCNConv(i, o))

        super().__init__(
            convolution, in_channels, out_channels, hidden_channels, num_layers, timesteps, dropout, threshold, norm,
            residual, jumping, neuron, as_released,
        )  # fmt: skip


class GASNN(_STFN):
    r"""GA-SNN: graph attention, whose currents are normalised in space and time, into leaky neurons.

    :class:`GCSNN` with :math:`a^l_t = \mathrm{GAT}(s^{l-1}_t)` in place of the convolution: attention of each step by
    itself (:class:`~msg.layers.GraphAttention`), its heads concatenated.

    Source: as there; SGNNBench ran Cora with ``timesteps=20, heads=4, hidden_channels=256, threshold=0.5``.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of the layers, all heads together.
        num_layers: number of convolutions.
        timesteps: ``T``.
        heads: number of heads, which divides the width.
        dropout: as there.
        threshold: as there.
        norm: as there.
        residual: as there.
        jumping: as there.
        neuron: as there.
        as_released: as in SGNNBench: attention without self-loops, whose sum is divided by the number of neighbours
            once more, then a linear map without bias; norm and resets as there.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; returns ``[N, C]``, or of ``nodes`` as there.

    Raises:
        ValueError: as there, and for heads that do not divide the width; when called, for edge weights, which attention
            does not read, or a part of a graph.
    """

    instead_on_a_part = "GCSNN"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        timesteps: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        threshold: float | None = None,
        norm: str = "stfn",
        residual: bool = False,
        jumping: str = "none",
        neuron: NeuronLike | None = None,
        as_released: bool = False,
    ):
        def convolution(kind: type[Synapse], i: int, o: int) -> nn.Module:
            return _Projected(i, o, heads) if as_released else GraphAttention(i, o, heads)

        super().__init__(
            convolution, in_channels, out_channels, hidden_channels, num_layers, timesteps, dropout, threshold, norm,
            residual, jumping, neuron, as_released,
        )  # fmt: skip
        self._above = Memo()

    def _leading_to(self, nodes: Tensor, graph: Graph) -> Graph:
        if graph.edge_weight is not None:  # attention refuses it, and is to see it
            return graph

        def edges() -> Graph:
            # attention is of a node's own edges, so all others may be left out
            asked = torch.zeros(graph.num_nodes, dtype=torch.bool, device=nodes.device)
            asked[nodes] = True
            return Graph(graph.edge_index[:, asked[graph.edge_index[1]]], None, graph.num_nodes)

        return self._above.recall((nodes, graph.edge_index), (graph.num_nodes,), edges)


class _Projected(nn.Module):
    """Attention as in SGNNBench: divided by the number of neighbours, then a linear map."""

    def __init__(self, in_channels: int, out_channels: int, heads: int):
        super().__init__()
        self.attention = GraphAttention(in_channels, out_channels, heads, add_self_loops=False, mean=True, bias=False)
        self.lin = nn.Linear(out_channels, out_channels, bias=False)
        glorot(self.lin.weight)

    def reset_parameters(self) -> None:
        self.attention.reset_parameters()
        glorot(self.lin.weight)

    def forward(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        return self.lin(self.attention(x, graph))


_READS = frozenset(
    {"hidden_channels", "num_layers", "timesteps", "dropout", "threshold", "residual", "jumping", "neuron"}
)
_DEFAULTS = {
    "hidden_channels": 64,
    "threshold": _THRESHOLD,
    "residual": False,
    "jumping": "none",
    "neuron": "lif",
    "reset": "zero",
}

GC_SPEC = ModelSpec(
    embedder(GCSNN),
    _READS,
    "GC-SNN: graph convolutions, normalised in space and time, into leaky neurons",
    {**_DEFAULTS, "timesteps": 8},
    tasks=NODES_AND_LINKS,
)
GA_SPEC = ModelSpec(
    embedder(GASNN),
    _READS | {"heads"},
    "GA-SNN: the same with graph attention",
    {**_DEFAULTS, "timesteps": 4, "heads": 4},
    tasks=NODES_AND_LINKS,
)
