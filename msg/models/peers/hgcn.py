"""Hyperbolic graph convolutional network."""

from collections.abc import Callable
from itertools import pairwise

import geoopt
import torch
from torch import Tensor, nn

from msg.graph import SparseMatrix
from msg.layers import Dropout, HyperbolicGCNConv, ManifoldPath, TangentHead, frame
from msg.manifolds import LearnedLorentz, curvature, resolve
from msg.manifolds.family import wide
from msg.models.network import GraphNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec
from msg.sizes import check_sizes


class HGCN(GraphNetwork):
    r"""Graph convolutions between hyperbolic spaces whose curvatures are learned, one each.

    Layers are :class:`~msg.layers.HyperbolicGCNConv`, the first one on features as tangent vectors at the origin
    (:math:`x^0 = \exp_o X`, whose logarithm cancels it); what they return is :math:`z = \exp_o^{c_L}(u^L)`, and logits
    are :math:`\log_o(z)\,W + b`. Without a bias and with ``aggregation="origin"`` every exponential map meets its
    logarithm, and the network is one of flat space with :math:`P = D^{-1}(A + I)`.

    Source: `Chami et al. 2019, Hyperbolic Graph Convolutional Neural Networks <https://arxiv.org/abs/1910.12933>`_
    (NeurIPS). The default is what published commands of its code run: learned curvature (for links of Cora and airport;
    others hold it at -1), neighbours averaged in the tangent space at the origin. The paper's equations weigh
    neighbours by attention and average in the tangent space of each node: that is ``attention=True,
    aggregation="local"``. It differs from the released code in these:

    - ``num_layers`` counts convolutions. The released one counts the read-out as a layer for node classification.
    - A curvature :math:`-c` is learned as :math:`c = e^a` (hyperboloid) or :math:`\ln(1 + e^a)` (ball, as in geoopt),
      so that it stays negative; the released code learns ``c`` itself.
    - Points are kept within a radius of ten in float64; the released ball cuts at 6.2 in float32. Squared distances are
      not cut at 50.
    - ``H16`` has sixteen dimensions; released, ``--dim 16`` on the hyperboloid counts the time coordinate.
    - Attention works along edges; released, on all pairs of nodes.

    Published settings of the released code: features scaled to sum 1 in each node (but for disease), width 16, Adam
    with rate 0.01, ReLU; dropout 0.5 and weight decay 1e-3 for links of Cora, 0.4 and 1e-4 for PubMed, 0 for disease
    and airport.

    Args:
        in_channels: number of features.
        out_channels: number of classes; ``None`` to return the points themselves, for link prediction: by
            :class:`~msg.layers.FermiDirac` as published.
        manifold: a ball or hyperboloid by signature, such as ``"P16"`` or ``"H16"``, or a geoopt manifold; its
            curvature is that of all layers to begin with.
        num_layers: number of convolutions.
        dropout: probability of dropping a weight of a convolution in training (DropConnect, as in the paper).
        hidden_channels: dimension, where ``manifold`` does not say it.
        learn_curvature: whether curvatures are learned.
        attention: weigh neighbours by their features.
        aggregation: ``"origin"`` or ``"local"``, the tangent space that neighbours are averaged in.
        act: activation by name, or a module; after every convolution.
        bias: whether convolutions have one.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of tangent vectors before each activation.
        residual: add the tangent vector that a convolution read, from the second one on.
        as_released: attention is :math:`\sigma(e_{ij})P_{ij}` in place of the paper's softmax, and ``dropout`` also
            drops logits, after the linear map of the read-out.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, but with the paper's
        attention; returns logits ``[N, C]``, or points ``[N, ambient_dim]`` in float64.

    Raises:
        ValueError: for a manifold that is not hyperbolic, impossible sizes, or an unknown aggregation, activation or
            norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        manifold: str | geoopt.Manifold = "P16",
        num_layers: int = 2,
        dropout: float = 0.0,
        hidden_channels: int | None = None,
        learn_curvature: bool = True,
        attention: bool = False,
        aggregation: str = "origin",
        act: str | Callable | None = "relu",
        bias: bool = True,
        norm: str = "none",
        residual: bool = False,
        as_released: bool = False,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers)
        space, dim = resolve(manifold, hidden_channels)
        spaces = [_hyperbolic(space, learn_curvature) for _ in range(num_layers + 1)]
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, dim
        self.num_layers, self.residual, self.as_released = num_layers, residual, as_released
        options = {
            "attention": attention,
            "aggregation": aggregation,
            "dropout": dropout,
            "act": act,
            "bias": bias,
            "norm": norm,
            "as_released": as_released,
        }
        sizes = [in_channels, *[dim] * num_layers]
        self.convs = nn.ModuleList(
            HyperbolicGCNConv(i, o, own, **options) for (i, o), own in zip(pairwise(sizes), spaces)
        )
        self.path = ManifoldPath(spaces[-1], dim, step_size=1.0, max_step=None)
        self.head = nn.Identity() if out_channels is None else TangentHead(spaces[-1], dim, out_channels)
        self.dropout = Dropout(dropout if as_released and out_channels is not None else 0.0)
        self._scale_head()

    @property
    def manifold(self) -> geoopt.Manifold:
        """Of the points."""
        return self.path.manifold

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but curvatures."""
        for conv in self.convs:
            conv.reset_parameters()  # pyright: ignore[reportCallIssue]
        if isinstance(self.head, TangentHead):
            self.head.reset_parameters()
            self._scale_head()

    @torch.no_grad()
    def _scale_head(self) -> None:
        """In a ball the published read-out begins with vectors of the chart, which are half as long."""
        if isinstance(self.head, TangentHead):
            self.head.lin.weight.div_(frame(self.manifold))

    def tangent(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """The vector at the origin that points to each node's point, ``[N, d]``, in geoopt's coordinates."""
        u, graph = self.prepare(x, edge_index, edge_weight)
        for number, conv in enumerate(self.convs):
            after = conv(u, graph, tangent=True)
            u = after + u if self.residual and number else after
        assert not isinstance(u, SparseMatrix)
        return u

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        z = self.path([frame(self.manifold) * self.tangent(x, edge_index, edge_weight).double()])
        return self.dropout(self.head(z))

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}, residual={self.residual}, as_released={self.as_released}"


def _hyperbolic(space: geoopt.Manifold, learn: bool) -> geoopt.Manifold:
    """A new manifold of the same kind and curvature."""
    if not isinstance(space, geoopt.Lorentz | geoopt.PoincareBall):
        raise ValueError(f"HGCN needs a hyperbolic space, 'H', 'L' or 'P', not {type(space).__name__}")
    c = -curvature(space)
    if isinstance(space, geoopt.PoincareBall):
        # geoopt writes into what it is given
        return geoopt.PoincareBall(c=wide(c), learnable=learn)
    return LearnedLorentz(1 / c) if learn else geoopt.Lorentz(k=wide(1 / c))


SPEC = ModelSpec(
    build=HGCN,
    reads=frozenset({"manifold", "num_layers", "dropout", "learn_curvature", "norm", "residual"}),
    about="hyperbolic graph convolutions in the tangent space, curvature learned",
    defaults={"manifold": "P16", "num_layers": 2, "learn_curvature": True},
    tasks=NODES_AND_LINKS,
    batches=True,
)
