"""SpikeGraphormer: a transformer of spikes among all nodes beside a graph network."""

from functools import partial

import torch
from torch import Tensor, nn

from msg.graph import Graph, SparseMatrix
from msg.layers import Dropout, MembraneShortcut, SpikeTrain, SpikingAttention, SpikingMLP, Synapse, make_train_norm
from msg.layers.spiking_attention import Fires, reset_all
from msg.models.network import GraphNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec, embedder
from msg.neurons import LIF, ParametricLIF, Sigmoid
from msg.neurons.scaled import below
from msg.neurons.timesteps import Timesteps
from msg.sizes import check_sizes

AGGREGATE = ("add", "cat")


def _fires(threshold: float, learn_tau: bool) -> SpikeTrain:
    neuron = (ParametricLIF if learn_tau else LIF)(2.0, threshold, "zero")
    return SpikeTrain(neuron, Sigmoid(4.0), decay_input=True)


class _Transformer(nn.Module):
    """The branch of spikes: features at every step, blocks of attention and MLP on real-valued streams, mean rates."""

    def __init__(self, in_channels: int, out_channels: int, channels: int, dropout: float, blocks: nn.ModuleList):
        super().__init__()
        self.embed = Synapse(nn.Linear(in_channels, channels))
        self.norm, self.act, self.dropout = nn.LayerNorm(channels), nn.ReLU(), Dropout(dropout)
        self.blocks, self.lin = blocks, nn.Linear(channels, out_channels)

    def forward(self, features: Tensor | SparseMatrix, graph: Graph, timesteps: int, fire: nn.Module) -> Tensor:
        h = self.act(self.norm(self.embed(features, graph)))
        # the same at every step, but what is dropped is drawn for each
        h = self.dropout(h[:, None].expand(-1, timesteps, -1))
        for block in self.blocks:
            h = block(h)
        return self.lin(fire(h).mean(1))


