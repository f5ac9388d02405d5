"""The graph convolution of pseudo-Riemannian graph networks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from msg.graph import Graph, SparseMatrix
from msg.layers.graph_layer import GraphLayer
from msg.layers.hyperbolic_conv import make_act
from msg.layers.norm import make_norm
from msg.layers.origin import DropConnect
from msg.manifolds import PseudoHyperboloid

BIAS = 1e-4
"""Of all coordinates to begin with, as released."""


class PseudoHyperbolicGCNConv(GraphLayer):
    r"""Graph convolution between points of a pseudo-hyperboloid,

    .. math::
        m_j = \exp_o(W\log_o x_j) \oplus b, \qquad h_i = \exp_o\Bigl(\sum_j P_{ij}\log_o m_j\Bigr), \qquad
        x_i' = \exp_o\bigl(\sigma(\log_o h_i)\bigr),

    with :math:`P = D^{-1}(A + I)`, the maps of :class:`~msg.manifolds.PseudoHyperboloid` and its
    :meth:`~msg.manifolds.PseudoHyperboloid.translate` for :math:`\oplus`. An exponential map and the logarithm after it
    cancel, and are left out, but for the one that keeps vectors from the antipode of the pole.

    Source: `Xiong et al. 2022, Pseudo-Riemannian Graph Convolutional Networks <https://arxiv.org/abs/2106.03134>`_
    (NeurIPS).

    Args:
        in_channels: dimension of the points, or number of features with ``tangent=True``.
        manifold: of the points that are returned; its :math:`\beta` is a parameter of the layer.
        in_manifold: of the points that are read; needed where they are points.
        dropout: probability of dropping a weight in training (DropConnect).
        act: activation by name, or a module; ``None`` for none.
        bias: whether there is a ``b``.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of tangent vectors, before the activation.
        as_released: scale :math:`W \log_o x` to length one unless all coordinates are of time, as the released code
            does: a layer then forgets how far from the origin its input was.

    Shapes:
        ``x``: points ``[N, t + s]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns points in float64.
        With ``tangent=True``, ``x`` (dense or a :class:`~msg.graph.SparseMatrix`) and what is returned are vectors at
        the origin.

    Raises:
        ValueError: for impossible sizes, points without ``in_manifold``, or an unknown activation or norm.
    """

    def __init__(
        self,
        in_channels: int,
        manifold: PseudoHyperboloid,
        in_manifold: PseudoHyperboloid | None = None,
        dropout: float = 0.0,
        act: str | Callable | None = "relu",
        bias: bool = True,
        norm: str = "none",
        as_released: bool = False,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, manifold.dim
        self.manifold, self._in_manifold, self.as_released = manifold, (in_manifold,), as_released
        self.lin = DropConnect(in_channels, manifold.dim, dropout)
        self.bias = nn.Parameter(torch.empty(manifold.dim)) if bias else None
        self.norm, self.act = make_norm(norm, manifold.dim), make_act(act)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but the curvature."""
        self.lin.reset_parameters()
        if self.bias is not None:
            nn.init.constant_(self.bias, BIAS)
        reset(self.norm)
        reset(self.act)

    def forward(
        self,
        x: Tensor | SparseMatrix,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        tangent: bool = False,
    ) -> Tensor:
        graph, space = self.graph(x, edge_index, edge_weight), self.manifold
        if not tangent:
            before = self._in_manifold[0]
            if before is None or not isinstance(x, Tensor):
                raise ValueError("points are read through in_manifold: give it, or vectors with tangent=True")
            x = before.log0(x).to(self.lin.weight.dtype)
        u = self.lin(x)
        if self.as_released and space.space_dim:
            u = F.normalize(u)
        point = space.exp0(u)
        point = point if self.bias is None else space.translate(point, self.bias)
        u = graph.row_normalized(u.dtype).matmul(space.log0(point).to(u.dtype))
        u = self.act(self.norm(u))
        return u if tangent else space.exp0(u)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}, as_released={self.as_released}"
