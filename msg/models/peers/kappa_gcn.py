"""Constant-curvature graph convolutional network."""

from collections.abc import Callable
from itertools import pairwise

import geoopt
from torch import Tensor, nn

from msg.layers import GyroplaneHead, KappaGCNConv, LearnedFermiDirac, ManifoldPath, frame
from msg.manifolds.family import wide
from msg.models.network import GraphNetwork
from msg.models.spec import NODES_AND_LINKS, ModelSpec
from msg.sizes import check_sizes


class KappaGCN(GraphNetwork):
    r"""Graph convolutions in the κ-stereographic model, whose one curvature is learned and may change its sign,

    .. math::
        H^{l+1} = \exp_0\Bigl(\sigma\bigl(\log_0(\hat A \boxtimes_\kappa (H^l \otimes_\kappa W^l))\bigr)\Bigr), \qquad
        H^0 = \exp_0 X, \qquad Y = \hat A\,\ell(H^{L-1}),

    with layers :class:`~msg.layers.KappaGCNConv` and logits :math:`\ell` of :class:`~msg.layers.GyroplaneHead`,
    aggregated once more: the last of ``num_layers`` convolutions. At :math:`\kappa = 0` it is the GCN of Kipf and
    Welling.

    Source: `Bachmann, Bécigneul, Ganea 2020, Constant Curvature Graph Convolutional Networks
    <https://arxiv.org/abs/1911.05076>`_ (ICML). No code of its authors is known, so initialisations are ours: Glorot's
    for ``W``, torch's own of linear maps for normals, hyperplanes near the origin. It differs from the paper in that
    the mean on a sphere is chosen as :func:`msg.manifolds.gyromidpoint` says, that there are no products of spaces, and
    that features are read as they are, vectors at the origin, where on a sphere the logarithm of :math:`\exp_0 X` is
    another vector once they are longer than half a turn.

    Published: width 16, two layers, one curvature learned. Its learning rates are not known here.

    Args:
        in_channels: number of features.
        out_channels: number of classes; ``None`` to return the points themselves, for link prediction. They are then
            those of ``num_layers`` convolutions, and ``link_decoder`` scores pairs by :math:`(r - d^2)/t` with ``r``
            and ``t`` learned.
        hidden_channels: dimension.
        num_layers: number of convolutions, at least 2 with classes.
        curvature: :math:`\kappa` to begin with.
        dropout: probability of dropping a weight of a convolution in training; the paper names none.
        learn_curvature: whether it is learned.
        act: activation by name, or a module.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of tangent vectors before each activation.
        residual: add the tangent vector that a convolution read, from the second one on.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, not negative; returns
        logits ``[N, C]``, or points ``[N, d]`` in float64.

    Raises:
        ValueError: for impossible sizes, or an unknown activation or norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        hidden_channels: int = 16,
        num_layers: int = 2,
        curvature: float = 0.0,
        dropout: float = 0.0,
        learn_curvature: bool = True,
        act: str | Callable | None = "relu",
        norm: str = "none",
        residual: bool = False,
    ):
        super().__init__()
        of_logits = 0 if out_channels is None else 1
        check_sizes(1 + of_logits, num_layers=num_layers)
        hidden = num_layers - of_logits
        space = geoopt.Stereographic(k=wide(curvature), learnable=learn_curvature)
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.num_layers, self.residual = num_layers, residual
        sizes = [in_channels, *[hidden_channels] * hidden]
        self.path = ManifoldPath(space, hidden_channels, step_size=1.0, max_step=None)
        self.convs = nn.ModuleList(
            KappaGCNConv(i, o, space, dropout, act, norm, shared=True) for i, o in pairwise(sizes)
        )
        self.head = None if out_channels is None else GyroplaneHead(space, hidden_channels, out_channels)
        self.link_decoder = LearnedFermiDirac(space) if out_channels is None else None

    @property
    def manifold(self) -> geoopt.Stereographic:
        """Of the points; its ``k`` is the curvature."""
        return self.path.manifold  # pyright: ignore[reportReturnType]

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but the curvature."""
        for part in (*self.convs, self.head, self.link_decoder):
            if part is not None:
                part.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        u, graph = self.prepare(x, edge_index, edge_weight)
        for number, conv in enumerate(self.convs):
            after = conv(u, graph, tangent=True)
            u = after + u if self.residual and number else after
        assert isinstance(u, Tensor)
        z = self.path([frame(self.manifold) * u.double()])
        if self.head is None:
            return z
        return graph.normalized(u.dtype).matmul(self.head(z))

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}, residual={self.residual}"


SPEC = ModelSpec(
    build=KappaGCN,
    reads=frozenset({"hidden_channels", "num_layers", "dropout", "learn_curvature", "norm", "residual"}),
    about="graph convolutions in a space whose curvature, of any sign, is learned",
    defaults={"hidden_channels": 16, "num_layers": 2, "learn_curvature": True},
    tasks=NODES_AND_LINKS,
    batches=True,
)
