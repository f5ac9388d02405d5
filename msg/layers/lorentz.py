r"""Layers that work in the coordinates of the hyperboloid of curvature -1 and need no tangent space.

Source: `Chen et al. 2022, Fully Hyperbolic Neural Networks <https://arxiv.org/abs/2105.14686>`_ (ACL).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from msg.graph import Graph, SparseMatrix
from msg.graph.sparse import linear, to_dense
from msg.kernels.constants import HYPERBOLIC_RADIUS
from msg.layers.dropout import Dropout
from msg.layers.graph_layer import GraphLayer
from msg.layers.hyperbolic_conv import make_act
from msg.layers.norm import make_norm
from msg.manifolds import lorentz_centroid, lorentz_inner
from msg.manifolds.lorentz import NEAREST, lift
from msg.manifolds.trigonometry import cosine, sinc, squared_norm
from msg.sizes import check_sizes

FLOOR = 1.1
"""The smallest time coordinate of the released layer: no point is nearer to the origin than arcosh 1.1 = 0.44."""


class LorentzLinear(nn.Module):
    r"""A linear map of the coordinates, put back on the hyperboloid,

    .. math::
        \bar y = \lambda\,\sigma(w^\top x + b')\,\frac{W h(x) + b}{|W h(x) + b|}, \qquad
        y_0 = \sqrt{1 + |\bar y|^2},

    with an activation ``h``, the logistic function :math:`\sigma` and a learned :math:`\lambda = e^s` that begins at
    10.

    It differs from the paper in what numbers need: where :math:`|W h(x) + b| < 10^{-4}` that stands in for the length,
    and there it has no gradient (the slope of a direction is one over the length); :math:`\lambda` is at most
    :math:`\sinh 10`.

    Args:
        in_channels: dimension of the points (they have one coordinate more).
        out_channels: dimension of the points that are returned.
        dropout: probability of dropping a coordinate of what the map reads in training, that of time included.
        act: activation by name, or a module; ``None`` for none.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, of what the linear map gives.
        as_released: the time coordinate in place of the spatial length is set, :math:`y_0 = \lambda\,\sigma(w^\top h(x)
            + b') + 1.1` with :math:`|\bar y| = \sqrt{y_0^2 - 1}`, as in the released code: no point then comes near the
            origin, and short vectors have their gradient.

    Shapes:
        ``x``: points ``[N, in + 1]``; returns points ``[N, out + 1]`` in float64. With ``tangent=True``, ``x`` are
        vectors at the origin, ``[N, in]``, dense or a :class:`~msg.graph.SparseMatrix`: the map reads
        :math:`\exp_o(x)`.

    Raises:
        ValueError: for impossible sizes, or an unknown activation or norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dropout: float = 0.0,
        act: str | Callable | None = None,
        norm: str = "none",
        as_released: bool = False,
    ):
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels, self.as_released = in_channels, out_channels, as_released
        self.weight = nn.Parameter(torch.empty(out_channels + 1, in_channels + 1))
        self.bias = nn.Parameter(torch.empty(out_channels + 1))
        self.scale = nn.Parameter(torch.empty(()))
        self.dropout, self.act = Dropout(dropout), make_act(act)
        self.norm = make_norm(norm, out_channels + 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Draw weights anew, uniform in :math:`\pm 1/\sqrt{out + 1}`, those of the time coordinate zero."""
        bound = 1 / math.sqrt(self.out_channels + 1)
        nn.init.uniform_(self.weight, -bound, bound)
        with torch.no_grad():
            self.weight[:, 0] = 0
        nn.init.zeros_(self.bias)
        nn.init.constant_(self.scale, math.log(10))
        reset(self.norm)
        reset(self.act)

    def forward(self, x: Tensor | SparseMatrix, tangent: bool = False) -> Tensor:
        y = self.norm(self._mapped_tangent(x) if tangent else self._mapped(x))  # pyright: ignore[reportArgumentType]
        y, largest = y.double(), math.sinh(HYPERBOLIC_RADIUS)
        length = y[:, :1].sigmoid() * self.scale.double().exp().clamp(max=largest)
        if self.as_released:
            length = ((length + FLOOR).square() - 1).sqrt()
        rest = y[:, 1:]
        squared = squared_norm(rest)
        if not self.as_released:  # a row of zeros has no direction, and the slope of one there would be without bound
            rest = torch.where(squared < NEAREST, rest.detach(), rest)
        return lift(length * rest * squared.clamp(min=NEAREST).rsqrt())

    def _mapped(self, x: Tensor) -> Tensor:
        x, weights, bias = x.to(self.weight.dtype), self.weight, self.bias
        if isinstance(self.act, nn.Identity) or self.as_released:
            return F.linear(self.dropout(self.act(x)), weights, bias)
        kept = self.dropout(torch.ones_like(x))  # of what the time coordinate is read from, and of the rest
        time, rest = kept * x, kept * self.act(x)
        return torch.cat([F.linear(time, weights[:1], bias[:1]), F.linear(rest, weights[1:], bias[1:])], dim=-1)

    def _mapped_tangent(self, v: Tensor | SparseMatrix) -> Tensor:
        r"""Of :math:`\exp_o(v) = (\cosh|v|, \frac{\sinh|v|}{|v|} v)` the rows are scaled after the product: zeros stay
        zeros, and ones ones.
        """
        time, factor = _first(_squared_lengths(v))
        if not isinstance(self.act, nn.Identity):
            return self._mapped(torch.cat([time, factor * to_dense(v).double()], dim=-1))
        dtype = self.weight.dtype
        if not isinstance(v, SparseMatrix):
            # together, as points are read
            dropped = self.dropout(torch.cat([time.to(dtype), v.to(dtype)], dim=-1))
            time, v = dropped.split([1, v.size(-1)], dim=-1)
        elif self.training and self.dropout.p:
            v, time = v.with_values(self.dropout(v.entries()[2])), self.dropout(time)
        rest = linear(v, self.weight[:, 1:])
        return factor.to(dtype) * rest + time.to(dtype) * self.weight[:, 0] + self.bias

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_channels}, {self.out_channels}, as_released={self.as_released}"


def _squared_lengths(v: Tensor | SparseMatrix) -> Tensor:
    """Of each row, ``[N, 1]``, in float64."""
    if not isinstance(v, SparseMatrix):
        return squared_norm(v.double())
    row, _, value = v.entries()
    return value.new_zeros(v.size(0), dtype=torch.float64).index_add(0, row, value.double().square())[:, None]


def _first(squared: Tensor) -> tuple[Tensor, Tensor]:
    r""":math:`\cosh|v|`, and the factor of ``v``, from :math:`|v|^2`, ``[N, 1]``, at a radius of at most ten."""
    limit = HYPERBOLIC_RADIUS**2
    inside = squared.clamp(max=limit)
    # a root of zero would have no gradient where it is not used either
    shrink = (limit / squared.clamp(min=limit)).sqrt()
    return cosine(-inside, sign=-1), sinc(-inside, sign=-1) * shrink


class LorentzAggregation(GraphLayer):
    r"""The centroid of each node and its neighbours, see :func:`msg.manifolds.lorentz_centroid`, with weights
    :math:`P = D^{-1}(A + I)`, whose scale does not matter.

    Shapes:
        ``x``: points ``[N, d + 1]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, not negative; returns points
        ``[N, d + 1]`` in float64.
    """

    def forward(self, x: Tensor, edge_index: Tensor | Graph, edge_weight: Tensor | None = None) -> Tensor:
        graph = self.graph(x, edge_index, edge_weight)
        return lorentz_centroid(x, graph.row_normalized(torch.float64))


class LorentzHead(nn.Module):
    r"""Logits by squared Lorentzian distances to a point for each class, :math:`\ell_c = 2 + 2\langle z, w_c\rangle +
    b_c = b_c - d_L(z, w_c)^2`.

    The points are learned as vectors at the origin, so that any optimiser keeps them on the hyperboloid.

    Args:
        in_channels: dimension ``d`` of the points.
        out_channels: number of classes ``C``.

    Shapes:
        ``z``: ``[N, d + 1]``; returns ``[N, C]`` in the dtype of the weights.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.vector = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Draw points anew, their vectors normal with standard deviation :math:`1/\sqrt d`."""
        nn.init.normal_(self.vector, std=self.vector.size(1) ** -0.5)
        nn.init.zeros_(self.bias)

    @property
    def points(self) -> Tensor:
        """One a class, ``[C, d + 1]``."""
        v = self.vector.double()
        _, factor = _first(squared_norm(v))
        return lift(factor * v)

    def forward(self, z: Tensor) -> Tensor:
        return (2 + 2 * lorentz_inner(z.double(), self.points)).to(self.bias.dtype) + self.bias
