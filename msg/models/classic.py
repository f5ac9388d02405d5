"""GCN, GraphSAGE and GAT as they are strong: with a normalisation, residual connections and jumping knowledge."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from msg.graph import SparseMatrix
from msg.layers import Dropout, Synapse, check_classifier, make_classifier, make_norm
from msg.models.network import LayeredNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec
from msg.models.walk import Walk
from msg.names import Jumping, Norm
from msg.sizes import check_sizes


class ClassicGNN(LayeredNetwork):
    r"""Convolutions, each with a residual connection, a normalisation, ReLU and dropout, and a linear read-out:

    .. math::
        h^l = \operatorname{dropout}\bigl(\operatorname{ReLU}(\operatorname{norm}(
        \operatorname{conv}^l(h^{l-1}) + h^{l-1} R^l))\bigr), \qquad y = \operatorname{jump}(h^1, .., h^L)\,W + b .

    Source: `Luo et al. 2024, Classic GNNs are Strong Baselines <https://arxiv.org/abs/2406.08993>`_. Their settings
    differ between graphs; here they are options, and no graph has its own. In the released code jumping knowledge is
    the sum of all layers, a normalisation or a linear map can stand before the first one, GAT has no bias and no loops
    of its own, and the graph is given a loop at each node beforehand: GraphSAGE's mean includes the node itself.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes; ``None`` to embed nodes in the hidden width.
        hidden_channels: width of all layers.
        num_layers: number of convolutions ``L``.
        conv: ``"gcn"``, ``"sage"`` or ``"gat"``; or ``"linear"``: each node by itself, an MLP, which with propagated
            predictions (:class:`~msg.models.Propagated`) is APPNP (`Gasteiger et al. 2019
            <https://arxiv.org/abs/1810.05997>`_).
        dropout: probability, after each layer.
        norm: ``"batch"``, ``"layer"`` or ``"none"``.
        residual: whether what enters a layer is added, through weights of its own, before the normalisation.
        jumping: ``"cat"`` or ``"max"`` of all layers is read out, or with ``"none"`` the last one.
        heads: of GAT, each ``hidden_channels / heads`` wide.
        classifier: what reads classes out, ``"linear"``, or ``"fixed"``: directions that are not learned, see
            :class:`~msg.layers.FixedLinear`. Without classes the map is learned.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, but for GAT; returns
        ``[N, C]``, or one row for each seed of a batch.

    Raises:
        ValueError: for impossible sizes, or unknown names; when called, for edge weights that GAT cannot honour.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None,
        hidden_channels: int = 64,
        num_layers: int = 2,
        conv: str = "gcn",
        dropout: float = 0.5,
        norm: Norm = "none",
        residual: bool = False,
        jumping: Jumping = "none",
        heads: int = 1,
        classifier: str = "linear",
    ):
        super().__init__()
        check_classifier(classifier)
        check_sizes(num_layers=num_layers)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_layers, self.jumping = hidden_channels, num_layers, jumping
        widths = [in_channels, *[hidden_channels] * (num_layers - 1)]
        self.layers = nn.ModuleList(Synapse(_convolution(conv, width, hidden_channels, heads)) for width in widths)
        self.residuals = nn.ModuleList(Synapse(nn.Linear(width, hidden_channels)) for width in widths if residual)
        self.norms = nn.ModuleList(make_norm(norm, hidden_channels) for _ in widths)
        self.act, self.dropout = nn.ReLU(), Dropout(dropout)
        read = hidden_channels * num_layers if jumping == "cat" else hidden_channels
        if jumping not in get_args(Jumping):
            raise ValueError(f"unknown jumping {jumping!r}: use 'none', 'cat' or 'max'")
        self.lin = (
            nn.Linear(read, hidden_channels)
            if out_channels is None
            else make_classifier(classifier, read, out_channels)
        )

    def reset_parameters(self) -> None:
        """Reset all layers and the read-out."""
        for module in (*self.layers, *self.residuals, *self.norms, self.lin):
            if not isinstance(module, nn.Identity):
                module.reset_parameters()  # pyright: ignore[reportCallIssue]

    @property
    def hops(self) -> int:
        """One a convolution that aggregates."""
        return sum(self._reach)

    @property
    def _reach(self) -> list[int]:
        return [layer.hops for layer in self.layers]  # pyright: ignore[reportReturnType]

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
    ) -> Tensor:
        batch = batch_size, num_sampled_nodes_per_hop, num_sampled_edges_per_hop
        h, graph = self.prepare(x, edge_index, edge_weight, *batch)
        found: list[Tensor] = []
        for number, part in enumerate(graph.along(self._reach)):
            h = self._layer(number, h, part)
            found.append(h)
        return self._read(found)

    def _layer(self, number: int, h: Tensor | SparseMatrix, graph) -> Tensor:
        out = self.layers[number](h, graph)
        if self.residuals:
            own = self.residuals[number](h, graph)
            out = out + own[: out.size(0)]  # of a batch, those that receive come first
        return self.dropout(self.act(self.norms[number](out)))

    def _read(self, found: list[Tensor]) -> Tensor:
        rows = found[-1].size(0)
        if self.jumping == "none":
            return self.lin(found[-1])
        seeds = [h[:rows] for h in found]
        return self.lin(torch.cat(seeds, -1) if self.jumping == "cat" else torch.stack(seeds).amax(0))

    def _walk(self, walk: Walk, features: Tensor | SparseMatrix) -> Tensor:
        h, found = features, []
        for number, reach in enumerate(self._reach):
            (h,) = walk.over(lambda x, graph, _, n=number: (self._layer(n, x, graph),), h, reach)
            found.append(h)
        return self._read([one.to(self.lin.weight.device) for one in found]).cpu()

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, jumping={self.jumping!r}"


def _convolution(conv: str, width: int, out: int, heads: int) -> nn.Module:
    kinds: dict[str, Callable[[], nn.Module]] = {
        "gcn": lambda: GCNConv(width, out),
        "sage": lambda: SAGEConv(width, out),
        "gat": lambda: GATConv(width, out // heads, heads),
        "linear": lambda: nn.Linear(width, out),
    }
    if conv not in kinds:
        raise ValueError(f"unknown conv {conv!r}: use {', '.join(map(repr, kinds))}")
    if conv == "gat" and out % heads:
        raise ValueError(f"hidden_channels={out} cannot be divided into {heads} heads")
    return kinds[conv]()


def _spec(conv: str, about: str, *more: str) -> ModelSpec:
    reads = frozenset({"hidden_channels", "num_layers", "dropout", "norm", "residual", "jumping", "classifier", *more})
    return ModelSpec(partial(ClassicGNN, conv=conv), reads, about, tasks=NODES_AND_LINKS, batches=True)


GCN_SPEC = _spec("gcn", "GCN with the normalisation, residual connections and jumping knowledge it is strong with")
SAGE_SPEC = _spec("sage", "GraphSAGE with the same")
GAT_SPEC = _spec("gat", "GAT with the same", "heads")
MLP_SPEC = _spec("linear", "MLP with the same; with propagated predictions APPNP")
