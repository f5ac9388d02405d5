"""Fully hyperbolic graph network."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from msg.layers import LorentzAggregation, LorentzHead, LorentzianDecoder, LorentzLinear
from msg.manifolds import parse_signature
from msg.manifolds.lorentz import lift
from msg.models.network import GraphNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec
from msg.sizes import check_sizes


class HyboNet(GraphNetwork):
    r"""Graph network that works in the coordinates of the hyperboloid of curvature -1, without tangent spaces.

    A convolution is a :class:`~msg.layers.LorentzLinear` and the centroid of a node and its neighbours
    (:class:`~msg.layers.LorentzAggregation`); features are :math:`x^0 = \exp_o X`, and logits squared Lorentzian
    distances to a point for each class (:class:`~msg.layers.LorentzHead`).

    Source: `Chen et al. 2022, Fully Hyperbolic Neural Networks <https://arxiv.org/abs/2105.14686>`_ (ACL). It differs
    from the released code in these:

    - ``num_layers`` counts convolutions. The released one counts the read-out as a layer for node classification.
    - Neighbours are not weighed by attention, which the released code has as an option.
    - ``hidden_channels`` is the dimension; released, ``--dim`` counts the time coordinate.
    - Points of classes are learned as vectors at the origin, by any optimiser; released, by a Riemannian Adam.
    - Links are scored as :math:`(r - d_L^2)/t` for cross-entropy (``link_decoder``); released, by a hinge on
      :math:`-d_L^2`.
    - Geometry is computed in float64, within a radius of ten.

    Published settings of the released code: features scaled to sum 1 in each node (but for disease). Nodes of Cora:
    rate 0.02, width 16, 3 layers, dropout 0.9, weight decay 0.01, margin 1, gradients clipped to a norm of 1; of
    PubMed: the same with dropout 0.8, weight decay 1e-3, clipped to 0.5; of airport: 6 layers, ReLU, dropout 0, weight
    decay 1e-4, margin 2, clipped to 1. Weights only decay, not biases, scales nor points of classes.

    Args:
        in_channels: number of features.
        out_channels: number of classes; ``None`` to return the points themselves, for link prediction.
        hidden_channels: dimension.
        num_layers: number of convolutions.
        dropout: probability of dropping a coordinate of what a linear map reads, in training.
        act: activation by name, or a module, before every linear map but the first; ``None``, as for most of the
            published results, for none.
        margin: of the hinge loss.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of what a linear map gives, before it is put on the hyperboloid.
        residual: return the centroid of what a convolution read and what it gives, from the second one on.
        as_released: see :class:`~msg.layers.LorentzLinear`.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, not negative; returns
        logits ``[N, C]``, or points ``[N, d + 1]`` in float64.

    Raises:
        ValueError: for impossible sizes, or an unknown activation or norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        hidden_channels: int = 16,
        num_layers: int = 2,
        dropout: float = 0.0,
        act: str | Callable | None = None,
        margin: float = 1.0,
        norm: str = "none",
        residual: bool = False,
        as_released: bool = False,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers)
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.num_layers, self.margin, self.residual = num_layers, margin, residual
        self.manifold, _ = parse_signature(f"H{hidden_channels}")
        sizes = [in_channels, *[hidden_channels] * num_layers]
        self.lins = nn.ModuleList(
            LorentzLinear(i, o, dropout, act if number else None, norm, as_released)
            for number, (i, o) in enumerate(pairwise(sizes))
        )
        self.aggregation = LorentzAggregation()
        self.head = None if out_channels is None else LorentzHead(hidden_channels, out_channels)
        self.link_decoder = LorentzianDecoder() if out_channels is None else None

    def reset_parameters(self) -> None:
        """Reset all learnable parameters."""
        for part in (*self.lins, self.head):
            if part is not None:
                part.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        features, graph = self.prepare(x, edge_index, edge_weight)
        z = self.aggregation(self.lins[0](features, tangent=True), graph)
        for lin in self.lins[1:]:
            after = self.aggregation(lin(z), graph)
            z = midpoint(z, after) if self.residual else after
        return z if self.head is None else self.head(z)

    def criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        r"""The published loss, :math:`\frac{1}{NC}\sum_{i,c}\max(0, m - \ell_{iy_i} + \ell_{ic})`, the correct class
        among the others: it adds the constant :math:`m/C`.
        """
        correct = logits.gather(1, labels[:, None])
        return (self.margin - correct + logits).relu().mean()

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}, margin={self.margin:g}, residual={self.residual}"


def midpoint(x: Tensor, y: Tensor) -> Tensor:
    """The centroid of two points, row by row."""
    total = x + y
    # the sum of points of one sheet is time-like, of length 2 or more
    length = (total[:, :1].square() - total[:, 1:].square().sum(-1, keepdim=True)).clamp(min=4).sqrt()
    return lift(total[:, 1:] / length)


SPEC = ModelSpec(
    build=HyboNet,
    reads=frozenset({"hidden_channels", "num_layers", "dropout", "norm", "residual"}),
    about="fully hyperbolic network in coordinates of the hyperboloid, hinge loss",
    defaults={"hidden_channels": 16, "num_layers": 2},
    tasks=NODES_AND_LINKS,
    batches=True,
    own_loss=True,
)
