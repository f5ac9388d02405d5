"""The graph convolution of gyrovector spaces of any constant curvature, and logits by hyperplanes in them."""

import math
from collections.abc import Callable

import geoopt
import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from msg.graph import Graph, SparseMatrix
from msg.layers.graph_layer import GraphLayer
from msg.layers.hyperbolic_conv import make_act
from msg.layers.norm import make_norm
from msg.layers.origin import DropConnect, OnManifold, OriginExp, OriginLog, as_manifold
from msg.manifolds import gyromidpoint, gyroplane_logits


def stereographic(manifold: str | geoopt.Manifold) -> geoopt.Stereographic:
    """A κ-stereographic model, or a new one by its letter.

    Raises:
        ValueError: for any other manifold.
    """
    found = as_manifold(manifold)
    if not isinstance(found, geoopt.Stereographic):
        raise ValueError(f"gyrovectors need the κ-stereographic model, not {type(found).__name__}: use 'U' or 'P'")
    return found


class KappaGCNConv(GraphLayer):
    r"""Graph convolution between points of the κ-stereographic model, whose curvature may have any sign,

    .. math::
        X' = \exp_0\Bigl(\sigma\bigl(\log_0(\hat A \boxtimes_\kappa (X \otimes_\kappa W))\bigr)\Bigr), \qquad
        X \otimes_\kappa W = \exp_0(\log_0(X) W), \qquad
        (A \boxtimes_\kappa X)_i = \Bigl(\sum_j A_{ij}\Bigr) \otimes_\kappa m(A_{i\cdot}; X),

    with :math:`\hat A = D^{-1/2}(A + I)D^{-1/2}` and the weighted mean ``m`` of :func:`msg.manifolds.gyromidpoint`. At
    :math:`\kappa = 0` it is the graph convolution of Kipf and Welling.

    Source: `Bachmann, Bécigneul, Ganea 2020, Constant Curvature Graph Convolutional Networks
    <https://arxiv.org/abs/1911.05076>`_ (ICML).

    Args:
        in_channels: dimension of the points, or number of features with ``tangent=True``.
        out_channels: dimension of the points that are returned.
        manifold: :class:`geoopt.Stereographic` or a subclass, or a letter: ``"U"`` learns its curvature from 0, ``"P"``
            is the Poincaré ball.
        dropout: probability of dropping a weight in training.
        act: activation by name, or a module; ``None`` for none.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of tangent vectors, before the activation.
        shared: whether another module registers the manifold, so that a learned curvature is no parameter here.

    Shapes:
        ``x``: points ``[N, in]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, not negative; returns points
        ``[N, out]`` in float64. With ``tangent=True``, ``x`` (dense or a :class:`~msg.graph.SparseMatrix`) and what is
        returned are vectors at the origin, in the chart.

    Raises:
        ValueError: for impossible sizes, another manifold, or an unknown activation or norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        manifold: str | geoopt.Manifold = "U",
        dropout: float = 0.0,
        act: str | Callable | None = "relu",
        norm: str = "none",
        shared: bool = False,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        space = stereographic(manifold)
        self._manifold, self._own = (space,), None if shared else space
        self.lin = DropConnect(in_channels, out_channels, dropout, gain=1.0)
        self.norm, self.act = make_norm(norm, out_channels), make_act(act)
        self.exp, self.log = OriginExp(space), OriginLog(space)

    @property
    def manifold(self) -> geoopt.Stereographic:
        """Of the points."""
        return self._manifold[0]

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but the curvature."""
        for part in (self.lin, self.norm, self.act):
            reset(part)

    def forward(
        self,
        x: Tensor | SparseMatrix,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        tangent: bool = False,
    ) -> Tensor:
        graph, dtype = self.graph(x, edge_index, edge_weight), self.lin.weight.dtype
        if not tangent:
            assert isinstance(x, Tensor)
            x = self.log(x, dtype)
        points, adjacency = self.exp(self.lin(x)), graph.normalized(torch.float64)
        total = adjacency.matmul(points.new_ones(points.size(0), 1))
        # r ⊗ m = exp_0(r log_0 m)
        u = (total * self.log(gyromidpoint(self.manifold, points, adjacency), torch.float64)).to(dtype)
        u = self.act(self.norm(u))
        return u if tangent else self.exp(u)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}"


class GyroplaneHead(OnManifold):
    r"""Logits by signed distances to hyperplanes, see :func:`msg.manifolds.gyroplane_logits`.

    The points :math:`p_c` on the hyperplanes are learned as vectors at the origin, so that any optimiser keeps them on
    the manifold; they begin near the origin, with a standard deviation of 0.01.

    Args:
        manifold: of the points, as of :class:`KappaGCNConv`. It stays the layer's: its curvature is no parameter here.
        in_channels: dimension ``d`` of the points.
        out_channels: number of classes ``C``.

    Shapes:
        ``z``: ``[N, d]``; returns ``[N, C]`` in the dtype of the weights.
    """

    def __init__(self, manifold: geoopt.Stereographic, in_channels: int, out_channels: int):
        super().__init__(stereographic(manifold))
        self.offset = nn.Parameter(torch.empty(out_channels, in_channels))
        self.normal = nn.Parameter(torch.empty(out_channels, in_channels))
        self.exp = OriginExp(manifold)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw hyperplanes anew."""
        nn.init.normal_(self.offset, std=0.01)
        nn.init.kaiming_uniform_(self.normal, a=math.sqrt(5))

    def forward(self, z: Tensor) -> Tensor:
        manifold = stereographic(self.manifold)
        logits = gyroplane_logits(manifold, z, self.exp(self.offset), self.normal)
        return logits.to(self.normal.dtype)
