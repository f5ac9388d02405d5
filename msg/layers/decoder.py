"""Link prediction from distances on a manifold."""

import geoopt
from torch import Tensor, nn

from msg.manifolds import distance


class FermiDirac(nn.Module):
    r"""Fermi–Dirac decoder: :math:`p(i, j) = \bigl(e^{(d(z_i, z_j)^2 - r)/t} + 1\bigr)^{-1}`.

    ``forward`` returns the logit :math:`(r - d^2)/t`, for ``binary_cross_entropy_with_logits``.

    Source: `Krioukov et al. 2010, Hyperbolic geometry of complex networks <https://arxiv.org/abs/1006.5169>`_; as a
    decoder `Chami et al. 2019 <https://arxiv.org/abs/1910.12933>`_.

    Args:
        manifold: of the points.
        radius: ``r``, the squared distance at which a link is as likely as not.
        temperature: ``t > 0``.

    Shapes:
        ``z``: ``[N, ambient_dim]``; ``edge_label_index``: ``[2, M]``; returns ``[M]``.
    """

    def __init__(self, manifold: geoopt.Manifold, radius: float = 2.0, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.manifold = manifold
        self.radius, self.temperature = radius, temperature

    def forward(self, z: Tensor, edge_label_index: Tensor) -> Tensor:
        """Logits of the pairs."""
        source, target = edge_label_index
        return (self.radius - distance(self.manifold, z[source], z[target]) ** 2) / self.temperature

    def extra_repr(self) -> str:
        """Radius and temperature."""
        return f"radius={self.radius:g}, temperature={self.temperature:g}"