class _GraphBranch(nn.Module):
    """The branch of edges: a graph network as wide as there are classes, every layer with the first one's output."""

    def __init__(
        self, in_channels: int, channels: int, num_layers: int, dropout: float, norm: str, residual: bool, weights: bool
    ):
        super().__init__()
        self.embed = Synapse(nn.Linear(in_channels, channels))
        self.norms = nn.ModuleList(make_train_norm(norm, channels) for _ in range(num_layers + 1))
        self.lins = nn.ModuleList(
            nn.Linear(channels, channels) if weights else nn.Identity() for _ in range(num_layers)
        )
        self.act, self.dropout, self.residual = nn.ReLU(), Dropout(dropout), residual

    def forward(self, features: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        first, *norms = self.norms
        start = h = self.dropout(self.act(first(self.embed(features, graph))))
        adjacency = graph.normalized(h.dtype, add_self_loops=False)
        for lin, norm in zip(self.lins, norms):
            h = self.dropout(self.act(norm(lin(adjacency.matmul(h)))))
            h = h + start if self.residual else h
        return h


class SpikeGraphormer(GraphNetwork):
    r"""SpikeGraphormer: attention of spikes among all nodes, in linear time, beside a small graph network.

    The transformer sees the features at every step and no edges; currents flow past its neurons (membrane shortcuts),

    .. math::
        x_t &= \mathrm{dropout}(\mathrm{ReLU}(\mathrm{LayerNorm}(X W + b))), \qquad
        x \leftarrow x + \mathrm{attention}(x), \qquad x \leftarrow x + \mathrm{MLP}(x), \\
        y_1 &= \frac1T\sum_t \mathrm{neuron}(x)_t\,U + u,

    with :class:`~msg.layers.SpikingAttention` and :class:`~msg.layers.SpikingMLP`, twice as wide inside, in each block;
    the graph network is as wide as there are classes,

    .. math::
        h^0 = \mathrm{ReLU}(\mathrm{norm}(X V + c)), \qquad
        h^{l} = \mathrm{ReLU}(\mathrm{norm}(D^{-1/2} A D^{-1/2} h^{l-1} V^l + c^l))\ (+\ h^0), \qquad y_2 = h^L,

    with dropout after each ReLU, and the output is :math:`(w y_2 + (1-w) y_1) W + b`, or :math:`[y_1, y_2] W + b`.
    Neurons are leaky with :math:`\tau = 2`, reset to zero, and relax towards their input.

    Source: `Sun et al. 2024, SpikeGraphormer: A High-Performance Graph Transformer with Spiking Graph Attention
    <https://arxiv.org/abs/2403.15480>`_, with the constants of the `released code
    <https://github.com/PHD-lanyu/SpikeGraphormer>`_. The paper's attention adds :math:`k \odot v` of all *nodes*; the
    code adds those of the *heads* of one node, so that no node's attention sees another: ``as_released=True``. Left
    out are the code's layers that read :math:`[h, h^0]`, those without activation, and a weight decay for each branch.
    Its neurons also fire at the threshold, these above it; those of the mask, whose current is a count and meets its
    threshold often, do so too under ``as_released``. Cora was run there with ``timesteps=1, hidden_channels=16,
    num_blocks=3, dropout=0.7, learn_tau=True, num_layers=9, graph_weight=0.3, as_released=True`` and otherwise the
    defaults here. With few labels the transformer, which sees no edges, is easily too large: give the graph network the
    greater weight.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of the transformer.
        num_layers: number of convolutions of the graph network; 0 leaves its first linear map.
        num_blocks: number of blocks of the transformer.
        heads: number of heads, each as wide as the transformer.
        timesteps: ``T``.
        dropout: probability of dropping a number before the first block, in training.
        graph_dropout: the same after each ReLU of the graph network.
        threshold: of all neurons but those of the attention's mask.
        attention_threshold: of those.
        norm: of the graph network, ``"batch"``, ``"layer"`` or ``"none"``.
        residual: whether each of its layers adds the first one's output. The transformer's shortcuts are always there.
        weights: whether its convolutions have weights.
        graph_weight: ``w``; 0 leaves the graph network out.
        aggregate: ``"add"`` or ``"cat"``.
        learn_tau: one learnable time constant for each layer of neurons, in place of 2.
        as_released: sum over heads in place of nodes, in a mask that opens at its threshold.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes or weights, an unknown norm or aggregate; in training, for a graph of one node,
            if its single row is batch-normalised.
    """

    instead_on_a_part = "MSG"

    timesteps = Timesteps

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        num_blocks: int = 1,
        heads: int = 2,
        timesteps: int = 4,
        dropout: float = 0.0,
        graph_dropout: float = 0.0,
        threshold: float = 1.0,
        attention_threshold: float = 0.5,
        norm: str = "none",
        residual: bool = True,
        weights: bool = False,
        graph_weight: float = 0.8,
        aggregate: str = "add",
        learn_tau: bool = False,
        as_released: bool = False,
    ):
        super().__init__()
        check_sizes(0, num_layers=num_layers)
        check_sizes(num_blocks=num_blocks)
        if not 0 <= graph_weight <= 1:
            raise ValueError(f"graph_weight must be between 0 and 1, not {graph_weight}")
        if aggregate not in AGGREGATE:
            raise ValueError(f"unknown aggregate {aggregate!r}: use 'add' or 'cat'")
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.num_layers, self.num_blocks, self.timesteps = num_layers, num_blocks, timesteps
        self.graph_weight, self.aggregate, self.as_released = graph_weight, aggregate, as_released
        fires: Fires = partial(_fires, learn_tau=learn_tau)
        # a count is compared: to be above the next smaller number is to be at least the threshold
        mask_threshold = below(attention_threshold, torch.float32) if as_released else attention_threshold
        blocks = nn.ModuleList()
        for _ in range(num_blocks):
            attention = SpikingAttention(hidden_channels, heads, fires, threshold, mask_threshold, as_released)
            mlp = SpikingMLP(hidden_channels, 2 * hidden_channels, fires, threshold)
            blocks.append(nn.Sequential(MembraneShortcut(attention), MembraneShortcut(mlp)))
        self.transformer = _Transformer(in_channels, out_channels, hidden_channels, dropout, blocks)
        self.fire = fires(threshold)
        self.branch, self.lin = None, None
        if graph_weight > 0:
            self.branch = _GraphBranch(in_channels, out_channels, num_layers, graph_dropout, norm, residual, weights)
            self.lin = nn.Linear(out_channels * (2 if aggregate == "cat" else 1), out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from a truncated normal distribution of deviation 0.02, as published, biases zero."""
        reset_all(self)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        features, graph = self.prepare(x, edge_index, edge_weight)
        out = self.transformer(features, graph, self.timesteps, self.fire)
        if self.branch is None or self.lin is None:
            return out
        along = self.branch(features, graph)
        if self.aggregate == "cat":
            return self.lin(torch.cat([out, along], dim=-1))
        return self.lin(torch.lerp(out, along, self.graph_weight))

    def extra_repr(self) -> str:
        names = ("in_channels", "out_channels", "timesteps", "graph_weight", "aggregate", "as_released")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


SPEC = ModelSpec(
    embedder(SpikeGraphormer),
    frozenset(
        {
            "hidden_channels",
            "num_layers",
            "num_blocks",
            "timesteps",
            "dropout",
            "graph_dropout",
            "threshold",
            "norm",
            "residual",
            "heads",
            "graph_weight",
        }
    ),
    "attention of spikes among all nodes, in linear time, beside a graph network",
    {
        "hidden_channels": 64,
        "timesteps": 4,
        "threshold": 1.0,
        "norm": "none",
        "residual": True,
        "heads": 2,
    },
    tasks=NODES_AND_LINKS,
)
