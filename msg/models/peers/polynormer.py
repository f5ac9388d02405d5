"""Polynormer: gated layers along edges, then linear attention of all nodes."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.attention import PolynormerAttention

from msg.graph import Graph, SparseMatrix
from msg.kernels.tracing import exporting, traced
from msg.layers import Dropout, Synapse
from msg.layers.synapse import gcn_conv
from msg.models.network import GraphNetwork
from msg.models.spec import ModelSpec
from msg.sizes import check_sizes

BETA = 0.9


class _Local(nn.Module):
    """A local layer: what its neighbours say, gated by what a node says itself."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float):
        super().__init__()
        self.gate, self.lin = (Synapse(nn.Linear(in_channels, out_channels)) for _ in range(2))
        self.conv = Synapse(gcn_conv(in_channels, out_channels))
        self.batch_norm, self.norm = nn.BatchNorm1d(out_channels), nn.LayerNorm(out_channels)
        self.act, self.dropout = nn.ReLU(), Dropout(dropout)

    def reset_parameters(self) -> None:
        for part in (self.gate, self.lin, self.conv, self.batch_norm, self.norm):
            part.reset_parameters()

    def forward(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        gate = self.act(self.gate(x, graph))
        heard = self.dropout(self.act(self.batch_norm(self.conv(x, graph) + self.lin(x, graph))))
        return torch.lerp(self.norm(gate * heard), heard, BETA)


class Polynormer(GraphNetwork):
    r"""Polynomial-expressive graph transformer: gated layers along edges, then linear attention of all nodes.

    .. math::
        g &= \mathrm{ReLU}(h^{l-1} V^l + a^l), \qquad
        m = \mathrm{dropout}\bigl(\mathrm{ReLU}(\mathrm{norm}(\hat A h^{l-1} W^l + b^l + h^{l-1} U^l + c^l))\bigr), \\
        h^l &= (1 - \beta)\,\mathrm{LayerNorm}(g \odot m) + \beta\,m, \qquad s = \sum_l h^l,

    with batch normalisation and :math:`\beta = 0.9`. The first ``warm_up`` updates train these layers under a read-out
    of their own, :math:`\log\mathrm{softmax}(s\,P + p)`; in all later ones :math:`\mathrm{LayerNorm}(s)` goes through
    :class:`torch_geometric.nn.attention.PolynormerAttention` among all nodes, and what comes out is read. How many
    updates there were is kept with the weights, so that those of the best epoch are read out as they were trained. What
    is not read in a phase has no gradient in it (:attr:`resting`). Under ``torch.compile`` updates are counted outside
    of the graph.

    The function of :class:`torch_geometric.nn.models.Polynormer` as it is by default, which reads dense features alone
    and lays out messages. The authors' code is another: its local layers weigh neighbours by attention (GAT without a
    node's own loop) and have no batch normalisation, :math:`\beta` is learned for each channel, in the global layers
    too, and a linear map stands before the first local layer, of three.

    Source: `Deng et al. 2024, Polynormer: Polynomial-Expressive Graph Transformer in Linear Time
    <https://arxiv.org/abs/2403.01232>`_.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width. There is one head: with several, PyG's 2.8.1 fails in its global attention.
        num_layers: number of local layers.
        global_layers: number of global ones.
        dropout: probability, after each layer.
        input_dropout: probability of dropping a feature.
        warm_up: updates before global attention.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, of
        :math:`\hat A`; returns the logarithms of probabilities, ``[N, C]``.

    Raises:
        ValueError: for impossible sizes.
    """

    instead_on_a_part = "MSG"

    updates: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 7,
        global_layers: int = 2,
        dropout: float = 0.5,
        input_dropout: float = 0.15,
        warm_up: int = 100,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers, global_layers=global_layers)
        check_sizes(0, warm_up=warm_up)
        self.in_channels, self.out_channels, self.warm_up = in_channels, out_channels, warm_up
        widths = [in_channels, *[hidden_channels] * (num_layers - 1)]
        self.input_dropout = Dropout(input_dropout)
        self.layers = nn.ModuleList(_Local(width, hidden_channels, dropout) for width in widths)
        self.lin = nn.Linear(hidden_channels, out_channels)
        self.norm = nn.LayerNorm(hidden_channels)
        self.attention = nn.ModuleList(
            PolynormerAttention(hidden_channels, 1, hidden_channels, BETA, qk_shared=False, dropout=dropout)
            for _ in range(global_layers)
        )
        self.global_lin = nn.Linear(hidden_channels, out_channels)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._phase()

    def _phase(self) -> None:
        """Let all nodes attend to all once the warm-up is over."""
        self._global = int(self.updates) > self.warm_up

    @torch.compiler.disable
    def _count(self) -> None:
        self.updates += 1
        self._phase()

    @property
    def resting(self) -> list[nn.Parameter]:
        """Parameters that are not read in the present phase."""
        parts = (self.lin,) if self._global else (self.attention, self.global_lin, self.norm)
        return [parameter for part in parts for parameter in part.parameters()]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._phase()

    def reset_parameters(self) -> None:
        """Reset all weights; the schedule begins anew."""
        for part in (*self.layers, self.lin, self.norm, *self.attention, self.global_lin):
            part.reset_parameters()  # pyright: ignore[reportCallIssue]
        self.updates.zero_()
        self._phase()

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        h, graph = self.prepare(x, edge_index, edge_weight)
        if self.training and not exporting():
            self._count()  # pyright: ignore[reportCallIssue] - of the decorator
        elif not traced():  # else as it was last set
            self._phase()
        h, found = self.input_dropout(h), []
        for layer in self.layers:
            h = layer(h, graph)
            found.append(h)
        return F.log_softmax(self._read(sum(found[1:], start=found[0])), dim=-1)

    def _read(self, local: Tensor) -> Tensor:
        """Scores of what the local layers found, as the phase has it."""
        if not self._global:
            return self.lin(local)
        h = self.norm(local)[None]  # PyG's attends within each of several graphs
        for attention in self.attention:
            h = attention(h)
        return self.global_lin(h[0])

    def extra_repr(self) -> str:
        """Sizes and schedule."""
        return f"{self.in_channels}, {self.out_channels}, warm_up={self.warm_up}"


SPEC = ModelSpec(
    build=partial(Polynormer, input_dropout=0.0),  # a training drops features as it does for every model
    reads=frozenset({"hidden_channels", "num_layers", "dropout", "warm_up"}),
    about="Polynormer: local attention along edges, then linear attention of all nodes",
    defaults={"hidden_channels": 64},
)
