"""From a point on a manifold to logits."""

import geoopt
from torch import Tensor

from msg.layers.classifier import make_classifier
from msg.layers.dropout import Dropout
from msg.layers.origin import OnManifold
from msg.manifolds import log0


class TangentHead(OnManifold):
    r"""Logits linear in the logarithm at the origin: :math:`\log_o(z)\,W + b`.

    Args:
        manifold: of the points. It stays the path's: its curvature is not among the parameters here.
        hidden_channels: intrinsic dimension ``d``.
        out_channels: number of classes ``C``.
        dropout: probability of dropping a coordinate of the logarithm, in training.
        classifier: ``"linear"``, or ``"fixed"``: :math:`W` is a :class:`~msg.layers.FixedLinear`'s.

    Shapes:
        ``z``: ``[N, ambient_dim]`` in float64; returns ``[N, C]`` in the dtype of the weights.
    """

    def __init__(
        self,
        manifold: geoopt.Manifold,
        hidden_channels: int,
        out_channels: int,
        dropout: float = 0.0,
        classifier: str = "linear",
    ):
        super().__init__(manifold)
        self.dropout = Dropout(dropout)
        self.lin = make_classifier(classifier, hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Reset the linear map."""
        self.lin.reset_parameters()

    def forward(self, z: Tensor) -> Tensor:
        return self.lin(self.dropout(log0(self.manifold, z, self.lin.weight.dtype)))
