"""Pseudo-Riemannian graph convolutional network."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from msg.graph import SparseMatrix
from msg.layers import PseudoHyperbolicGCNConv
from msg.manifolds import PseudoHyperboloid
from msg.models.network import GraphNetwork
from msg.models.spec import ModelSpec
from msg.sizes import check_sizes


class QGCN(GraphNetwork):
    r"""Graph convolutions on pseudo-hyperboloids, whose metric is indefinite: part sphere, part hyperbolic.

    Layers are :class:`~msg.layers.PseudoHyperbolicGCNConv`, the first one on features as tangent vectors at the origin;
    logits are :math:`\log_o(z)\,W + b`.

    Source: `Xiong et al. 2022, Pseudo-Riemannian Graph Convolutional Networks <https://arxiv.org/abs/2106.03134>`_
    (NeurIPS). It differs from the released code in these:

    - ``num_layers`` counts convolutions. The released one counts the read-out as a layer for node classification.
    - Features are the vector at the origin. Released, they are preceded by a one and pushed through :math:`\exp_o` and
      :math:`\log_o` first, which turns the first ``time_dim`` of them modulo :math:`2\pi`.
    - :math:`|\beta|` is learned as :math:`e^a`, one a convolution, so that it stays positive.
    - Vectors on the sphere are cut at 0.9 of the way to the antipode of the pole, where the logarithm is singular.
    - It classifies nodes only: the released distance, which adds a length to a squared one for points without a
      geodesic, is left out, and so is link prediction.

    The hyper-parameters of the published results are not in the repository; ``time_dim`` is ours.

    Args:
        in_channels: number of features.
        out_channels: number of classes.
        hidden_channels: dimension, one less than the coordinates ``t + s`` of a point.
        num_layers: number of convolutions.
        time_dim: coordinates of time ``t``, of ``hidden_channels + 1``; ``None`` for half of them.
        dropout: probability of dropping a weight of a convolution in training (DropConnect).
        learn_curvature: whether each :math:`\beta` is learned.
        act: activation by name, or a module; after every convolution.
        bias: whether convolutions have one.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of tangent vectors before each activation.
        residual: add the tangent vector that a convolution read, from the second one on.
        as_released: scale what a linear map gives to length one, see :class:`~msg.layers.PseudoHyperbolicGCNConv`.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, or an unknown activation or norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 16,
        num_layers: int = 2,
        time_dim: int | None = None,
        dropout: float = 0.0,
        learn_curvature: bool = True,
        act: str | Callable | None = "relu",
        bias: bool = True,
        norm: str = "none",
        residual: bool = False,
        as_released: bool = False,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers)
        time = (hidden_channels + 1) // 2 if time_dim is None else time_dim
        if not 1 <= time <= hidden_channels + 1:
            raise ValueError(f"time_dim must be 1 to hidden_channels + 1 = {hidden_channels + 1}, not {time}")
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.num_layers, self.time_dim, self.residual = num_layers, time, residual
        options = {"dropout": dropout, "act": act, "bias": bias, "norm": norm, "as_released": as_released}
        self.convs = nn.ModuleList(
            PseudoHyperbolicGCNConv(
                width, PseudoHyperboloid(time, hidden_channels + 1 - time, learnable=learn_curvature), **options
            )
            for width, _ in pairwise([in_channels, *[hidden_channels] * num_layers])
        )
        self.lin = nn.Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but curvatures."""
        for part in (*self.convs, self.lin):
            part.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        u, graph = self.prepare(x, edge_index, edge_weight)
        for number, conv in enumerate(self.convs):
            after = conv(u, graph, tangent=True)
            u = after + u if self.residual and number else after
        assert not isinstance(u, SparseMatrix)
        return self.lin(u)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}, time_dim={self.time_dim}, residual={self.residual}"


SPEC = ModelSpec(
    build=QGCN,
    reads=frozenset({"hidden_channels", "num_layers", "dropout", "learn_curvature", "norm", "residual"}),
    about="graph convolutions on pseudo-hyperboloids, part sphere, part hyperbolic",
    defaults={"hidden_channels": 16, "num_layers": 2, "learn_curvature": True},
    batches=True,
)
