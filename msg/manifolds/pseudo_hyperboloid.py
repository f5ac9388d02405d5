r"""The pseudo-hyperboloid, a space of indefinite metric that is reached through a sphere and a flat space."""

import math

import geoopt
import torch
from torch import Tensor, nn

from msg.kernels.constants import HYPERBOLIC_RADIUS
from msg.manifolds.embedded import join
from msg.manifolds.sphere import SPHERE
from msg.manifolds.trigonometry import cosine, norm, sinc, squared_norm

NEAREST = 1e-2
"""A transport is singular where a point stops being connected with the origin; nearer it is that of a point so far."""


class PseudoHyperboloid(nn.Module):
    r"""Points :math:`x = (x_t, x_s) \in \mathbb{R}^{t+s}` with :math:`-|x_t|^2 + |x_s|^2 = -|\beta|`, with the metric
    :math:`\langle x, y\rangle = -\langle x_t, y_t\rangle + \langle x_s, y_s\rangle`; the hyperboloid for ``t = 1``, the
    sphere (with negative metric) for ``s = 0``.

    It is no Riemannian manifold: some points are not joined by a geodesic, and it has no distance that is a metric. So
    it is no :class:`~msg.manifolds.Family`. Maps at the origin :math:`o = (\sqrt{|\beta|}, 0, \dots)` go through

    .. math::
        \psi(x) = \bigl(\sqrt{|\beta|}\,x_t/|x_t|,\ x_s/\sqrt{|\beta|}\bigr) \in S^{t-1}_{\sqrt{|\beta|}} \times
        \mathbb{R}^s, \qquad \psi^{-1}(u, r) = \bigl(\sqrt{1 + |r|^2}\,u,\ \sqrt{|\beta|}\,r\bigr),

    a vector having ``t - 1`` coordinates of the sphere, then ``s`` of the flat space. All is computed in float64.

    Source: `Xiong et al. 2022, Pseudo-Riemannian Graph Convolutional Networks <https://arxiv.org/abs/2106.03134>`_
    (NeurIPS), with points of the sphere kept from the antipode of its pole as everywhere in :mod:`msg.manifolds`.

    Args:
        time_dim: ``t``, at least 1.
        space_dim: ``s``.
        beta: :math:`|\beta|` to begin with, positive.
        learnable: whether it is learned, as :math:`e^a`, so that it stays positive.

    Raises:
        ValueError: for impossible dimensions, or a ``beta`` that is not positive.
    """

    def __init__(self, time_dim: int, space_dim: int, beta: float = 1.0, learnable: bool = True):
        super().__init__()
        if time_dim < 1 or space_dim < 0 or time_dim + space_dim < 2:
            raise ValueError(
                f"a pseudo-hyperboloid has time_dim >= 1, space_dim >= 0 and two coordinates or more, not {time_dim} "
                f"and {space_dim}"
            )
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is the absolute value and must be positive, not {beta}")
        self.time_dim, self.space_dim = time_dim, space_dim
        self.log_beta = nn.Parameter(torch.tensor(math.log(beta)), requires_grad=learnable)

    @property
    def dim(self) -> int:
        """Number of coordinates of a vector, ``t - 1 + s``."""
        return self.time_dim - 1 + self.space_dim

    @property
    def beta(self) -> Tensor:
        r""":math:`|\beta|`."""
        return self.log_beta.double().exp()

    def inner(self, x: Tensor, y: Tensor) -> Tensor:
        r""":math:`\langle x, y\rangle`, shape ``[..., 1]``."""
        products = x * y
        return products[..., self.time_dim :].sum(-1, True) - products[..., : self.time_dim].sum(-1, True)

    def exp0(self, v: Tensor) -> Tensor:
        r""":math:`\psi^{-1}` of the exponential map at the pole and of the rest.

        Shapes:
            ``v``: ``[..., t - 1 + s]``; returns ``[..., t + s]``.
        """
        v = v.double()
        turn, rest = v[..., : self.time_dim - 1], v[..., self.time_dim - 1 :]
        scale = self.beta.sqrt()
        direction = torch.ones_like(v[..., :1])
        if self.time_dim > 1:
            direction = SPHERE.exp0(_SPHERE, turn / scale)
        return scale * join((1 + squared_norm(rest)).sqrt() * direction, rest)

    def log0(self, x: Tensor) -> Tensor:
        """The vector with :meth:`exp0` ``x``.

        Shapes:
            ``x``: ``[..., t + s]``; returns ``[..., t - 1 + s]``.
        """
        x, scale = x.double(), self.beta.sqrt()
        time, rest = x[..., : self.time_dim], x[..., self.time_dim :] / scale
        if self.time_dim == 1:
            return rest
        unit = time / norm(time).clamp(min=1e-30)
        unit = SPHERE.inside(_SPHERE, unit[..., :1], unit[..., 1:])
        return join(scale * SPHERE.log0(_SPHERE, unit), rest)

    def translate(self, x: Tensor, b: Tensor) -> Tensor:
        r""":math:`\exp_x(PT_{o \to x} b)` in the indefinite metric, for a vector ``b`` at the origin.

        With :math:`y = x` where a geodesic joins the origin and ``x`` (:math:`\langle o, x\rangle < |\beta|`) and
        :math:`y = -x` elsewhere, which it then joins, the point is :math:`\pm\exp_y(PT_{o \to y} b)`,

        .. math::
            PT_{o \to y}\,b = b + \frac{\langle b, y\rangle}{|\beta| - \langle o, y\rangle}(o + y), \qquad
            \exp_y(w) = \cos(q)\,y + \frac{\sin q}{q}\,w, \quad q^2 = -\langle w, w\rangle / |\beta|,

        the cosine being hyperbolic where ``q`` is imaginary. Longer vectors than ten radii are cut to that. Where the
        transport is singular, its denominator is kept from zero, and the result is off the pseudo-hyperboloid: only the
        direction of :math:`x_t`, and :math:`x_s`, mean something then, which :meth:`log0` reads.

        Shapes:
            ``x``: ``[..., t + s]``; ``b``: ``[t - 1 + s]``; returns ``[..., t + s]``.
        """
        x, b, beta = x.double(), b.double(), self.beta
        scale = beta.sqrt()
        b = b * (HYPERBOLIC_RADIUS * scale / norm(b).clamp(min=1e-30)).clamp(max=1.0)
        vector = join(torch.zeros_like(b[..., :1]), b)
        joined = -scale * x[..., :1] < beta
        y = torch.where(joined, x, -x)
        start = torch.zeros_like(y)
        start[..., 0] = scale
        apart = (beta + scale * y[..., :1]).clamp(min=NEAREST * beta)
        carried = vector + self.inner(vector, y) / apart * (start + y)
        # transport keeps the length
        squared = -self.inner(vector, vector) / beta
        moved = cosine(squared) * y + sinc(squared) * carried
        return torch.where(joined, moved, -moved)

    def extra_repr(self) -> str:
        """Dimensions and curvature."""
        return f"time_dim={self.time_dim}, space_dim={self.space_dim}, beta={float(self.beta.detach()):g}"


_SPHERE = geoopt.Sphere()
