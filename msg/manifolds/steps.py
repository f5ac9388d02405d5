r"""The functions that every model needs of a manifold, correct and differentiable on all of them.

A vector :math:`v \in \mathbb{R}^d` always means the tangent vector at the origin with these coordinates in an
orthonormal frame, ``d`` being the intrinsic dimension; a point has the coordinates geoopt gives it (``d + 1`` on the
hyperboloid and the sphere, ``d`` elsewhere, factors of a product side by side). Everything is computed in float64,
because hyperbolic geometry loses all digits of float32 at a radius of ten, and returned in the dtype of the point.

All of them raise ``TypeError`` for integers and for a manifold without a :class:`~msg.manifolds.Family`, ``ValueError``
for sizes that do not fit, an impossible curvature and points far off the manifold, ``FloatingPointError`` for infinite
coordinates; :class:`~msg.manifolds.checks` switches off what looks at coordinates and curvatures.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import geoopt
import torch
from torch import Tensor

from msg.kernels.constants import LARGEST
from msg.kernels.tracing import may_branch
from msg.manifolds import one_pass
from msg.manifolds.lookup import family
from msg.manifolds.switch import checks
from msg.manifolds.trigonometry import squared_norm, tanc
from msg.manifolds.validation import check_finite, check_floating, check_on_manifold, check_size, checked_pairs


def ambient_dim(manifold: geoopt.Manifold, dim: int) -> int:
    """How many coordinates a point has on a manifold of intrinsic dimension ``dim``."""
    return family(manifold).ambient_dim(manifold, dim)


def _check_dim(manifold: geoopt.Manifold, dim: int) -> None:
    fixed = family(manifold).fixed_dim(manifold)
    check_size(manifold, "a tangent vector", dim, dim if fixed is None else fixed)


def _vector(manifold: geoopt.Manifold, v: Tensor) -> Tensor:
    """A tangent vector at the origin, checked, in float64."""
    check_floating("a tangent vector", v.dtype)
    _check_dim(manifold, v.size(-1))
    wide = v.double()
    check_finite("a tangent vector", wide)
    return wide


def _point(manifold: geoopt.Manifold, z: Tensor, dim: int | None = None) -> Tensor:
    """A point, checked, in float64; without ``dim`` its size is one that the manifold can have."""
    check_floating("a point", z.dtype)
    own = family(manifold)
    fixed = own.fixed_dim(manifold) if dim is None else dim
    intrinsic = own.intrinsic_dim(manifold, z.size(-1)) if fixed is None else fixed
    check_size(manifold, "a point", z.size(-1), own.ambient_dim(manifold, intrinsic))
    wide = z.double()
    check_on_manifold(manifold, wide, z.dtype)
    return wide


def _pair(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two points of one manifold."""
    first = _point(manifold, x)
    check_size(manifold, "the other point", y.size(-1), x.size(-1))  # sizes of 1 would be broadcast
    return first, _point(manifold, y)


def max_radius(manifold: geoopt.Manifold) -> float:
    r"""Farthest a point may be from the origin: :func:`exp0` and :func:`move` pull a point back along its geodesic.

    :math:`10/\sqrt{-\kappa}` on hyperbolic spaces (where float64 distances are still good to 1e-7),
    :math:`0.9\pi/\sqrt\kappa` on spherical ones (the antipode is singular), infinite on flat ones; on a product each
    factor keeps its own bound and this is the root of the sum of their squares.
    """
    return float(family(manifold).max_radius(manifold))


