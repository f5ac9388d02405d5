"""The graph convolution of hyperbolic graph neural networks, in the tangent space at the origin."""

from collections.abc import Callable

import geoopt
import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset
from torch_geometric.nn.resolver import activation_resolver
from torch_geometric.utils import softmax

from msg.graph import Graph, SparseMatrix
from msg.layers.graph_layer import GraphLayer
from msg.layers.norm import make_norm
from msg.layers.origin import DropConnect, LocalMean, OriginExp, OriginLog, Translation, as_manifold
from msg.manifolds.lookup import family

AGGREGATIONS = ("origin", "local")


def make_act(act: str | Callable | None) -> nn.Module:
    """An activation by name, as PyG resolves it; ``None`` is the identity."""
    return nn.Identity() if act is None else activation_resolver(act)


class EdgeAttention(nn.Module):
    r"""Weights of edges from a linear map of the two ends, :math:`e_{ij} = w^\top[u_i\,\|\,u_j] + b`.

    Args:
        channels: width of ``u``.
        as_released: :math:`\sigma(e_{ij}) P_{ij}`, as the released code weighs, in place of the paper's softmax over
            the neighbours of ``i``.

    Shapes:
        ``u``: ``[N, d]``; ``target``, ``source``, ``mean``: ``[E]``; returns ``[E]``.
    """

    def __init__(self, channels: int, as_released: bool = False):
        super().__init__()
        self.lin = nn.Linear(2 * channels, 1)
        self.as_released = as_released

    def reset_parameters(self) -> None:
        """Reset the linear map."""
        self.lin.reset_parameters()

    def forward(self, u: Tensor, target: Tensor, source: Tensor, mean: Tensor) -> Tensor:
        here, there = self.lin.weight[0].chunk(2)
        score = (u @ here)[target] + (u @ there)[source] + self.lin.bias
        if self.as_released:
            return score.sigmoid() * mean.to(u.dtype)
        return softmax(score, target, num_nodes=u.size(0))


class HyperbolicGCNConv(GraphLayer):
    r"""Graph convolution between points of a hyperbolic space,

    .. math::
        m_j = \exp_o(W\log_o x_j) \oplus \exp_o(b), \qquad
        h_i = \exp_o\Bigl(\sum_j P_{ij}\log_o m_j\Bigr), \qquad
        x_i' = \exp_o^{c'}\bigl(\sigma(\log_o^{c} h_i)\bigr),

    with :math:`P = D^{-1}(A + I)` and :math:`m \oplus \exp_o(b) = \exp_m(PT_{o \to m} b)`. An exponential map and the
    logarithm after it cancel, and are left out: only the bias, local aggregation and what comes in or goes out as a
    point need the manifold. Its maps are computed in float64, all else in the dtype of the weights.

    Source: `Chami et al. 2019, Hyperbolic Graph Convolutional Neural Networks <https://arxiv.org/abs/1910.12933>`_
    (NeurIPS).

    Args:
        in_channels: dimension of the points, or number of features with ``tangent=True``.
        out_channels: dimension of the points that are returned.
        manifold: of the points: a geoopt manifold (any that :mod:`msg.manifolds` knows), or the letter of one. A
            learnable curvature is a parameter of the layer.
        out_manifold: of the points that are returned, where its curvature is another.
        attention: weigh neighbours by their features (:class:`EdgeAttention`) in place of :math:`P`.
        aggregation: ``"origin"``, as above, or ``"local"``: in the tangent space at each node,
            :math:`h_i = \exp_{m_i}(\sum_j w_{ij}\log_{m_i} m_j)`.
        dropout: probability of dropping a weight in training (DropConnect).
        act: activation by name, or a module; ``None`` for none.
        bias: whether there is a ``b``.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of tangent vectors, before the activation.
        as_released: see :class:`EdgeAttention`.

    Shapes:
        ``x``: points ``[N, ambient_dim]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns points in
        float64. With ``tangent=True``, ``x`` (dense or a :class:`~msg.graph.SparseMatrix`) and what is returned are
        vectors at the origin, ``[N, in]`` and ``[N, out]``, in the coordinates that geoopt gives them: the chart's, in
        the ball.

    Raises:
        ValueError: for impossible sizes, or an unknown manifold, aggregation, activation or norm; when called, for
            points of another dimension.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        manifold: str | geoopt.Manifold = "L",
        out_manifold: geoopt.Manifold | None = None,
        attention: bool = False,
        aggregation: str = "origin",
        dropout: float = 0.0,
        act: str | Callable | None = "relu",
        bias: bool = True,
        norm: str = "none",
        as_released: bool = False,
    ):
        super().__init__()
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {aggregation!r}: use one of {', '.join(AGGREGATIONS)}")
        self.in_channels, self.out_channels, self.aggregation = in_channels, out_channels, aggregation
        self.manifold = as_manifold(manifold)
        self.out_manifold = out_manifold
        self.lin = DropConnect(in_channels, out_channels, dropout)
        self.bias = Translation(self.manifold, out_channels) if bias else None
        self.attention = EdgeAttention(out_channels, as_released) if attention else None
        self.local = LocalMean(self.manifold) if aggregation == "local" else None
        self.norm, self.act = make_norm(norm, out_channels), make_act(act)
        self.exp, self.log = OriginExp(out_manifold or self.manifold), OriginLog(self.manifold)

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but the curvature."""
        for part in (self.lin, self.bias, self.attention, self.norm, self.act):
            reset(part)

    def forward(
        self,
        x: Tensor | SparseMatrix,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        tangent: bool = False,
    ) -> Tensor:
        graph = self.graph(x, edge_index, edge_weight)
        if not tangent:
            assert isinstance(x, Tensor)
            size = family(self.manifold).ambient_dim(self.manifold, self.in_channels)
            if x.size(-1) != size:
                raise ValueError(
                    f"points here have {size} coordinates, not {x.size(-1)}: of features, use tangent=True"
                )
            x = self.log(x, self.lin.weight.dtype)
        u = self.lin(x)
        u = u if self.bias is None else self.bias(u)
        u = self.act(self.norm(self._aggregate(u, graph)))
        return u if tangent else self.exp(u)

    def _aggregate(self, u: Tensor, graph: Graph) -> Tensor:
        mean = graph.row_normalized(u.dtype)
        if self.attention is None and self.local is None:
            return mean.matmul(u)
        target, source, weight = mean.entries()
        if self.attention is not None:
            if graph.edge_weight is not None and not self.attention.as_released:
                raise ValueError(
                    "attention weighs edges itself and reads no edge_weight: pass none, or attention=False"
                )
            weight = self.attention(u, target, source, weight)
        if self.local is None:
            return torch.zeros_like(u).index_add(0, target, weight[:, None] * u[source])
        return self.local(u, target, source, weight)

    def extra_repr(self) -> str:
        """Sizes and aggregation."""
        return f"{self.in_channels}, {self.out_channels}, aggregation={self.aggregation!r}"
