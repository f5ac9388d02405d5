r"""Any manifold of vectors that geoopt's interface describes: the slow path, for spaces without a family of their own.

From ``expmap``, ``logmap``, ``transp``, ``inner``, ``proju`` and ``dist`` of the manifold: with :math:`B` an
orthonormal frame at its origin :math:`o`, made by Gram and Schmidt from the coordinate axes in their order,

.. math::
    \exp_o(v) = \mathrm{expmap}(o, vB), \qquad (\log_o z)_i = \langle B_i, \mathrm{logmap}(o, z)\rangle_o, \qquad
    \mathrm{move}(z, v) = \mathrm{expmap}(z, \mathrm{transp}(o, z, vB)).
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from msg.manifolds.family import Family, M
from msg.manifolds.trigonometry import norm, squared_norm

_SHIFT = 1e-6
"""Length below which a vector is given one: geoopt's maps divide by it, and their gradient at zero is not a number."""


@dataclass(frozen=True, eq=False)
class GeooptFamily(Family[M]):
    r"""The family of a kind of manifold that has nothing but geoopt's interface.

    Slower than a family of formulas (the frame is made anew by each call, nothing is compiled), and as exact as the
    manifold's own maps. A step or vector shorter than 1e-6 gets that length, so that a silent node has a gradient. What
    its operations cost is not known: reports of energy list ``geoopt_map`` as not priced.

    Args:
        name: what messages call it.
        kind: class of the manifold, whose points are vectors.
        make: makes one, without arguments.
        extra: how many more coordinates a point has than the manifold dimensions.
        kappa: sectional curvature, for pictures; 0 where it is not constant.
        bound: distance from the origin beyond which points are pulled back.

    Raises:
        TypeError: for a class or function that is none, and points that are matrices.
        ValueError: for a manifold whose maps are missing or do not fit together in two dimensions: logarithm and
            exponential must be inverse, ``transp`` parallel transport (many of geoopt's project instead), and gradients
            finite at the origin, where every node starts.
    """

    extra: int = 0
    kappa: float = 0.0
    bound: float = math.inf

    def __post_init__(self):
        super().__post_init__()
        manifold, kind = self.make(), self.kind.__name__
        if (manifold.ndim or 0) > 1:
            raise TypeError(
                f"a point of {kind} is a matrix, and a node here has a vector: register a Family whose points are its "
                "flattened entries, with maps that are differentiable at the origin (geoopt's decompositions are not)"
            )
        try:
            why = self._misfit(manifold)
        except NotImplementedError as error:
            raise ValueError(f"{kind} lacks a map: it needs expmap, logmap, transp, inner, proju and dist") from error
        if why:
            raise ValueError(f"{kind} cannot be used as it is: {why}: mend it, or register a Family of its own")

    def _misfit(self, manifold: M) -> str | None:
        """What is wrong with the maps, tried in two dimensions."""
        v = torch.tensor([[0.3, 0.1], [-0.1, 0.2], [0.0, -0.3]], dtype=torch.float64)
        z = self.exp0(manifold, v)
        if not torch.allclose(self.log0(manifold, z), v, atol=1e-6):
            return "logmap is not the inverse of expmap"
        carried = self.transport0(manifold, z, v.roll(1, 0))
        lengths = self.inner(manifold, z, carried, carried)
        if not torch.allclose(lengths, squared_norm(v.roll(1, 0)), rtol=1e-6):
            return "transp changes lengths, so it is no parallel transport"
        if not torch.allclose(self.distance(manifold, z, self.move(manifold, z, v)), norm(v), atol=1e-5):
            return "dist is not the length of what expmap goes"
        zero = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
        start = self.origin(manifold, 2, zero.dtype, zero.device).expand(1, -1)
        slope = torch.autograd.grad(self.log0(manifold, self.move(manifold, start, zero)).sum(), zero)[0]
        return None if bool(slope.isfinite().all()) else "its gradient at the origin is not a number"

    def curvature(self, manifold: M) -> float:
        """As given."""
        return self.kappa

    def ambient_dim(self, manifold: M, dim: int) -> int:
        """``dim + extra``."""
        return dim + self.extra

    def max_radius(self, manifold: M) -> float:
        """As given."""
        return self.bound

    def origin(self, manifold: M, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The manifold's own, shape ``[ambient_dim]``."""
        return manifold.origin(dim + self.extra, dtype=dtype, device=device).detach().as_subclass(Tensor)

    def resolution(self, manifold: M) -> float:
        """A vector that is shorter is moved by that."""
        return _SHIFT

    def _frame(self, manifold: M, origin: Tensor, dim: int) -> Tensor:
        """Orthonormal tangent vectors at the origin, ``[dim, ambient_dim]``."""
        axes = torch.eye(len(origin), dtype=origin.dtype, device=origin.device)
        frame: list[Tensor] = []
        for axis in manifold.proju(origin.expand_as(axes), axes):
            for other in frame:
                axis = axis - manifold.inner(origin, axis, other, keepdim=True) * other
            square = manifold.inner(origin, axis, keepdim=True)
            if len(frame) < dim and float(square.detach()) > 1e-12:
                frame.append(axis / square.sqrt())
        if len(frame) < dim:
            raise ValueError(f"{self.name} has no {dim} dimensions in {len(origin)} coordinates: give it another extra")
        return torch.stack(frame)

    def _start(self, manifold: M, like: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """The origin, and a frame there."""
        origin = self.origin(manifold, dim, like.dtype, like.device)
        return origin, self._frame(manifold, origin, dim)

    def exp0(self, manifold: M, v: Tensor) -> Tensor:
        origin, frame = self._start(manifold, v, v.size(-1))
        length = norm(v)
        v = _shifted(v * torch.where(length > self.bound, self.bound / length.clamp(min=_SHIFT), 1.0))
        towards = v @ frame
        return manifold.expmap(origin.expand_as(towards), towards)

    def log0(self, manifold: M, z: Tensor) -> Tensor:
        origin, frame = self._start(manifold, z, z.size(-1) - self.extra)
        towards = manifold.logmap(origin.expand_as(z), z).unsqueeze(-2)
        # maps of a user's own may not broadcast
        start, frame, towards = torch.broadcast_tensors(origin, frame, towards)
        return manifold.inner(start, frame, towards, keepdim=True).squeeze(-1)  # geoopt's, too, broadcast only so

    def transport0(self, manifold: M, z: Tensor, v: Tensor) -> Tensor:
        origin, frame = self._start(manifold, v, v.size(-1))
        return manifold.transp(origin.expand_as(z), z, v @ frame)

    def move(self, manifold: M, z: Tensor, v: Tensor) -> Tensor:
        moved = manifold.expmap(z, self.transport0(manifold, z, _shifted(v)))
        if math.isinf(self.bound):
            return moved
        vector = self.log0(manifold, moved)
        return torch.where(norm(vector) > self.bound, self.exp0(manifold, vector), moved)

    def distance(self, manifold: M, x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        same = (x == y).all(-1, keepdim=True)
        # the gradient of a distance of zero is none: those are taken of two other points
        origin, frame = self._start(manifold, x, x.size(-1) - self.extra)
        elsewhere = manifold.expmap(origin, frame[0] / 2).detach()
        apart = manifold.dist(torch.where(same, origin, x), torch.where(same, elsewhere, y), keepdim=True)
        return torch.where(same, 0.0, apart)

    def squared_distance(self, manifold: M, x: Tensor, y: Tensor) -> Tensor:
        return self.distance(manifold, x, y).square()

    def move_operations(self, manifold: M, dim: int) -> Counter[str]:
        """One map of which nothing is known."""
        return Counter({"geoopt_map": 1})

    def log0_operations(self, manifold: M, dim: int) -> Counter[str]:
        """One map of which nothing is known."""
        return Counter({"geoopt_map": 1})


def _shifted(v: Tensor) -> Tensor:
    first = torch.zeros_like(v[..., :1]) + _SHIFT
    shift = torch.cat([first, torch.zeros_like(v[..., 1:])], dim=-1)
    return v + torch.where(norm(v) < _SHIFT, shift, 0.0)