def origin(
    manifold: geoopt.Manifold,
    num_points: int,
    dim: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """The origin, once per node.

    Args:
        manifold: a supported geoopt manifold.
        num_points: how many copies.
        dim: intrinsic dimension.
        dtype: of the result.
        device: of the result.

    Shapes:
        Returns ``[num_points, ambient_dim]``, a view of one point.
    """
    check_floating("the origin", dtype)
    _check_dim(manifold, dim)
    point = family(manifold).origin(manifold, dim, dtype, torch.device(device or "cpu"))
    return point.expand(num_points, -1)


def exp0(manifold: geoopt.Manifold, v: Tensor) -> Tensor:
    r"""Exponential map at the origin, :math:`\exp_o(v)`.

    Shapes:
        ``v``: ``[..., d]``; returns ``[..., ambient_dim]`` in the dtype of ``v``.
    """
    return family(manifold).exp0(manifold, _vector(manifold, v)).to(v.dtype)


def log0(manifold: geoopt.Manifold, z: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    r"""Logarithm at the origin: the ``v`` with :math:`\exp_o(v) = z`, so :math:`|v|` is the distance to the origin.

    At the antipode of a sphere every direction is one; it is the first axis, with gradient zero in the others.

    Args:
        manifold: a supported geoopt manifold.
        z: points.
        dtype: of the result; ``None`` is that of ``z``.

    Shapes:
        ``z``: ``[..., ambient_dim]``; returns ``[..., d]``.
    """
    own, point, dtype = family(manifold), _point(manifold, z), dtype or z.dtype

    def eager(point: Tensor) -> Tensor:
        return own.log0(manifold, point).to(dtype)

    if one_pass.applies(manifold, z) and dtype in (torch.float32, torch.float64):
        return one_pass.log0(manifold, point, own.intrinsic_dim(manifold, z.size(-1)), dtype, eager)
    return eager(point)


def transport0(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r"""Parallel transport :math:`PT_{o \to z}(v)` along the geodesic from the origin, an isometry.

    Shapes:
        ``z``: ``[..., ambient_dim]``; ``v``: ``[..., d]``; returns an ambient tangent vector at ``z``,
        ``[..., ambient_dim]``, in the dtype of ``z``.
    """
    vector = _vector(manifold, v)
    return family(manifold).transport0(manifold, _point(manifold, z, v.size(-1)), vector).to(z.dtype)


def move(manifold: geoopt.Manifold, z: Tensor, v: Tensor) -> Tensor:
    r"""One step on the manifold: :math:`\exp_z(PT_{o \to z}(v))`, kept inside :func:`max_radius`.

    The vector is carried from the origin by parallel transport, which preserves its length; an ambient projection
    would multiply it by up to :math:`\cosh^2` of the radius.

    Shapes:
        ``z``: ``[..., ambient_dim]``; ``v``: ``[..., d]``; returns ``[..., ambient_dim]`` in the dtype of ``z``.

    Raises:
        ValueError: if the sizes of ``z`` and ``v`` do not fit the manifold.
    """
    vector = _vector(manifold, v)
    own, point = family(manifold), _point(manifold, z, v.size(-1))
    if one_pass.applies(manifold, z, v):
        rows = torch.broadcast_shapes(z.shape[:-1], v.shape[:-1])
        start, vectors = point.expand(*rows, -1), [vector.expand(*rows, -1)]
        eager = lambda start, vectors: own.move(manifold, start, vectors[0])  # noqa: E731
        return one_pass.walk(manifold, start, vectors, 1.0, None, eager).to(z.dtype)
    return own.move(manifold, point, vector).to(z.dtype)


def path(
    manifold: geoopt.Manifold, vectors: Sequence[Tensor], step_size: float = 1.0, max_step: float | None = None
) -> Tensor:
    r"""Steps from the origin, one after another: :func:`move` along :math:`b(\varepsilon v^l)` for each vector.

    Args:
        manifold: a supported geoopt manifold.
        vectors: tangent vectors at the origin, one tensor a step.
        step_size: :math:`\varepsilon`.
        max_step: bound on a step's length (:func:`bound_length`); ``None`` for none.

    Shapes:
        ``vectors``: ``[N, d]`` each; returns ``[N, ambient_dim]`` in float64.
    """
    first = vectors[0]
    for vector in vectors:
        check_floating("a tangent vector", vector.dtype)
    start = origin(manifold, 1, first.size(-1), torch.float64, first.device)

    def steps(start: Tensor, vectors: Sequence[Tensor]) -> Tensor:
        z = start.expand(first.size(0), -1)
        # points that come from a move are on the manifold, and a check would make a GPU wait; compiled code has none
        with nullcontext() if torch.compiler.is_compiling() else checks(False):
            for vector in vectors:
                v = step_size * vector
                v = v.double() if max_step is None else _bound_length(v, max_step)
                z = family(manifold).move(manifold, z, v)
        return z

    same = all(v.dtype == first.dtype and v.shape == first.shape for v in vectors)
    if same and one_pass.applies(manifold, *vectors):
        # no factor that the kernels know has an origin that its steps would differ by
        return one_pass.walk(manifold, start.detach(), vectors, step_size, max_step, steps)
    return steps(start, vectors)


def distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    r"""Geodesic distance; on a product :math:`\sqrt{\sum_i d_i^2}`. Its gradient is zero where the points coincide.

    Shapes:
        ``x``, ``y``: ``[..., ambient_dim]``, broadcast against each other; returns ``[...]`` in the dtype of ``x``.
    """
    first, second = _pair(manifold, x, y)
    return family(manifold).distance(manifold, first, second).squeeze(-1).to(x.dtype)


def squared_distance(manifold: geoopt.Manifold, x: Tensor, y: Tensor) -> Tensor:
    r"""Squared geodesic distance, for energies: smooth where the points coincide, where :func:`distance` has a kink.

    Shapes:
        ``x``, ``y``: ``[..., ambient_dim]``, broadcast against each other; returns ``[...]`` in the dtype of ``x``.
    """
    first, second = _pair(manifold, x, y)
    return family(manifold).squared_distance(manifold, first, second).squeeze(-1).to(x.dtype)


def squared_distances(manifold: geoopt.Manifold, z: Tensor, pairs: Tensor) -> Tensor:
    r"""Squared geodesic distances of pairs of rows: :func:`squared_distance` of ``z[pairs[0]]`` and ``z[pairs[1]]``,
    without writing these down.

    Shapes:
        ``z``: ``[N, ambient_dim]``; ``pairs``: ``[2, M]``; returns ``[M]`` in the dtype of ``z``.
    """
    pairs = checked_pairs(pairs)
    wide, own = _point(manifold, z), family(manifold)

    def by_family(points: Tensor) -> Tensor:
        (first, second), points = pairs, points.double()
        return own.squared_distance(manifold, points[first], points[second]).squeeze(-1).to(z.dtype)

    if one_pass.applies(manifold) and one_pass.takes_pairs(z, pairs):
        dim = own.intrinsic_dim(manifold, z.size(1))
        return one_pass.squared_distances(manifold, z, dim, pairs, by_family)
    return by_family(wide)


def inner_products(z: Tensor, pairs: Tensor) -> Tensor:
    r"""Inner products of pairs of rows, :math:`\langle z_i, z_j\rangle`.

    Shapes:
        ``z``: ``[N, d]``; ``pairs``: ``[2, M]``; returns ``[M]``.
    """
    pairs = checked_pairs(pairs)

    def by_torch(z: Tensor) -> Tensor:
        first, second = pairs
        return (z[first] * z[second]).sum(-1)

    if one_pass.takes_pairs(z, pairs):
        return one_pass.inner_products(z, pairs, by_torch)
    return by_torch(z)


def bound_length(v: Tensor, max_length: float = 1.0) -> Tensor:
    r"""Bound the length of a step smoothly, :math:`v \mapsto \tanh(|v|/b)\,b\,v/|v|`: the identity for short ``v``.

    Without it a step of the published model grows without bound and, on the hyperboloid, leaves the range of any
    floating-point format within a few updates. Computed in float64 and returned in float64. A vector with an infinite
    coordinate has no direction: it becomes NaN, as one with a NaN does.

    Args:
        v: tangent vectors at the origin, ``[..., d]``.
        max_length: the bound ``b`` on their length.

    Raises:
        TypeError: for integers.
        ValueError: if the bound is not positive.
    """
    check_floating("a tangent vector", v.dtype)
    if not max_length > 0:
        raise ValueError(f"max_length must be positive, not {max_length}: leave bound_length out for no bound")
    flat = geoopt.Euclidean(1)
    if one_pass.applies(flat, v):
        start, eager = v.new_zeros(1, v.size(-1)), lambda _, vectors: _bound_length(vectors[0], max_length)
        return one_pass.walk(flat, start, [v], 1.0, max_length, eager)
    return _bound_length(v, max_length)


def _bound_length(v: Tensor, max_length: float) -> Tensor:
    wide = v.double()
    squared = squared_norm(wide)
    # elsewhere than on a CPU to look would make the host wait
    if not may_branch() or wide.device.type != "cpu" or bool(squared.isinf().any()):
        # tanh saturates long before, so that scaling a vector this long changes neither its image nor the derivative
        largest = torch.linalg.vector_norm(wide.detach(), torch.inf, dim=-1, keepdim=True)
        wide = wide * (LARGEST / largest).clamp(max=1.0)
        squared = squared_norm(wide)
    return wide * tanc(-squared / max_length**2, sign=-1)
