r"""The maps at the origin of a manifold as modules, so that whoever counts or watches a network sees them, and what
layers in the tangent space there are made of.

A manifold is held in a tuple: it belongs to the layer or path that registers it, and stands once in ``state_dict``.
"""

import math

import geoopt
import torch
from torch import Tensor, nn

from msg.graph import SparseMatrix
from msg.graph.sparse import linear
from msg.layers.dropout import dropout
from msg.manifolds import exp0, log0, move, parse_signature, path
from msg.sizes import check_sizes


def frame(manifold: geoopt.Manifold) -> float:
    r"""Length at the origin of a vector whose coordinates in geoopt's own have length 1: 2 in the chart of a ball or of
    the κ-stereographic model, 1 elsewhere. Papers on these read vectors in the chart; :mod:`msg.manifolds` reads them
    in an orthonormal frame everywhere.
    """
    return 2.0 if isinstance(manifold, geoopt.Stereographic) else 1.0


def as_manifold(manifold: str | geoopt.Manifold) -> geoopt.Manifold:
    """A manifold, or a new one by its letter.

    Raises:
        ValueError: for what is neither.
    """
    if isinstance(manifold, geoopt.Manifold):
        return manifold
    if not isinstance(manifold, str) or len(manifold) != 1:
        raise ValueError(
            f"a layer's manifold is one of geoopt's, or a letter such as 'H', not {manifold!r}: its dimension is "
            "out_channels"
        )
    return parse_signature(f"{manifold}1")[0]


class OnManifold(nn.Module):
    """A module on a manifold that belongs to another: to the layer or path that registers it.

    Args:
        manifold: of the points; learned with that layer if it is, and no part of this module's ``state_dict``.
    """

    def __init__(self, manifold: geoopt.Manifold):
        super().__init__()
        # in a tuple, so that a parameter stands once in state_dict; moving or copying a model takes it along
        self._manifold = (manifold,)

    @property
    def manifold(self) -> geoopt.Manifold:
        """Of the points."""
        return self._manifold[0]


class OriginExp(OnManifold):
    r""":math:`\exp_o`, of vectors in the coordinates that geoopt gives them (see :func:`frame`).

    Shapes:
        ``u``: ``[N, d]``; returns points ``[N, ambient_dim]`` in float64.
    """

    def forward(self, u: Tensor) -> Tensor:
        return exp0(self.manifold, frame(self.manifold) * u.double())


class OriginLog(OnManifold):
    r""":math:`\log_o`, in a given dtype.

    Shapes:
        ``z``: ``[N, ambient_dim]``; returns ``[N, d]``.
    """

    def forward(self, z: Tensor, dtype: torch.dtype) -> Tensor:
        return log0(self.manifold, z, torch.float64).div(frame(self.manifold)).to(dtype)


class Translation(OnManifold):
    r"""A bias on a manifold, :math:`\log_o(\exp_o(u) \oplus \exp_o(b))` with :math:`m \oplus \exp_o(b) =
    \exp_m(PT_{o \to m} b)`; all vectors in the coordinates that geoopt gives them (see :func:`frame`).

    Args:
        manifold: where it moves.
        channels: dimension.

    Shapes:
        ``u``: ``[N, d]``; returns ``[N, d]`` in the dtype of ``u``.
    """

    def __init__(self, manifold: geoopt.Manifold, channels: int):
        super().__init__(manifold)
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set ``b`` to zero."""
        nn.init.zeros_(self.bias)

    def forward(self, u: Tensor) -> Tensor:
        scale = frame(self.manifold)
        wide = scale * u.double()
        moved = path(self.manifold, [wide, (scale * self.bias.double()).expand_as(wide)])
        return log0(self.manifold, moved).div(scale).to(u.dtype)


class LocalMean(OnManifold):
    r"""Weighted sums in the tangent space at each node, :math:`\log_o\exp_{m_i}(\sum_j w_{ij}\log_{m_i} m_j)`.

    With :math:`L_i` the isometry that takes the origin to :math:`m_i`, :math:`PT_{m_i \to o}\log_{m_i} m_j` is
    :math:`\log_o L_i^{-1} m_j`, and :math:`L_i^{-1}` is that of :math:`\exp_o(-\log_o m_i)`: so the maps at the origin
    do for any manifold. A neighbour is seen at a distance of at most :func:`~msg.manifolds.max_radius`.

    Shapes:
        ``u``: :math:`\log_o m`, ``[N, d]``, in the coordinates that geoopt gives them; ``target``, ``source``,
        ``weight``: of the edges, ``[E]``; returns ``[N, d]`` in the dtype of ``u``.
    """

    def forward(self, u: Tensor, target: Tensor, source: Tensor, weight: Tensor) -> Tensor:
        manifold, scale = self.manifold, frame(self.manifold)
        wide = scale * u.double()
        seen = log0(manifold, move(manifold, exp0(manifold, -wide)[target], wide[source]))
        step = torch.zeros_like(wide).index_add(0, target, weight.double()[:, None] * seen)
        return log0(manifold, move(manifold, exp0(manifold, wide), step)).div(scale).to(u.dtype)


class DropConnect(nn.Module):
    r"""A linear map without bias whose weights are dropped in training, :math:`x\,\mathrm{dropout}(W)^\top`, on dense
    or sparse input.

    Source: `Wan et al. 2013, Regularization of Neural Networks using DropConnect
    <https://proceedings.mlr.press/v28/wan13.html>`_ (ICML).

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        dropout: probability of dropping a weight.
        gain: of Glorot's uniform initialisation.

    Shapes:
        ``x``: ``[N, in]``; returns ``[N, out]``.

    Raises:
        ValueError: for sizes below 1, or a probability that is none.
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0, gain: float = math.sqrt(2)):
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a probability below 1, not {dropout}")
        self.dropout, self.gain = dropout, gain
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.xavier_uniform_(self.weight, self.gain)

    def forward(self, x: Tensor | SparseMatrix) -> Tensor:
        weight = dropout(self.weight, self.dropout, self.training)
        return linear(x, weight)

    def extra_repr(self) -> str:
        """Sizes and dropout."""
        return f"{self.weight.size(1)}, {self.weight.size(0)}, dropout={self.dropout:g}"
