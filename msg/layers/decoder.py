"""Link prediction from points on a manifold."""

import math

import geoopt
import torch
from torch import Tensor, nn

from msg.layers.origin import OnManifold
from msg.manifolds import inner_products, log0, squared_distances, squared_lorentzian_distances


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
        return (self.radius - squared_distances(self.manifold, z, edge_label_index)) / self.temperature

    def extra_repr(self) -> str:
        """Radius and temperature."""
        return f"radius={self.radius:g}, temperature={self.temperature:g}"


class LearnedFermiDirac(OnManifold):
    r"""Fermi–Dirac decoder that learns ``r`` and ``t``: logits :math:`(r - d(z_i, z_j)^2)/t`.

    Args:
        manifold: of the points. It stays the model's: its curvature is no parameter here.
        radius: ``r`` to begin with.
        temperature: ``t`` to begin with; learned as :math:`e^a`, so that it stays positive.

    Shapes:
        ``z``: ``[N, ambient_dim]``; ``edge_label_index``: ``[2, M]``; returns ``[M]``.

    Raises:
        ValueError: for a temperature that is not positive.
    """

    def __init__(self, manifold: geoopt.Manifold, radius: float = 0.0, temperature: float = 1.0):
        super().__init__(manifold)
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self._begin = radius, math.log(temperature)
        self.radius, self.log_temperature = nn.Parameter(torch.empty(())), nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set both to where they began."""
        for parameter, value in zip((self.radius, self.log_temperature), self._begin):
            nn.init.constant_(parameter, value)

    def forward(self, z: Tensor, edge_label_index: Tensor) -> Tensor:
        """Logits of the pairs."""
        return (self.radius - squared_distances(self.manifold, z, edge_label_index)) / self.log_temperature.exp()


class LorentzianDecoder(nn.Module):
    r"""Logits from the squared *Lorentzian* distance on the hyperboloid of curvature -1, which is not the geodesic one:
    :math:`(r - d_L(z_i, z_j)^2)/t` with :math:`d_L^2 = -2 - 2\langle z_i, z_j\rangle`.

    Args:
        radius: ``r``.
        temperature: ``t > 0``.

    Shapes:
        ``z``: ``[N, d + 1]``; ``edge_label_index``: ``[2, M]``; returns ``[M]``.

    Raises:
        ValueError: for a temperature that is not positive.
    """

    def __init__(self, radius: float = 2.0, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.radius, self.temperature = radius, temperature

    def forward(self, z: Tensor, edge_label_index: Tensor) -> Tensor:
        """Logits of the pairs."""
        return (self.radius - squared_lorentzian_distances(z, edge_label_index)) / self.temperature

    def extra_repr(self) -> str:
        """Radius and temperature."""
        return f"radius={self.radius:g}, temperature={self.temperature:g}"


class TangentInnerProduct(OnManifold):
    r"""Logits :math:`\langle\log_o z_i, \log_o z_j\rangle`: the inner product of two points as tangent vectors at the
    origin. On flat space it is the decoder of Euclidean models.

    A distance says how near two points are, and cannot say that one of them has many neighbours, however far; a longer
    vector can. Source: the graph autoencoder of `Kipf & Welling 2016 <https://arxiv.org/abs/1611.07308>`_.

    Args:
        manifold: of the points. It stays the model's: its curvature is no parameter here.

    Shapes:
        ``z``: ``[N, ambient_dim]``; ``edge_label_index``: ``[2, M]``; returns ``[M]``.
    """

    def forward(self, z: Tensor, edge_label_index: Tensor) -> Tensor:
        """Logits of the pairs."""
        return inner_products(log0(self.manifold, z), edge_label_index)
